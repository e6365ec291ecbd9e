"""Conditions: three tokens compared by type, or CEL; what can never be true is refused when the contract loads."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, JsonValue

from onex.contracts.guard.cel_cost import GuardTooHeavy
from onex.contracts.guard.guards import bind, guard_warning, parse
from onex.contracts.guard.problem import GuardProblem
from onex.kernel.action import Nothing, Payload
from onex.kernel.machine import Guard
from onex.kernel.step import State


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Line(Payload):
    sku: str
    quantity: int


class Order(State):
    total: int = 10
    owner: str = "ann"
    tries: int = 2
    seen: tuple[str, ...] = ("a", "b")
    note: str | None = None


class Place(Payload):
    amount: int = 5
    rate: float = 2.5
    urgent: bool = True
    word: str = "hello world"
    colour: Colour = Colour.RED
    kind: Literal["big", "small"] = "big"
    lines: tuple[Line, ...] = (Line(sku="x", quantity=1), Line(sku="y", quantity=3))
    best: Line | None = None
    named: dict[str, int] = {"one": 1}  # noqa: RUF012 - pydantic copies it
    anything: JsonValue = None
    at: AwareDatetime = datetime(2026, 1, 31, tzinfo=UTC)
    ident: UUID = UUID(int=1)
    owner: str = "bob"


def guard(text: str) -> Guard:
    return bind(parse(text), Order, Place)


def holds(text: str, payload: Place | None = None, state: Order | None = None) -> bool:
    return guard(text).holds(state or Order(status="open"), payload or Place())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount == 5", True), ("amount equals 5", True), ("amount == 5.0", True), ("amount == 6", False),
        ("amount != 6", True), ("amount not_equals 5", False), ("amount > 4", True), ("amount > 5", False),
        ("amount >= 5", True), ("amount < 5.5", True), ("amount <= 4", False), ("rate greater_than 2", True),
        ("rate less_than 2", False), ("amount greater_than_or_equal 5", True), ("amount less_than_or_equal 5", True),
        ("amount in [1, 5]", True), ("amount in 1,5", True), ("amount in 5", True), ("amount not_in [1, 2]", True),
        ("word contains lo", True), ('word contains "o w"', True), ("seen contains b", True),
        ("seen contains c", False), ("named contains one", True), ("word matches ^hel+o", True),
        ("word matches 'o w'", True),
        ("word matches ^world", False), ("word matches [a-z]+$", True), ("urgent == true", True),
        ("urgent != true", False), ("best exists true", False), ("best exists false", True),
        ("best not_exists true", True), ("note exists true", False), ("lines min_length 2", True),
        ("lines max_length 1", False), ("word min_length 11", True), ("colour == red", True),
        ("colour in [blue]", False), ("kind == big", True), ("total == 10", True), ("state.total == 10", True),
        ("payload.amount == 5", True),
        ("state.owner == ann", True), ("payload.owner == bob", True), ("status == open", True), ("note == null", True),
        ("ident == 00000000-0000-0000-0000-000000000001", True),
        ("best.quantity == 3", False), ("named.one == 1", True), ("named.two == 1", False), ("anything == 3", False),
        ("  amount   ==   5  ", True), ("word == 'hello world'", True),
    ],
)  # fmt: skip
def test_three_tokens_are_compared_by_type(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payload.lines.size() > 1", True), ("size(payload.lines) == 2 && state.tries < 3", True),
        ("payload.lines.all(line, line.quantity > 0)", True), ("payload.lines.exists(l, l.quantity > 2)", True),
        ("payload.lines.map(l, l.quantity).size() == 2", True), ("(payload.amount == state.total)", False),
        ("payload.best == null", True), ("payload.colour == 'red' || false", True), ("!payload.urgent", False),
        ("payload.word.matches('^hel+o')", True), ("payload.word.startsWith('hello')", True),
        ("payload.named['one'] == 1", True), ("'one' in payload.named", True), ("has(payload.amount)", True),
        ("payload.at < timestamp('2030-01-01T00:00:00Z')", True), ("payload.amount in [1, 5, 7] && true", True),
        ("payload.ident == '00000000-0000-0000-0000-000000000001'", True), ("state.seen[0] == 'a'", True),
        ("payload.lines[1].sku == 'y'", True), ("state.status == 'open' && payload.rate > 2.0", True),
        ("payload.at.getFullYear() == 2026", True),
    ],
)  # fmt: skip
def test_everything_else_is_cel_over_payload_and_state(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ("amount is 5", "guard_operator", 7),
        ("amont == 5", "guard_field", 0),
        ("payload.amont == 5", "guard_field", 8),
        ("state.amount == 5", "guard_field", 6),
        ("best.price == 5", "guard_field", 5),
        ("payload.best.price == 5", "guard_field", 13),
        ("amount.deep == 5", "guard_field", 7),
        ("owner == ann", "guard_ambiguous", 0),
        ("payload == 5", "guard_field", 0),
        ("amount == '5'", "guard_type", 10),
        ("urgent == 'true'", "guard_type", 10),
        ("urgent == 1", "guard_type", 10),
        ("word == 5", "guard_type", 8),
        ("word > 5", "guard_type", 7),
        ("amount > many", "guard_value", 9),
        ("amount > true", "guard_value", 9),
        ("amount contains 5", "guard_type", 16),
        ("amount matches 5", "guard_type", 15),
        ("amount min_length 5", "guard_type", 18),
        ("lines min_length some", "guard_value", 17),
        ("best exists maybe", "guard_value", 12),
        ("amount == yes", "guard_value", 10),
        ("amount == state.total", "guard_value", 10),
        ("colour == green", "guard_type", 10),
        ("colour in [red, bleu]", "guard_type", 10),
        ("kind == huge", "guard_type", 8),
        ("at > 5", "guard_type", 0),
        ("ident == 5", "guard_type", 9),
        ("word matches (a", "guard_syntax", 5),
        ("word matches '(a'", "guard_pattern", 13),
        ("word matches a**{", "guard_pattern", 13),
        ("amount == [1]", "guard_value", 10),
        ("payload.amount >", "guard_syntax", 16),
        ("node_id is_present", "guard_field", 0),
        ("node_id is_absent", "guard_operator", 8),
        ("node_id is_presnt", "guard_operator", 8),
        ("payload.lines.size( > 0", "guard_syntax", 20),
        ("items.size() > 0", "guard_field", 0),
        ("payload.itms.size() > 0", "guard_field", 8),
        ("payload.lines.size() > 0 && state.totl > 1", "guard_field", 34),
        ("payload.amount.foo.size() > 0", "guard_field", 15),
        ("now() > payload.at", "guard_function", 0),
        ("payload.word.lower() == 'x'", "guard_function", 13),
        ("__import__('os').system('x') == 1", "guard_function", 0),
        ("payload.__class__ == 1", "guard_field", 8),
        ("(" * 70 + "1" + ")" * 70, "guard_syntax", 0),
        ("[1].map(a, [1].map(b, [1].map(c, [1].map(d, 1)))).size() > 0", "guard_too_heavy", 0),
    ],
)
def test_what_cannot_work_is_refused_at_its_character(text: str, code: str, offset: int) -> None:
    with pytest.raises(GuardProblem) as caught:
        guard(text)
    assert (caught.value.code, caught.value.offset) == (code, offset)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "expected", "meant"),
    [
        ("best is_present", False, "best exists true"), ("best is_not_present", True, "best exists false"),
        ("payload.word is_present", True, "payload.word exists true"), ("note is_present", False, "note exists true"),
        ("named.two is_not_present", True, "named.two exists false"), ("  at   is_present ", True, "at exists true"),
    ],
)  # fmt: skip
def test_an_old_spelling_without_a_value_is_honoured_and_reported_promise_42(
    text: str, expected: bool, meant: str
) -> None:
    assert holds(text) is expected
    remark = guard_warning(parse(text))
    assert remark is not None
    assert (remark.code, remark.fix, text[remark.offset :].strip()) == (
        "old_spelling",
        f"write {meant}",
        text.split()[1],
    )


def test_three_loops_in_one_another_are_reported() -> None:
    twice = "payload.lines.all(a, payload.lines.all(b, a == b))"
    assert guard_warning(parse(twice)) is None
    remark = guard_warning(parse(f"payload.lines.all(c, {twice})"))
    assert remark is not None and remark.code == "guard_heavy"
    assert guard_warning(parse(f"{twice} && payload.lines.all(c, true)")) is None


def test_a_misspelled_field_is_guessed() -> None:
    with pytest.raises(GuardProblem, match="has no field 'amont'") as caught:
        guard("payload.amont == 5")
    assert caught.value.fix == "did you mean 'amount'?"


def test_no_text_equals_a_number_and_no_number_a_boolean() -> None:
    cases: list[tuple[JsonValue, bool]] = [("1", False), (1, True), (1.0, True), (True, False), (None, False)]
    for left, expected in cases:
        assert guard("anything == 1").holds(Order(), Place(anything=left)) is expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anything > 3", "null and the number 3 have no order"),
        ("anything contains 3", "null contains nothing"),
        ("anything min_length 3", "null has no length"),
        ("anything matches x", "null is not text"),
        ("payload.lines.size() + 1", "it gives the number 3, neither true nor false"),
        ("payload.lines[7].sku == 'x'", "Index out of bounds|index"),
        ("payload.named['none'] == 1", "none"),
    ],
)
def test_a_guard_that_cannot_answer_raises(text: str, why: str) -> None:
    condition = guard(text)
    with pytest.raises(Exception, match=why):
        condition.holds(Order(), Place())


def test_a_pattern_takes_linear_time_and_looks_at_so_much_text_only() -> None:
    evil = guard("word matches ^(a+)+$")
    assert evil.holds(Order(), Place(word="a" * 60_000 + "!")) is False
    with pytest.raises(ValueError, match="patterns look at most at 65536"):
        evil.holds(Order(), Place(word="a" * 65_537))


def test_loops_in_loops_are_bounded() -> None:
    nested = guard("payload.lines.all(a, payload.lines.all(b, a.quantity == b.quantity))")
    many = Place(lines=tuple(Line(sku="x", quantity=1) for _ in range(1001)))
    with pytest.raises(GuardTooHeavy, match="loops over 1,001, 1,001 items"):
        nested.holds(Order(), many)
    assert guard("payload.lines.all(a, a.quantity == 1)").holds(Order(), many) is True


def test_only_the_fields_a_condition_names_are_handed_to_cel() -> None:
    class Heavy(Payload):
        small: int = 1
        huge: object = None

    condition = bind(parse("payload.small + 0 == 1"), State, Heavy)
    assert condition.holds(State(), Heavy(huge=object())) is True  # an object CEL could not take


def test_without_a_payload_bare_names_are_the_state_s() -> None:
    assert bind(parse("total == 10"), Order, Nothing).holds(Order(), Nothing()) is True


def test_a_guard_keeps_its_text_for_the_refusal() -> None:
    assert guard("amount  >  4").text == "amount  >  4"


WORDS = st.sampled_from(
    ["payload", "state", ".", "amount", "lines", "word", "==", ">", "in", "matches", "exists", "[", "]", "(", ")",
     "'x'", '"', "5", "true", "null", " ", "&&", "!", "size()", "all(x, x", "?", ":", "\\", "é", "\n", "//", "{", "}"]
)  # fmt: skip


@given(st.text(max_size=80) | st.lists(WORDS, max_size=30).map(" ".join) | st.lists(WORDS, max_size=30).map("".join))
def test_any_text_is_a_guard_or_a_problem_inside_it(text: str) -> None:
    try:
        condition = guard(text)
    except GuardProblem as problem:
        assert 0 <= problem.offset <= len(text) + 1
        return
    with suppress(TypeError, ValueError, LookupError, RuntimeError, ArithmeticError):
        assert condition.holds(Order(), Place()) in (True, False)
