"""Names that a contract leaves out: the contract is the same as one that writes them, and a name that misses is reported."""

from __future__ import annotations

import pytest

from onex.contracts.implied_names import with_implied_names
from onex.contracts.load import LoadedContract, load_contract
from onex.contracts.text.yaml_tree import YamlMap, read_yaml
from onex.kernel.finding import EnumSeverity

SHORT = """
name: shop
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Cart
state_machine:
  initial_state: open
  terminal_states: [sent, lost]
  states:
    - {name: open, timeout_ms: 60000}
    - {name: paying}
    - {name: sent}
    - {name: lost}
  transitions:
    - {from_state: open, to_state: paying, trigger: place}
    - {from_state: open, to_state: lost, trigger: open.timeout}
    - {from_state: paying, to_state: sent, trigger: charge.succeeded, payload: Charged}
    - {from_state: paying, to_state: open, trigger: charge.failed, payload: Failure}
    - {from_state: paying, to_state: lost, trigger: charge.unknown, payload: Failure}
    - {from_state: open, to_state: lost, trigger: remind}
intents:
  - {name: charge, type: api_call, target: bank, payload: Charge}
  - {name: remind, type: timer}
  - {name: shout, type: api_call, target: horn}
"""
LONG = (
    SHORT.replace("timeout_ms: 60000", "timeout_ms: 60000, on_timeout: open.timeout")
    .replace(
        "Charge}",
        "Charge,\n     outcomes: {succeeded: charge.succeeded, failed: charge.failed, unknown: charge.unknown}}",
    )
    .replace("type: timer", "type: timer, trigger: remind")
)


def load(text: str) -> LoadedContract:
    return load_contract(text, "shop.yaml")


def reported(text: str) -> list[tuple[int, str, str, str]]:
    return [(one.line, one.code, one.message, one.fix) for one in load(text).findings]


def test_a_contract_that_leaves_names_out_is_the_one_that_writes_them() -> None:
    short, long = load(SHORT), load(LONG)
    assert (short.findings, long.findings) == ((), ())
    assert short.contract is not None
    assert short.contract == long.contract
    assert [intent.outcomes is None for intent in short.contract.intents] == [False, True, True]


def test_a_contract_that_leaves_nothing_out_is_read_as_it_is() -> None:
    tree = read_yaml(LONG, "shop.yaml").tree
    assert isinstance(tree, YamlMap)
    assert with_implied_names(tree) is tree


def test_an_outcome_by_rule_that_no_transition_accepts_is_reported_at_its_intent() -> None:
    gone = SHORT.replace("    - {from_state: paying, to_state: lost, trigger: charge.unknown, payload: Failure}\n", "")
    assert reported(gone) == [
        (
            21,
            "outcome_not_accepted",
            "intent 'charge' has its outcomes by rule, and no transition has the trigger 'charge.unknown'",
            "add a transition with trigger: charge.unknown, or write outcomes",
        )
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message", "fix"),
    [
        ("name: charge,", "name: chrage,", 17, "there is no intent 'charge'", "did you mean 'chrage'?"),
        (", timeout_ms: 60000}", "}", 16, "state 'open' has no timeout_ms", "add timeout_ms without on_timeout"),
        ("trigger: open.timeout", "trigger: opne.timeout", 16, "there is no state 'opne'", "did you mean 'open'?"),
        ("target: bank", "target: bank, outcomes: {succeeded: place, failed: place, unknown: place}", 17,
         "intent 'charge' has no outcomes by rule", "remove its outcomes, or the transition"),
    ],
)  # fmt: skip
def test_a_trigger_that_misses_the_name_it_is_made_of_is_reported(
    right: str, wrong: str, line: int, message: str, fix: str
) -> None:
    found = load(SHORT.replace(right, wrong, 1)).findings
    nearest = next(one for one in found if one.code == "fired_by_nobody")
    assert (nearest.line, nearest.severity) == (line, EnumSeverity.WARNING)
    assert nearest.message.endswith(message)
    assert nearest.fix.startswith(fix)


def test_a_trigger_with_a_dot_that_is_like_no_other_name_comes_from_a_client() -> None:
    assert reported(SHORT.replace("trigger: place", "trigger: order.failed")) == []


@pytest.mark.parametrize("outcomes", ["a: b", "succeeded: charge.succeeded"])
def test_outcomes_that_are_written_are_not_filled_up(outcomes: str) -> None:
    found = load(SHORT.replace("payload: Charge}", f"payload: Charge, outcomes: {{{outcomes}}}}}")).findings
    assert "missing_key" in [one.code for one in found]


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("trigger: place", "trigger: a.b.c", "state_machine.transitions[0].trigger"),
        ("trigger: place", "trigger: .place", "state_machine.transitions[0].trigger"),
        ("trigger: place", "trigger: place.", "state_machine.transitions[0].trigger"),
        ("name: shout", "name: shout.loud", "intents[2].name"),
        ("{name: sent}", "{name: sent.off}", "state_machine.states[2].name"),
    ],
)
def test_one_dot_and_only_in_a_trigger(right: str, wrong: str, where: str) -> None:
    codes = {(one.code, one.message.partition(" ")[0]) for one in load(SHORT.replace(right, wrong, 1)).findings}
    assert ("bad_name", where) in codes
