"""What an editor is reported: the mark ``|`` is the cursor, in texts that are being typed as often as in whole ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.contracts.edit.completion import EnumSuggested, hover, suggestions
from onex.contracts.edit.yaml_cursor import YamlCursor, yaml_cursor
from onex.contracts.foreign.foreign_reader import read_contract
from tests.contracts.test_diff import NODE, SHOP


def place(marked: str) -> tuple[str, int, int]:
    before, mark, after = marked.partition("|")
    assert mark, "mark the cursor with |"
    return before + after, before.count("\n") + 1, len(before) - before.rfind("\n")


def at(marked: str) -> YamlCursor:
    return yaml_cursor(*place(marked))


def offered(marked: str) -> list[str]:
    return [one.text for one in suggestions(*place(marked))]


BLOCK = """name: shop
state_machine:
  initial_state: new
  states:
    - name: new
      timeout_ms: 5
    - {name: old}
  transitions:
  - from_state: new
    conditions:
      - expression: a > 1
    to_state: old
intents:
  - {name: pay, outcomes: {succeeded: paid, failed: lost}}
"""
CASES = {
    "a key at the top": ("na|", YamlCursor((), None, "na", frozenset())),
    "the value of one": ("name: sh|", YamlCursor((), "name", "sh", frozenset())),
    "a key in a block": (BLOCK.replace("  states:", "  ter|\n  states:"), YamlCursor(("state_machine",), None, "ter",
                         frozenset({"initial_state", "states", "transitions"}))),
    "a value in a block": (BLOCK.replace("initial_state: new", "initial_state: n|ew"),
                           YamlCursor(("state_machine",), "initial_state", "n", frozenset({"states", "transitions"}))),
    "a key of an entry": (BLOCK.replace("timeout_ms: 5", "timeout_ms: 5\n      on_|"),
                          YamlCursor(("state_machine", "states"), None, "on_", frozenset({"name", "timeout_ms"}))),
    "an entry that begins": (BLOCK.replace("    - {name: old}", "    - |"), YamlCursor(("state_machine", "states"), None, "",
                             frozenset())),
    "an entry as far to the left as its key": (BLOCK.replace("    to_state: old", "    to_state: |"),
        YamlCursor(("state_machine", "transitions"), "to_state", "", frozenset({"from_state", "conditions"}))),
    "an entry of an entry": (BLOCK.replace("expression: a > 1", "exp|"),
        YamlCursor(("state_machine", "transitions", "conditions"), None, "exp", frozenset())),
    "in braces": (BLOCK.replace("{name: pay,", "{name: pay, ta|,"), YamlCursor(("intents",), None, "ta", frozenset({"name"}))),
    "in braces, a value": (BLOCK.replace("{name: pay,", "{name: pay, type: a|,"),
                           YamlCursor(("intents",), "type", "a", frozenset({"name"}))),
    "in braces within braces": (BLOCK.replace("failed: lost", "failed: lo|st"),
                                YamlCursor(("intents", "outcomes"), "failed", "lo", frozenset({"succeeded"}))),
    "in a list": ("state_machine: {terminal_states: [a, b|", YamlCursor(("state_machine",), "terminal_states", "b", frozenset())),
    "behind a comma in a quotation": ('a: {b: "x, y", c|', YamlCursor(("a",), None, "c", frozenset({"b"}))),
    "behind a bracket in a comment": ("# not [ this\nna|", YamlCursor((), None, "na", frozenset())),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_where_somebody_is_typing(case: str) -> None:
    marked, wanted = CASES[case]
    assert at(marked) == wanted


@given(st.text(alphabet="ab:-{}[],\"'# \n", max_size=60), st.integers(-1, 8), st.integers(-1, 40))
def test_no_text_however_broken_is_too_much(text: str, line: int, column: int) -> None:
    yaml_cursor(text, line, column)
    suggestions(text, line, column)


def test_keys_that_are_there_already_are_not_offered_again() -> None:
    keys = offered("name: shop\nnode_type: REDUCER_GENERIC\nstate_model: Cart\n|")
    assert {"contract_version:", "state_machine:", "state_schema:", "unleased:", "intents:"} <= set(keys)
    assert {"name:", "node_type:", "state_model:", "handler_routing:"} & set(keys) == set()  # the last is none of ours


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("to_state: paid, trigger: charged", "to_state: |, trigger: charged", {"open", "paying", "sent", "cancelled"}),
        ("initial_state: open", "initial_state: |", {"open", "paying", "paid", "sent", "cancelled"}),
        ("unknown: declined", "unknown: |", {"place", "charged", "declined", "send", "cancel"}),
        ("delivery: at_most_once", "delivery: |", {"at_least_once", "at_most_once"}),
        ("unleased: [cancel]", "unleased: [|]", {"place", "charged", "declined", "send", "cancel"}),
        ("node_type: REDUCER_GENERIC", "node_type: |", {"REDUCER_GENERIC", "REDUCER"}),
    ],
)
def test_values_are_offered_where_they_are_known(old: str, new: str, wanted: set[str]) -> None:
    assert old in SHOP
    assert wanted <= set(offered(SHOP.replace(old, new, 1)))


def test_what_is_offered_says_its_type_and_who_acts_on_it() -> None:
    found = {one.text: one for one in suggestions(*place(SHOP.replace("- {name: paid}", "- {name: paid, |}")))}
    assert (found["timeout_ms:"].kind, found["timeout_ms:"].detail) == (EnumSuggested.KEY, "whole number")
    assert found["timeout_ms:"].about.startswith("The engine runs by it")
    assert "name:" not in found


def test_in_contracts_of_others_every_field_of_their_kind_is_offered() -> None:
    assert {"event_bus:", "handler_routing:", "io_operations:"} <= set(offered("node_type: EFFECT_GENERIC\n|"))
    assert {"subscribe_topics:", "publish_topics:"} <= set(offered("node_type: EFFECT_GENERIC\nevent_bus:\n  |"))
    assert offered("node_type: EFFECT_GENERIC\nnobody_knows:\n  |") == []


# --- hover ------------------------------------------------------------------------------------------------------------


def about(marked: str) -> str:
    text, line, column = place(marked)
    found = hover(read_contract(text, "contract.yaml"), line, column)
    return found.text if found else ""


def test_a_key_says_its_type_what_it_is_and_who_acts_on_it() -> None:
    reported = about(SHOP.replace("timeout_ms", "time|out_ms")).split("\n\n")
    assert reported[0] == "**timeout_ms**: whole number"
    assert reported[1].startswith("`timeout_ms` after entering, `on_timeout` is fired, unless the state was left.")
    assert reported[2].startswith("The engine runs by it; `onex check` judges it;")


def test_a_key_nobody_acts_on_says_so() -> None:
    assert "nobody acts on it" in about(NODE.replace("testing:", "test|ing:"))


def test_a_key_spelt_otherwise_says_how_it_is_read() -> None:
    text = "name: a\nnode_type: REDUCER_GENERIC\nfsm:\n  initial_state: x\n  transitions: [{from: x, to: y, trig|ger: go}]\n"
    assert about(text.replace("trig|ger", "trigger").replace("{from", "{fr|om")).startswith(
        "**from_state**: text (here called `from`)"
    )


def test_a_state_says_what_it_accepts() -> None:
    assert about(SHOP.replace("to_state: paid", "to_state: pa|id")) == "**paid**, a state: it accepts cancel, send"
    assert about(SHOP.replace("to_state: sent", "to_state: se|nt")) == "**sent**, a state: it is terminal"
    assert about(SHOP.replace("description: What", "description: W|hat")) == ""
