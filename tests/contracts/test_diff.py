"""What counts as breaking, one edit of one contract at a time; and that nothing anybody acts on is overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.contracts.diff.contract_diff import ContractChange, ContractDifference, Shapes, difference, file_difference
from onex.contracts.diff.impact import EnumBump, made_between, owed_version
from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.foreign.read_result import ReadResult
from onex.contracts.model.contract import ModelContractBase
from onex.contracts.model.part import ModelContractVersion
from tests.contracts.mutation import mutants
from tests.laws.tree import ROOT

SHOP = (Path(__file__).with_name("shop.yaml")).read_text()
CORPUS = ROOT.parent / "shared" / "corpus" / "contracts"
NODE = """
name: mailer
node_type: EFFECT_GENERIC
contract_version: {major: 2, minor: 1, patch: 0}
input_model: {name: Letter, module: post.models}
event_bus:
  subscribe_topics: [letters.v1]
  publish_topics: [sent.v1]
dependencies:
  - {name: smtp, type: protocol, module: post.smtp}
descriptor: {purity: pure, idempotent: true}
input_schema:
  type: object
  required: [to]
  properties:
    to: {type: string}
    kind: {enum: [plain, html]}
output_schema:
  type: object
  required: [id]
  properties: {id: {type: string}, at: {type: string}}
testing: {cases: 3}
"""
WORK = """
name: nightly
node_type: ORCHESTRATOR_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
workflow_coordination:
  workflow_definition:
    execution_graph:
      nodes:
        - {node_id: fetch, node_type: EFFECT_GENERIC}
        - {node_id: sum, node_type: COMPUTE_GENERIC, depends_on: [fetch]}
