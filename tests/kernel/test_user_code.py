"""What user code raised is told safely, and only an overrun step and a real Ctrl-C go through."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from onex.kernel.user_code import StepOverrun, caught, describe


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])


class Endless(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit(4)


class Unnamed(Exception, metaclass=Named):
    pass


class Faceless(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")


class Text(str):
    def __len__(self) -> int:
        raise SystemExit(5)

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        raise SystemExit(6)


class Wordy(Exception):
    def __str__(self) -> str:
        return Text("a text of another class")


def boundary(call: Callable[[], None]) -> str:
    try:
        call()
    except BaseException as error:
        return caught(error)
    return "nothing"


def raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (Mute("x"), "Mute (no text: its __str__ raised IndexError)"),
        (Endless(), "Endless (no text: its __str__ raised SystemExit)"),
        (Unnamed("still told"), "Unnamed: still told"),
        (Wordy(), "Wordy: a text of another class"),
        (ValueError("\ud800\x00"), "ValueError: \\ud800\\x00"),
        (BaseExceptionGroup("many", [KeyboardInterrupt()]), "BaseExceptionGroup: many (1 sub-exception)"),
    ],
)
def test_whatever_user_code_raises_is_told_and_goes_no_further(error: BaseException, told: str) -> None:
    assert boundary(raising(error)) == told


def test_one_that_raises_whatever_it_is_asked_is_told() -> None:
    assert boundary(raising(Faceless("still told"))) == "Faceless: still told"


def test_what_is_told_is_bounded() -> None:
    assert len(describe(ValueError("x" * 50_000_000))) < 2100


def test_the_end_of_an_overrun_step_goes_through() -> None:
    with pytest.raises(StepOverrun):
        boundary(raising(StepOverrun()))


def test_a_ctrl_c_of_the_system_goes_through_and_one_that_user_code_raises_does_not() -> None:
    def signalled() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        boundary(signalled)
    assert boundary(raising(KeyboardInterrupt())) == "KeyboardInterrupt"


def depth(error: BaseException) -> int:
    trace, frames = error.__traceback__, 0
    while trace is not None:
        trace, frames = trace.tb_next, frames + 1
    return frames


def test_the_traceback_of_a_shared_exception_does_not_grow() -> None:
    shared = ValueError("one for all")
    depths = []
    for _ in range(50):
        boundary(raising(shared))
        depths.append(depth(shared))
    assert set(depths) == {2}


def test_nor_does_that_of_one_behind_another_or_in_a_group() -> None:
    shared = ValueError("one for all")

    def cause() -> None:
        try:
            raise shared
        except ValueError as error:
            raise KeyError("another") from error

    def context() -> None:
        try:
            raise shared
        except ValueError:
            raise KeyError("another")  # noqa: B904  # what users write

    def group() -> None:
        try:
            raise shared
        except ValueError as error:
            raised = ExceptionGroup("many", [error])
        raise raised

    for call in (cause, context, group):
        for _ in range(50):
            boundary(call)
        assert depth(shared) <= 2, call
