"""What a condition costs at most is reported before it is evaluated, and too much is refused by name: nothing can stop CEL."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from onex.contracts.guard.cel_cost import STEPS_MAX, GuardTooHeavy, pattern_cost
from onex.contracts.guard.cel_expression import CelExpression, compile_cel
from onex.contracts.guard.cel_syntax import CelNotRead, cel_tree
from onex.contracts.guard.guards import bind, parse
from onex.contracts.guard.problem import GuardProblem
from onex.kernel.action import Payload
from onex.kernel.machine import Guard
from onex.kernel.step import State


class Row(BaseModel):
    name: str = ""
    cells: tuple[int, ...] = ()


class Sheet(Payload):
    numbers: tuple[int, ...] = ()
    rows: tuple[Row, ...] = ()
    named: Mapping[str, tuple[int, ...]] = {}
    words: tuple[str, ...] = ()
    text: str = ""
    one: int = 1
    two: int = 2
    any: JsonValue = None


class Kept(State):
    numbers: tuple[int, ...] = ()
    text: str = ""


def guard(text: str) -> Guard:
    return bind(parse(text), Kept, Sheet)


def sheet(n: int) -> Sheet:
    return Sheet(
        numbers=tuple(range(n)),
        rows=tuple(Row(name=f"r{i}", cells=tuple(range(n))) for i in range(min(n, 300))),
        named={f"k{i}": tuple(range(n)) for i in range(min(n, 300))},
        words=tuple(f"word{i}" for i in range(n)),
        text="x" * (n * 300),
        any=[[[i] * 20 for i in range(20)] for _ in range(20)],
    )


HEAVY = [
    "payload.numbers.all(a, payload.numbers.all(b, payload.numbers.all(c, a + b + c >= 0)))",
    "payload.numbers.exists(a, payload.numbers.exists(b, payload.numbers.exists_one(c, a + b + c < 0)))",
    "payload.numbers.map(a, payload.numbers.map(b, payload.numbers)).size() > 0",
    "payload.numbers.filter(a, payload.numbers.filter(b, payload.numbers.all(c, a + b + c >= 0)).size() > 0).size() > 0",
    "payload.rows.all(r, r.cells.all(a, r.cells.all(b, a + b >= 0)))",
    "payload.rows.all(r, payload.rows.all(q, r.cells.all(a, a >= 0) && q.cells.all(a, a >= 0)))",
    "payload.named.all(k, payload.named.all(j, payload.named[k].all(a, a >= 0) && payload.named[j] == payload.named[k]))",
    "payload.numbers.map(a, payload.text).map(b, payload.text).size() > 0",
    "payload.numbers.map(a, payload.text + payload.text + payload.text).size() > 0",
    "payload.words.all(w, payload.words.all(v, !w.matches('^x[a-z]+$') || !v.matches('^y$')))",
    r"payload.words.all(w, w.matches('^\\w{20}$') || true) && payload.words.all(w, w.matches('^\\pL{20}$') || true)",
    "[payload.numbers, payload.numbers].all(l, l.all(a, l.all(b, l.exists(c, a + b + c < 0)) || true))",
    "payload.numbers.all(a, dyn(payload.numbers).all(b, dyn(payload.numbers).all(c, a + b + c >= 0)))",
    "(payload.one > 0 ? payload.numbers : []).all(a, payload.numbers.all(b, payload.numbers.all(c, a + b + c >= 0)))",
    "payload.numbers.all(payload, [payload].all(state, true)) && payload.rows.map(r, payload.rows).map(r, r).size() > 0",
]  # fmt: skip


@pytest.mark.parametrize("text", HEAVY)
def test_what_would_take_too_long_is_refused_by_name_with_the_budget_the_sizes_and_the_fix(text: str) -> None:
    try:
        condition = guard(text)
    except GuardProblem as problem:
        assert problem.code == "guard_too_heavy"  # more than three loops do not even load
        return
    with pytest.raises(GuardTooHeavy, match=rf"{STEPS_MAX:,}; nothing was evaluated.*decide in the reducer") as refused:
        condition.holds(Kept(status="open"), sheet(400))
    assert "400" in str(refused.value) or "300" in str(refused.value)


@pytest.mark.parametrize("text", HEAVY)
def test_the_same_is_answered_over_few_items(text: str) -> None:
    try:
        condition = guard(text)
    except GuardProblem:
        return
    assert condition.holds(Kept(status="open"), sheet(3)) in (True, False)


def test_one_loop_over_a_square_of_memory_is_refused() -> None:
    """``map`` and ``filter`` of CEL copy their list for every item: one loop over 20,000 took twelve seconds."""
    for text in ("payload.numbers.map(a, a).size() > 0", "payload.numbers.filter(a, a > 1).size() > 0"):
        with pytest.raises(GuardTooHeavy, match="loops over 20,000 items"):
            guard(text).holds(Kept(status="open"), Sheet(numbers=tuple(range(20_000))))
        assert guard(text).holds(Kept(status="open"), Sheet(numbers=tuple(range(500)))) is True


def test_ordinary_conditions_over_many_items_are_answered() -> None:
    many = Sheet(numbers=tuple(range(20_000)), words=tuple("ab" for _ in range(2000)))
    assert guard("payload.numbers.all(a, a >= 0)").holds(Kept(status="open"), many) is True
    assert guard("payload.words.all(a, a.matches('^[a-z]+$'))").holds(Kept(status="open"), many) is True
    unique = guard("payload.numbers.all(a, payload.numbers.exists_one(b, a == b))")
    assert unique.holds(Kept(status="open"), Sheet(numbers=tuple(range(200)))) is True
    assert guard("payload.one + payload.two == 3").holds(Kept(status="open"), many) is True
    assert guard("payload.text + 'x' == 'abx'").holds(Kept(status="open"), Sheet(text="ab")) is True


def test_text_that_grows_without_a_loop_is_bounded_as_well() -> None:
    grown = " + ".join(["payload.text"] * 250)
    with pytest.raises(GuardTooHeavy, match="its texts and lists"):
        guard(f"({grown}) == 'x'").holds(Kept(status="open"), Sheet(text="x" * 10_000_000))


def test_a_pattern_looks_at_so_much_text_only() -> None:
    condition = guard("payload.text.matches('^(a+)+$') || false")
    assert condition.holds(Kept(status="open"), Sheet(text="a" * 65_536)) is True
    with pytest.raises(GuardTooHeavy):
        condition.holds(Kept(status="open"), Sheet(text="a" * 65_537))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("payload.text.matches(payload.text)", "guard_pattern"),
        ("payload.words.all(w, payload.text.matches(w))", "guard_pattern"),
        ("payload.text.matches('(')", "guard_pattern"),
        ("payload.text.matches('((a{50}){50}){3}')", "guard_too_heavy"),
        (r"payload.text.matches(r'\w{300}')", "guard_too_heavy"),
        (r"payload.text.matches('a\x7b2000}')", "guard_too_heavy"),
        ("text matches '((a{50}){50}){3}'", "guard_too_heavy"),
        (r"payload.text matches '\pL{500}'", "guard_too_heavy"),
        ("payload.one == 1" + " && payload.one == 1" * 250, "guard_too_heavy"),
        ("(payload" + ".a" * 2100 + " == 1)", "guard_too_heavy"),
        ("payload.numbers.all(a, a" + " - (a" * 30 + ")" * 30 + " == 0)" + " || " + "!" * 3900 + "true", "guard_too_heavy"),
    ],
)  # fmt: skip
def test_what_has_no_bound_does_not_load(text: str, code: str) -> None:
    with pytest.raises(GuardProblem) as refused:
        guard(text)
    assert (refused.value.code, bool(refused.value.fix)) == (code, True)


def test_a_condition_without_loops_has_nothing_to_count() -> None:
    for text in (
        "payload.one > 0",
        "(payload.one > state.numbers.size() + 1)",
        "payload.one + payload.two > 2 || has(payload.any)",
    ):
        made = parse(text)
        assert bind(made, Kept, Sheet).holds.__name__ == ("guard" if not isinstance(made, CelExpression) else "holds")


# --- the tree ---------------------------------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    ["payload.one", "payload . numbers", "1", "1u", ".5", "1e3", "0x1F", "'a'", '"a\\"b"', "r'\\'", "'''a'b'''", "b'x'",
     "true", "null", "[1, 2]", "[1,]", "{}", "{'a': 1}", "x.y.Z{a: 1}", "payload.numbers[0]", "has(payload.one)",
     "size(payload.text)", ".payload.one", "payload.text.matches('a')", "payload.numbers.all(a, a > 1)",
     "payload.numbers.map(a, a > 1, a)", "-1", "!true", "- -1"]
)  # fmt: skip


def _joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["+", "-", "*", "/", "%", "==", "<", "in", "&&", "||", "// why\n+", ">="])
    return (
        st.builds("{} {} {}".format, parts, signs, parts)
        | st.builds("({})".format, parts)
        | st.builds("{} ? {} : {}".format, parts, parts, parts)
        | st.builds("payload.numbers.exists(b, {})".format, parts)
    )


@given(st.recursive(ATOMS, _joined, max_leaves=12))
def test_whatever_cel_compiles_is_read_as_a_tree(text: str) -> None:
    try:
        compile_cel(text)
    except Exception:
        return
    cel_tree(text)


@given(st.text(max_size=60) | st.lists(ATOMS, max_size=6).map(" ".join))
def test_any_text_is_a_tree_or_unread(text: str) -> None:
    try:
        cel_tree(text)
    except CelNotRead:
        return


def test_a_tree_is_not_deeper_than_it_can_be_walked() -> None:
    with pytest.raises(CelNotRead, match="nested more than 64 deep"):
        cel_tree("(" * 100 + "1" + ")" * 100)
    with pytest.raises(CelNotRead):
        cel_tree("payload" + "[0]" * 3000)


@given(st.text("a(b)[c]{10,}\\wp.*+?|^$", max_size=60))
def test_a_pattern_s_cost_is_reported_for_any_text(pattern: str) -> None:
    positions, steps = pattern_cost(pattern)
    assert positions >= 0 and steps >= 150


def test_a_pattern_s_cost_multiplies_its_repetitions() -> None:
    assert pattern_cost("a{10}")[0] == 10
    assert pattern_cost("(ab){3,10}")[0] == 30
    assert pattern_cost("((a{10}){10}){10}")[0] > 1000
    assert pattern_cost("^[a-z]+$")[0] == 4