"""


def read(text: str) -> ReadResult:
    reading = read_contract(text, "contract.yaml")
    assert reading.contract is not None, reading.findings
    return reading


def contract(text: str) -> ModelContractBase:
    made = read(text).contract
    assert made is not None
    return made


def edited(text: str, *edits: tuple[str, str]) -> ContractDifference:
    after = text
    for old, new in edits:
        assert old in after, old
        after = after.replace(old, new)
    return file_difference(read(text), read(after))


def reported(change: ContractChange) -> tuple[str, str, str]:
    return str(change.bump), f"{change.what} {change.path}", change.reason


TRANSITION = "state_machine.transitions"
LARGE = (
    "    - {from_state: open, to_state: sent, trigger: place, payload: Place, conditions: [{expression: amount > 9}]}\n"
)
COMPETING = SHOP.replace("    - {from_state: paying", f"{LARGE}    - {{from_state: paying", 1)
CASES = {
    "a state is gone": (
        SHOP,
        [
            ("    - {name: paid}\n", ""),
            ("to_state: paid, trigger: charged", "to_state: sent, trigger: charged"),
            ("    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n", ""),
        ],
        {
            ("major", "removed state_machine.states[paid]", "state 'paid' is gone: instances that stand in it are stuck"),
            ("major", f"changed {TRANSITION}[paying: charged].to_state", "it leads to 'sent' instead of 'paid'"),
            ("major", f"removed {TRANSITION}[paid: send]", "trigger 'send' is accepted nowhere any more"),
        },
    ),
    "a transition is gone, its trigger is not": (
        SHOP,
        [("- {from_state: paying, to_state: open, trigger: declined, payload: Failure}",
          "- {from_state: paid, to_state: open, trigger: declined, payload: Failure}")],
        {
            ("major", f"removed {TRANSITION}[paying: declined]", "'declined' no longer leads from 'paying' to 'open'"),
            ("minor", f"added {TRANSITION}[paid: declined]", "more is accepted"),
        },
    ),
    "a guard more": (
        SHOP,
        [("trigger: send, priority: 5}", "trigger: send, priority: 5, conditions: [{expression: weight > 0}]}")],
        {("major", f"added {TRANSITION}[paid: send].conditions[weight > 0]",
          "one more condition: what was accepted may be refused")},
    ),
    "a guard less": (
        SHOP,
        [(", conditions: [{expression: amount > 0}]", "")],
        {("minor", f"removed {TRANSITION}[open: place].conditions[amount > 0]", "one condition less")},
    ),
    "another payload": (
        SHOP,
        [("payload: Charged}", "payload: Paid}")],
        {("major", f"changed {TRANSITION}[paying: charged].payload", "it carries another class")},
    ),
    "a payload where there was none": (
        SHOP,
        [("trigger: send, priority: 5}", "trigger: send, priority: 5, payload: Parcel}")],
        {("major", f"added {TRANSITION}[paid: send].payload", "it must carry 'Parcel' now")},
    ),
    "a state became terminal": (
        SHOP,
        [("terminal_states: [sent, cancelled]", "terminal_states: [sent, cancelled, paid]"),
         ("    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n", ""),
         ("trigger: charged, payload: Charged}",
          "trigger: charged, payload: Charged}\n    - {from_state: open, to_state: sent, trigger: send}")],
        {
            ("major", "added state_machine.terminal_states[paid]",
             "'paid' became terminal: what it accepted is refused there"),
            ("major", f"removed {TRANSITION}[paid: send]", "'send' no longer leads from 'paid' to 'sent'"),
            ("minor", f"added {TRANSITION}[open: send]", "more is accepted"),
        },
    ),
    "a terminal state is one no more": (
        SHOP,
        [("terminal_states: [sent, cancelled]", "terminal_states: [cancelled]"),
         ("    - {from_state: \"*\"", "    - {from_state: sent, to_state: open, trigger: back}\n    - {from_state: \"*\"")],
        {
            ("major", "removed state_machine.terminal_states[sent]",
             "'sent' is no longer terminal: who waits for the end there goes on waiting"),
            ("minor", f"added {TRANSITION}[sent: back]", "more is accepted"),
        },
    ),
    "instances begin in another state": (
        SHOP,
        [("initial_state: open", "initial_state: paid")],
        {("major", "changed state_machine.initial_state", "instances begin in another state")},
    ),
    "a timer is gone": (
        SHOP,
        [(", timeout_ms: 60000, on_timeout: cancel", "")],
        {
            ("major", "removed state_machine.states[paying].timeout_ms",
             "its timer is gone: who waits for it waits for ever"),
            ("major", "removed state_machine.states[paying].on_timeout", "its timer fires another trigger"),
        },
    ),
    "a timer fires later": (
        SHOP,
        [("timeout_ms: 60000", "timeout_ms: 90000")],
        {("minor", "changed state_machine.states[paying].timeout_ms", "its timer fires at another time")},
    ),
    "an intent is no longer emitted": (
        SHOP,
        [("  - {name: remind, type: timer, trigger: cancel}\n", "")],
        {("major", "removed intents[remind]", "'remind' is no longer emitted")},
    ),
    "an outcome becomes another trigger": (
        SHOP,
        [("unknown: declined", "unknown: charged")],
        {("major", "changed intents[charge].outcomes.unknown",
          "an unknown outcome becomes 'charged' instead of 'declined'")},
    ),
    "it is tried more often": (
        SHOP,
        [("max_attempts: 5", "max_attempts: 7")],
        {("minor", "changed intents[charge].retry.max_attempts", "its retries differ")},
    ),
    "another promise of delivery": (
        SHOP,
        [("delivery: at_most_once", "delivery: at_least_once")],
        {("major", "changed intents[tell].delivery", "whether it may run twice differs")},
    ),
    "leaving its status cancels an intent": (
        SHOP,
        [("retry: {max_attempts: 5}", "retry: {max_attempts: 5}, on_exit: cancel")],
        {("major", "added intents[charge].on_exit", "whether leaving its status cancels it differs")},
    ),
    "an intent outlives its instance": (
        SHOP,
        [("retry: {max_attempts: 5}", "retry: {max_attempts: 5}, detached: true")],
        {("major", "changed intents[charge].detached", "whether the end of its instance cancels it differs")},
    ),
    "a trigger needs a lease": (
        SHOP,
        [("unleased: [cancel]", "unleased: []")],
        {("major", "removed unleased[cancel]", "'cancel' needs a lease now")},
    ),
    "clients may send an internal trigger": (
        SHOP,
        [("unleased: [cancel]", "unleased: [cancel]\npublic: [charged]")],
        {("minor", "added public[charged]", "clients may send 'charged' now")},
    ),
    "clients may no longer send an internal trigger": (
        SHOP.replace("unleased: [cancel]", "unleased: [cancel]\npublic: [charged]"),
        [("public: [charged]", "public: []")],
        {("major", "removed public[charged]", "clients may not send 'charged' now")},
    ),
    "the schema of the state was raised": (
        SHOP,
        [("state_model: Cart", "state_model: Cart\nstate_schema: 3")],
        {("minor", "changed state_schema", "stored states are migrated")},
    ),
    "the states are no longer listed": (
        SHOP,
        [("  states:\n    - {name: open}\n    - {name: paying, timeout_ms: 60000, on_timeout: cancel}\n"
          "    - {name: paid}\n    - {name: sent}\n    - {name: cancelled}\n", "")],
        {
            ("patch", "removed state_machine.states", "states are listed no more"),
            ("major", "removed state_machine.states[paying].timeout_ms",
             "its timer is gone: who waits for it waits for ever"),
            ("major", "removed state_machine.states[paying].on_timeout", "its timer fires another trigger"),
        },
    ),
    "transitions in another order, none of which compete": (
        SHOP,
        [("    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n", ""),
         ("  transitions:\n",
          "  transitions:\n    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n")],
        {("patch", "moved state_machine.transitions", "the order differs, but not among transitions that compete")},
    ),
    "transitions in another order, one of which leads elsewhere": (
        SHOP,
        [("    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n", ""),
         ("  transitions:\n",
          "  transitions:\n    - {from_state: paid, to_state: sent, trigger: send, priority: 5}\n"),
         ("to_state: open, trigger: declined", "to_state: cancelled, trigger: declined")],
        {
            ("patch", "moved state_machine.transitions", "the order differs, but not among transitions that compete"),
            ("major", "changed state_machine.transitions[paying: declined].to_state",
             "it leads to 'cancelled' instead of 'open'"),
        },
    ),
    "transitions that compete in another order": (
        COMPETING,
        [(LARGE, ""), ("  transitions:\n", f"  transitions:\n{LARGE}")],
        {("major", "moved state_machine.transitions", "transitions of one state and trigger are tried in another order")},
    ),
    "only words": (
        SHOP,
        [("What every mistake is made in", "What every change is made to")],
        {("patch", "changed description", "only the text differs")},
    ),
    "another name": (
        SHOP,
        [("name: shop", "name: store")],
        {("major", "changed name", "references to the old name no longer resolve")},
    ),
    "it says and hears less, and hears more": (
        NODE,
        [("publish_topics: [sent.v1]", "publish_topics: []"), ("[letters.v1]", "[letters.v1, parcels.v1]")],
        {
            ("major", "removed event_bus.publish_topics[sent.v1]",
             "it no longer publishes 'sent.v1': its subscribers wait for ever"),
            ("minor", "added event_bus.subscribe_topics[parcels.v1]", "it also subscribes to 'parcels.v1'"),
        },
    ),
    "a topic was renamed": (
        NODE,
        [("letters.v1", "letters.v2")],
        {
            ("major", "removed event_bus.subscribe_topics[letters.v1]",
             "it no longer subscribes to 'letters.v1': what is sent there is not handled"),
            ("minor", "added event_bus.subscribe_topics[letters.v2]", "it also subscribes to 'letters.v2'"),
        },
    ),
    "it needs more": (
        NODE,
        [("module: post.smtp}", "module: post.smtp}\n  - {name: clock, type: protocol}")],
        {("major", "added dependencies[clock]", "'clock' must be there now")},
    ),
    "it needs more, if it is there": (
        NODE,
        [("module: post.smtp}", "module: post.smtp}\n  - {name: clock, type: protocol, required: false}")],
        {("minor", "added dependencies[clock]", "it has one more optional dependency")},
    ),
    "it is pure no more": (
        NODE,
        [("purity: pure", "purity: side_effecting")],
        {("major", "changed descriptor.purity", "it no longer claims to be pure, so its results may not be cached or repeated")},
    ),
    "it takes less": (
        NODE,
        [("required: [to]", "required: [to, kind]"), ("[plain, html]", "[plain]")],
        {
            ("major", "changed input_schema.kind", "'kind' must be given now"),
            ("major", "removed input_schema.kind", "the value 'html' is no longer accepted"),
        },
    ),
    "it takes more": (
        NODE,
        [("kind: {enum: [plain, html]}", "kind: {enum: [plain, html, pdf]}\n    copy: {type: string}")],
        {
            ("minor", "added input_schema.kind", "the value 'pdf' is new"),
            ("minor", "added input_schema.copy", "field 'copy' is new"),
        },
    ),
    "its answer has less and more": (
        NODE,
        [("{id: {type: string}, at: {type: string}}", "{id: {type: string}, by: {type: string}}")],
        {
            ("major", "removed output_schema.at", "field 'at' is gone"),
            ("minor", "added output_schema.by", "field 'by' is new"),
        },
    ),
    "it is of another kind": (
        NODE,
        [("EFFECT_GENERIC", "COMPUTE_GENERIC")],
        {("major", "changed node_type", "it was effect and is compute: another kind of node")},
    ),
    "its class has another name and lives elsewhere": (
        NODE,
        [("{name: Letter, module: post.models}", "{name: Mail, module: post.mail}")],
        {
            ("major", "changed input_model.name", "it is another class"),
            ("patch", "changed input_model.module", "its code is elsewhere"),
        },
    ),
    "a step of work is gone": (
        WORK,
        [("        - {node_id: sum, node_type: COMPUTE_GENERIC, depends_on: [fetch]}\n", "")],
        {("major", "removed workflow.steps[sum]", "step 'sum' is gone")},
    ),
    "a step waits no longer": (
        WORK,
        [(", depends_on: [fetch]", "")],
        {("major", "removed workflow.steps[sum].depends_on[fetch]", "it no longer waits for 'fetch'")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_reported_with_its_weight_and_its_reason(case: str) -> None:
    text, edits, wanted = CASES[case]
    made = edited(text, *edits)
    assert {reported(change) for change in made.changes} == wanted
    assert made.owed == max((bump for bump, _, _ in wanted), key=lambda bump: EnumBump(bump).weight)


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_what_was_removed_is_what_is_added(case: str) -> None:
    text, edits, _ = CASES[case]
    after = text
    for old, new in edits:
        after = after.replace(old, new)
    there, back = edited(text, *edits), file_difference(read(after), read(text))
    assert {change.path for change in there.changes if change.what == "removed"} == {
        change.path for change in back.changes if change.what == "added"
    }
    assert len(there.changes) == len(back.changes)


def test_both_lines_are_reported_each_in_its_own_file() -> None:
    made = edited(
        SHOP, ("unleased: [cancel]", "unleased: [cancel]\n# a line more\n"), ("timeout_ms: 60000", "timeout_ms: 1")
    )
    (change,) = made.changes
    assert (change.old, change.new) == (60000, 1)
    assert (change.old_place.line, change.new_place.line) == (12, 14)


def test_spelling_is_no_difference() -> None:
    other = NODE.replace("subscribe_topics: [letters.v1]", "subscribe_topics: [{topic: letters.v1}]")
    made = file_difference(
        read(NODE), read(other.replace("node_type: EFFECT_GENERIC", "node_type: EFFECT_GENERIC # x"))
    )
    assert (made.changes, made.notes, made.owed) == ((), (), EnumBump.NONE)


def test_what_nobody_acts_on_is_noted_and_owes_nothing() -> None:
    made = edited(NODE, ("cases: 3", "cases: 4"))
    assert made.changes == ()
    assert [(note.path, note.old, note.new) for note in made.notes] == [("testing", {"cases": 3}, {"cases": 4})]
    assert not made.is_short


@pytest.mark.parametrize(
    ("version", "made", "short"),
    [
        ("{major: 1, minor: 0, patch: 0}", "none", True),
        ("{major: 1, minor: 0, patch: 1}", "patch", True),
        ("{major: 1, minor: 3, patch: 0}", "minor", True),
        ("{major: 2, minor: 0, patch: 0}", "major", False),
        ("{major: 0, minor: 9, patch: 0}", "lowered", True),
    ],
)
def test_a_breaking_change_owes_a_major_version(version: str, made: str, short: bool) -> None:
    found = edited(SHOP, ("unleased: [cancel]", "unleased: []"), ("{major: 1, minor: 0, patch: 0}", version))
    assert (found.owed, found.made, found.is_short) == ("major", made, short)


def test_a_version_alone_owes_nothing_and_one_that_went_down_is_too_small() -> None:
    raised = edited(SHOP, ("major: 1", "major: 2"))
    assert (raised.owed, raised.is_short) == (EnumBump.NONE, False)
    assert edited(SHOP, ("major: 1", "major: 0")).is_short


def test_without_a_version_there_is_none_to_raise() -> None:
    text = NODE.replace("contract_version: {major: 2, minor: 1, patch: 0}\n", "")
    made = edited(text, ("[sent.v1]", "[]"))
    assert (made.owed, made.made, made.is_short) == ("major", None, False)


def test_the_least_version_that_will_do() -> None:
    version = ModelContractVersion(major=1, minor=2, patch=3)
    assert [owed_version(version, bump) for bump in EnumBump if bump is not EnumBump.LOWERED] == [
        "2.0.0", "1.3.0", "1.2.4", "1.2.3",
    ]  # fmt: skip
    assert made_between(version, None) is EnumBump.NONE


def test_classes_are_compared_by_their_fields_not_by_their_names() -> None:
    old: Shapes = {"place": {"properties": {"amount": {"type": "integer"}}}}
    new: Shapes = {"place": {"properties": {"amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}}}
    renamed = contract(SHOP.replace("payload: Place", "payload: Order"))
    made = difference(contract(SHOP), renamed, shapes=(old, new))
    assert {reported(change) for change in made.changes} == {
        ("patch", f"changed {TRANSITION}[open: place].payload",
         "the class has another name; its fields are compared by themselves"),
        ("major", "added triggers[place].payload.amount", "minimum was free and is 1"),
        ("minor", "added triggers[place].payload.note", "field 'note' is new"),
    }  # fmt: skip


def test_a_state_that_stored_ones_do_not_fit_breaks_unless_it_is_migrated() -> None:
    old: Shapes = {"state": {"properties": {"total": {"type": "integer"}}}}
    new: Shapes = {"state": {"properties": {"total": {"type": "string"}}}}
    reason = "the type was integer and is string"
    same = difference(contract(SHOP), contract(SHOP), shapes=(old, new))
    assert [reported(change) for change in same.changes] == [
        ("major", "changed state.total", f"{reason}; raise state_schema and write a migration")
    ]
    raised = contract(SHOP.replace("state_model: Cart", "state_model: Cart\nstate_schema: 2"))
    migrated = difference(contract(SHOP), raised, shapes=(old, new))
    assert [reported(change) for change in migrated.changes if change.path.startswith("state.")] == [
        ("minor", "changed state.total", f"{reason}; stored states are migrated")
    ]


# --- nothing is overlooked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [SHOP, NODE, WORK], ids=["reducer", "effect", "orchestrator"])
def test_every_honoured_field_that_differs_is_in_the_difference(text: str) -> None:
    _nothing_is_overlooked(contract(text))


def test_nor_in_contracts_of_others() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"there is no corpus at {CORPUS}: contracts of other repositories were not compared")
    readings = [read_contract(path.read_text(), str(path)) for path in sorted(CORPUS.rglob("*.yaml"))[::12]]
    assert sum(_nothing_is_overlooked(one.contract) for one in readings if one.contract is not None) > 500


def _nothing_is_overlooked(given: ModelContractBase) -> int:
    """The number of single changes of it that were reported, there and back."""
    assert difference(given, given).changes == ()
    count = 0
    for mutant in mutants(given):
        there, back = difference(given, mutant.contract), difference(mutant.contract, given)
        assert there.changes, f"{mutant.path} was {mutant.how}"
        assert back.changes, f"{mutant.path} was {mutant.how}, seen from behind"
        count += 1
    assert count
    return count
