"""A traceback of user code as text: where it raised, with no values in it, and never longer than its limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from onex.kernel.user_trace import FRAMES, TRACE_CHARACTERS, innermost_of, is_library, trace_text, without

HERE = __file__


def traced(call: Callable[[], object]) -> str:
    try:
        call()
    except BaseException as error:
        return trace_text(error)
    raise AssertionError("it raised nothing")


def at(line: str) -> int:
    """The number of the first line of this file that contains ``line``."""
    return next(n for n, text in enumerate(Path(HERE).read_text().splitlines(), start=1) if line in text)


def card_is_refused() -> None:
    number = "4111"
    raise ValueError(f"card {number} is refused")  # here


def test_each_frame_is_a_file_a_line_and_a_function_and_no_value() -> None:
    lines = traced(card_is_refused).splitlines()
    assert lines[-1] == f"{HERE}:{at('# here')} in card_is_refused"
    assert "4111" not in traced(card_is_refused)
    assert innermost_of(traced(card_is_refused)) == f"{HERE}:{at('# here')}"


def parse() -> object:
    return json.loads("{")  # parsed here


def test_of_a_library_only_the_last_frame_is_shown_and_ours_is_where_to_look() -> None:
    lines = traced(parse).splitlines()
    inner = [line for line in lines if is_library(line)]
    assert len(inner) == 1 and lines[-1] == inner[0] and "json/decoder.py" in inner[0]
    assert innermost_of("\n".join(lines)) == f"{HERE}:{at('# parsed here')}"


def test_what_never_left_onex_has_nothing_to_show() -> None:
    inside = ModuleType("inside")
    code = compile("def call(): raise ValueError", is_library.__code__.co_filename, "exec")
    exec(code, inside.__dict__)
    try:
        inside.call()
    except ValueError as error:
        assert error.__traceback__ is not None
        assert trace_text(error.with_traceback(error.__traceback__.tb_next)) == ""


def wrapped() -> None:
    try:
        card_is_refused()
    except ValueError as error:
        raise RuntimeError("no payment") from error


def unwrapped() -> None:
    try:
        card_is_refused()
    except ValueError:
        raise RuntimeError("no payment") from None


def test_a_cause_is_told_with_its_frames() -> None:
    own, _, cause = traced(wrapped).partition("\ncaused by ")
    assert own.endswith(" in wrapped")
    assert cause.startswith("ValueError: card 4111 is refused\n")
    assert cause.endswith(" in card_is_refused")
    assert "caused by" not in traced(unwrapped)


def climb(depth: int) -> None:
    if depth == 0:
        raise ValueError
    climb(depth - 1)


def test_a_deep_recursion_is_cut_to_its_innermost_frames() -> None:
    lines = traced(lambda: climb(200)).splitlines()
    assert lines[0].startswith("... ") and lines[0].endswith(" frames more")
    assert len(lines) == FRAMES + 1
    assert len(traced(lambda: climb(200))) <= TRACE_CHARACTERS


class Liar(Exception):
    @property
    def __traceback__(self) -> None:  # type: ignore[override]
        raise SystemExit(3)

    def __str__(self) -> str:
        raise SystemExit(4)


def lie() -> None:
    raise Liar


def test_a_class_that_lies_about_its_traceback_is_not_asked() -> None:
    assert traced(lie).endswith(" in lie")


def test_an_exception_without_a_traceback_has_no_trace() -> None:
    assert trace_text(ValueError("never raised")) == ""
    assert innermost_of("") == ""


def test_secrets_are_replaced_whole_and_where_a_text_was_cut_within_one() -> None:
    assert without({"4111-1111", "41"}, "card 4111-1111 and 41") == "card *** and 41"
    assert without({"4111-1111"}, "card 4111-... (900 characters), 4111-1111") == "card ***... (900 characters), ***"
