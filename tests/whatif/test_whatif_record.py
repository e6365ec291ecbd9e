"""What-if against records as they are: refusals, schemas, messages between instances, damage; and what is true of any."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import Action, Nothing, WorkflowKey
from onex.kernel.intent import EnumOutcome, ModelIntent, send
from onex.kernel.migration import Json, Migrations
from onex.kernel.migration import MigrationStep as From
from onex.kernel.rename import ValueKind
from onex.kernel.step import Step
from onex.ports import LogEntry, SnapshotRow
from onex.whatif.result import EnumBranch, WhatIfSummary
from onex.whatif.value_diff import ValueChange
from onex.wiring.folding import Boundary
from tests.engine.bills import (
    INTENTS,
    MOVES,
    PAYLOADS,
    Amount,
    Bank,
    Bill,
    Book,
    Letter,
    Mail,
    Words,
    judged,
    one_bill,
    opened,
    paid,
    record,
    shop,
    told,
)

SAME, DIFFERS, OPEN = EnumBranch.SAME, EnumBranch.DIFFERS, EnumBranch.OPEN
NO_NOTES = tuple(move for move in MOVES if move[2] != "note")


@cache
def story() -> Tables:
    return record(one_bill, shop())


def transient(state: Bill, action: Action[Amount]) -> Step[Bill]:
    step = opened(state, action)
    return Step(step.state.evolve(words="until the first note"), *step.intents)


# --- a client's action that is refused ----------------------------------------------------------------------------------


def test_a_refused_action_is_told_and_folding_goes_on_without_it() -> None:
    found = judged(story(), shop("other", moves=NO_NOTES), shop())["bill:1"]
    assert found.branch is DIFFERS and found.opened is None
    assert [(one.version, one.trigger, one.code) for one in found.refused] == [
        (4, "note", "illegal_transition"),
        (6, "note", "illegal_transition"),
    ]
    assert found.first is not None and found.first.what == "refused (illegal_transition)"
    assert (found.folded, found.status, found.counts) == (7, "closed", {"refused": 2})
    assert found.state is not None and found.state.first == (ValueChange("words", '"second"', '""'),)


def test_a_handler_that_raises_refuses_and_what_it_emitted_is_lost() -> None:
    def careful(state: Bill, action: Action[Amount]) -> Step[Bill]:
        raise ValueError(f"{action.payload.amount} is too little")

    found = judged(story(), shop("other", open=careful))["bill:1"]
    assert [(one.version, one.code) for one in found.refused] == [(1, "reducer_failed")]
    assert "5 is too little" in found.refused[0].message
    assert found.counts == {"refused": 1, "lost": 1}
    assert found.opened is not None and found.opened.version == 2
    assert found.status == "" and found.stranded == ""


def test_three_failures_in_a_row_would_hold_the_instance() -> None:
    async def three_notes(engine: ReducerPatternEngine) -> None:
        await told(engine, ("bill:1", "open", {"amount": 5}))
        await told(engine, *(("bill:1", "note", {"text": str(n)}) for n in range(3)))

    def failing(state: Bill, action: Action[Words]) -> Step[Bill]:
        raise ValueError("no notes")

    found = judged(record(three_notes, shop()), shop("other", note=failing))["bill:1"]
    assert found.stranded == "it would be held: its reducer failed 3 times in a row"


def test_a_payload_that_no_longer_fits_is_refused() -> None:
    class Long(Words):
        text: str = ""
        language: str

    payloads: dict[str, type[BaseModel]] = {**PAYLOADS, "note": Long}
    found = judged(story(), shop("other", payloads=payloads))["bill:1"]
    assert [one.code for one in found.refused] == ["invalid_payload", "invalid_payload"]


# --- states, by value ---------------------------------------------------------------------------------------------------


class Wider(Bill):
    currency: str = "EUR"


def test_a_field_that_was_added_with_a_default_is_no_difference() -> None:
    found = judged(story(), shop("other", model=Wider), shop())["bill:1"]
    assert (found.branch, found.unseen) == (SAME, False)


def test_without_the_code_that_made_them_states_in_between_are_said_to_be_unseen() -> None:
    found = judged(story(), shop("other", model=Wider))["bill:1"]
    assert (found.branch, found.unseen) == (SAME, True)


def test_a_state_that_differs_in_between_alone_is_found_with_the_code_of_the_record_and_without() -> None:
    with_it = judged(story(), shop("other", open=transient), shop())["bill:1"]
    without = judged(story(), shop("other", open=transient))["bill:1"]
    assert with_it.first is not None and with_it.first[:4] == (1, "new", "open", "state: words")
    assert without.first is not None and without.first.what == "state in between"
    assert "not at hand" in without.first.why
    assert with_it.state is not None and with_it.state.total == 0


def test_code_that_did_not_make_the_record_tells_nothing_of_it() -> None:
    """It is not believed because it was named, but because its bytes have the recorded hash."""

    def loud(state: Bill, action: Action[Words]) -> Step[Bill]:
        return Step(state.evolve(words=action.payload.text.upper()))

    found = judged(story(), shop("other", note=loud), shop("wrong", note=halved))["bill:1"]
    right = judged(story(), shop("other", note=loud), None)["bill:1"]
    assert found.first == right.first and found.first is not None
    assert found.first.why.startswith("in version 4 or later; at the end words")


class Renamed(Bill):
    sum: int = 0
    amount: int = 0


def lifted(value: Json) -> Json:
    return {**value, "amount": 2 * int(str(value["amount"]))}


def opened_twice(state: Bill, action: Action[Amount]) -> Step[Bill]:
    step = opened(state, action)
    return Step(step.state.evolve(amount=2 * action.payload.amount), *step.intents)


def halved(state: Bill, action: Action[Words]) -> Step[Bill]:
    return Step(state.evolve(words=action.payload.text, amount=1))


DOUBLE = Migrations({From(1, ValueKind()): lifted})


def test_states_are_compared_after_migration_to_the_newer_schema() -> None:
    calm: dict[str, Any] = {"open": opened_twice, "remind": no_letter, "paid": paid_half}
    same = shop("other", schema=2, migrations=DOUBLE, **calm)
    found = judged(story(), same, shop())["bill:1"]
    assert (found.branch, found.opened, found.folded) == (SAME, None, 7)
    differs = judged(story(), shop("other", schema=2, migrations=DOUBLE, note=halved, **calm), shop())
    first = differs["bill:1"].first
    assert first is not None and (first.version, first.what, first.why) == (4, "state: amount", "amount 1, recorded 10")


def no_letter(state: Bill, action: Action[Amount]) -> Step[Bill]:
    return Step(state.evolve(reminders=state.reminders + 1), Letter(text=f"{state.amount // 2} was paid"))


def paid_half(state: Bill, action: Action[Amount]) -> Step[Bill]:
    step = paid(state.evolve(amount=state.amount // 2), action)  # type: ignore[arg-type]  # its payload is not read
    return Step(state, *step.intents)


def test_without_a_migration_nothing_is_compared_and_the_instance_is_open() -> None:
    found = judged(story(), shop("other", schema=2), shop())["bill:1"]
    assert found.branch is OPEN and found.opened is not None
    assert (found.opened.version, found.folded) == (1, 0)
    assert found.opened.why == "its state is of schema 1, and nothing migrates it from 1 to 2"


def test_older_code_cannot_read_a_newer_record() -> None:
    tables = record(one_bill, shop(schema=2, migrations=DOUBLE))
    found = judged(tables, shop("other"))["bill:1"]
    assert found.opened is not None
    assert found.opened.why == "its state is of schema 2, the other code knows up to 1"


def test_a_migration_that_fails_on_a_state_opens_it_and_says_why() -> None:
    def broken(value: Json) -> Json:
        raise KeyError("currency")

    tables = story()
    found = judged(tables, shop("other", schema=2, migrations=Migrations({From(1, ValueKind()): broken})), shop())[
        "bill:1"
    ]
    assert found.branch is OPEN and found.opened is not None
    assert "migrating from schema 1 to 2 raised KeyError" in found.opened.why


# --- messages between instances -----------------------------------------------------------------------------------------


async def two_bills(engine: ReducerPatternEngine) -> None:
    await told(engine, ("bill:1", "open", {"amount": 5}), ("bill:2", "open", {"amount": 7}))
    await told(engine, ("bill:1", "note", {"text": "x"}), ("bill:2", "note", {"text": "y"}))


def test_a_message_that_is_not_sent_opens_its_receiver_and_what_that_would_have_sent() -> None:
    def silent_for_one(state: Bill, action: Action[Amount]) -> Step[Bill]:
        step = paid(state, action)  # type: ignore[arg-type]  # its payload is not read
        return step if action.key.instance_id == "2" else Step(state, step.intents[0])

    found = judged(record(two_bills, shop()), shop("other", paid=silent_for_one), shop())
    ledger, one, two = found["ledger:main"], found["bill:1"], found["bill:2"]
    assert one.first is not None and one.first[:4] == (2, "charging", "paid", "lost enter")
    assert ledger.branch is OPEN and ledger.opened is not None and ledger.opened.version == 1
    assert ledger.opened.why == "bill:1 sent it, and not the same in the other code"
    # what the ledger would have sent is not known, hence neither is what came of it
    assert one.opened is not None and one.opened[:2] == (3, "thanked")
    assert two.branch is OPEN and two.opened is not None and two.opened[:2] == (3, "thanked")


def test_a_message_that_was_never_recorded_opens_its_receiver_from_then_on() -> None:
    def thanked_twice(book: Book, action: Action[Mail]) -> Step[Book]:
        return Step(
            book.evolve(total=book.total + action.payload.cents), send("thank", action.payload.bill), send("thank", "1")
        )

    found = judged(record(two_bills, shop()), shop("other", book=thanked_twice), shop())
    assert found["ledger:main"].first is not None and found["ledger:main"].first.what == "added thank"
    one = found["bill:1"]
    assert one.branch is OPEN and one.opened is not None
    assert one.opened[:2] == (3, "thanked")
    assert one.opened.why == "before it ledger:main sends 'thanked', which is not recorded"
    assert found["bill:2"].branch is SAME


def test_a_message_that_is_refused_where_it_arrives_opens_its_sender_where_it_heard_of_it() -> None:
    heard = {EnumOutcome.SUCCEEDED: "booked", EnumOutcome.FAILED: "booked", EnumOutcome.UNKNOWN: "booked"}
    with_outcomes: dict[str, Any] = {
        "intents": {**INTENTS, "enter": replace(INTENTS["enter"], outcomes=heard)},
        "payloads": {**PAYLOADS, "booked": Nothing},
        "moves": (*MOVES, ("paid", "paid", "booked")),
    }

    def full(book: Book, action: Action[Mail]) -> Step[Book]:
        raise ValueError("the book is full")

    def thankless(book: Book, action: Action[Mail]) -> Step[Book]:
        return Step(book.evolve(total=book.total + action.payload.cents))

    tables = record(two_bills, shop(book=thankless, **with_outcomes))
    found = judged(tables, shop("other", book=full, **with_outcomes))
    assert [one.version for one in found["ledger:main"].refused] == [1, 2]
    for bill in (found["bill:1"], found["bill:2"]):
        assert bill.branch is OPEN and bill.opened is not None
        assert bill.opened[:2] == (3, "booked")
        assert bill.opened.why == "it is the outcome of 'enter', which the other code refuses where it arrives"


def test_a_message_behind_the_last_action_opens_behind_it() -> None:
    def thanks_nobody_else(book: Book, action: Action[Mail]) -> Step[Book]:
        extra = [send("thank", "1")] if action.payload.bill == "2" else []
        return Step(book.evolve(total=book.total + action.payload.cents), send("thank", action.payload.bill), *extra)

    async def one_then_two(engine: ReducerPatternEngine) -> None:
        await told(engine, ("bill:1", "open", {"amount": 5}))
        await asyncio.sleep(10)
        await told(engine, ("bill:2", "open", {"amount": 7}))

    one = judged(record(one_then_two, shop()), shop("other", book=thanks_nobody_else))["bill:1"]
    assert one.opened is not None and one.opened.version == one.actions + 1
    assert one.folded == one.actions and one.branch is OPEN


def test_a_workflow_that_the_other_code_does_not_have_is_open() -> None:
    intents = {name: spec for name, spec in INTENTS.items() if name != "enter"}
    found = judged(record(two_bills, shop()), shop("other", ledger=False, intents=intents))
    assert found["ledger:main"].opened is not None
    assert found["ledger:main"].opened.why == "the other code has no workflow 'ledger'"
    assert found["bill:2"].branch is not SAME


# --- records that are damaged, or cut -----------------------------------------------------------------------------------


class Cut(MemoryStore):
    """A store whose history begins behind ``version``, at a state that may be kept."""

    def __init__(self, tables: Tables, version: int, kept: SnapshotRow | None) -> None:
        super().__init__(tables)
        self._version, self._kept = version, kept

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return await super().history(key, max(after, self._version), limit)

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return self._kept


def test_where_history_was_compacted_it_begins_at_the_state_that_was_kept() -> None:
    at = next(entry for entry in story().log if entry.row.kind == "thanked")
    state = b'{"status":"paid","amount":5,"words":"","reminders":0}'
    kept = SnapshotRow(at.key, at.version, state, 1, at.code_id, at.state_hash)
    found = judged(story(), shop("other"), None, Cut(only_bills(story()), at.version, kept))
    assert {key: one.branch for key, one in found.items()} == {"bill:1": SAME}
    unkept = judged(story(), shop("other"), None, Cut(only_bills(story()), at.version, None))["bill:1"]
    assert unkept.opened is not None and "no state is kept at version 3" in unkept.opened.why


def only_bills(tables: Tables) -> Tables:
    stored = {key: row for key, row in tables.stored.items() if key.workflow_type == "bill"}
    return Tables(log=tables.log, stored=stored, versions=tables.versions, codes=tables.codes, envs=tables.envs)


def test_a_log_with_a_gap_is_open_and_says_so() -> None:
    tables = only_bills(story())
    versions = {key: [n for n in found if n != found[-5]] for key, found in tables.versions.items() if len(found) > 4}
    found = judged(Tables(log=tables.log, stored=tables.stored, versions=versions, codes=tables.codes), shop("other"))
    one = found["bill:1"]
    assert one.branch is OPEN and one.opened is not None
    assert "version 4 of bill:1 follows version 2" in one.opened.why


# --- nothing leaves -----------------------------------------------------------------------------------------------------


def test_no_effect_is_fired_and_the_boundary_counts_when_one_is() -> None:
    boundary = Boundary()
    bank = Bank()
    other = shop("other", bank=boundary, open=transient)
    assert judged(story(), other, shop(bank=bank))["bill:1"].branch is DIFFERS
    assert (boundary.fired, bank.asked) == (0, 0)
    payload = Words(text="x")
    intent: ModelIntent[BaseModel] = ModelIntent(
        intent_id=UUID(int=1), intent_type="api_call", target="bank", payload=payload, correlation_id=UUID(int=1),
        idempotency_key="k",
    )  # fmt: skip
    with pytest.raises(Exception, match="was to run in a process that only folds"):
        asyncio.run(boundary.execute(intent))
    assert boundary.fired == 1


# --- of any record --------------------------------------------------------------------------------------------------------


@cache
def crowd() -> Tables:
    """Eighty bills and what a seed let their clients do, over a week."""
    chance = Random(36)
    actions: Sequence[tuple[str, Mapping[str, object] | None]] = (
        ("open", {"amount": 5}),
        ("open", {"amount": 2000}),
        ("note", {"text": "a"}),
        ("note", {"text": "b"}),
        ("close", None),
    )

    async def script(engine: ReducerPatternEngine) -> None:
        for _ in range(80):
            for number in range(1, 81):
                trigger, payload = chance.choices(actions, (8, 1, 3, 3, 1))[0]
                if chance.random() < 0.1:
                    await told(engine, (f"bill:{number}", trigger, payload), settle=False)
            await asyncio.sleep(7_000)

    return record(script, shop())


CHANGED = ["open", "note", "paid", "remind", "refused", "close", "moves", "book"]


def changed_in(what: str) -> ReducerRegistry:
    """A code that does one thing otherwise."""

    def other(state: Bill, action: Action[Words]) -> Step[Bill]:
        return Step(state.evolve(reminders=7))

    def lost(book: Book, action: Action[Mail]) -> Step[Book]:
        return Step(book.evolve(total=0))

    if what == "moves":
        return shop("other", moves=NO_NOTES)
    handler: dict[str, Any] = {"book": lost} if what == "book" else {what: other}
    return shop("other", **handler)


def test_of_any_record_the_same_code_makes_the_same() -> None:
    kinds = {entry.row.kind for entry in crowd().log}
    assert kinds == {"open", "paid", "refused", "note", "remind", "close", "thanked", "enter"}
    found = judged(crowd(), shop("again"), shop())
    assert len(found) > 70
    assert all(one.branch is SAME and one.folded == one.actions for one in found.values())


@pytest.mark.parametrize("at_hand", [True, False], ids=["with-its-code", "without"])
@pytest.mark.parametrize("what", CHANGED)
def test_of_any_record_open_is_never_the_same_and_nothing_is_counted_twice(what: str, at_hand: bool) -> None:
    found = judged(crowd(), changed_in(what), shop() if at_hand else None)
    tally = WhatIfSummary()
    for one in found.values():
        tally.add(one)
    sums = tally.totals
    assert sums.same + sums.differs + sums.opened_only == sums.instances == len(found)
    assert sums.differs > 0 and sums.opened >= sums.opened_only
    assert sum(group.instances for group in tally.groups.values()) == sums.differs + sums.opened_only
    for key, one in found.items():
        assert (one.branch is SAME) == (one.first is None and one.opened is None)
        met = {entry.row.kind for entry in crowd().log if str(entry.key) == key}
        if one.opened is None:
            assert one.folded == one.actions
            assert (one.branch is SAME) == ({"moves": "note", "book": "enter"}.get(what, what) not in met)
        else:
            assert one.folded == one.opened.version - 1
