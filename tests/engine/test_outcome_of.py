"""An outcome names its intent: the handler is told which one, and every reader of the log is told the same."""

from __future__ import annotations

import asyncio
from io import BytesIO, StringIO
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.refold import Refold
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import Action, OutcomeOf, WorkflowKey
from onex.kernel.intent import IntentSpec, intent_id
from onex.kernel.migration import Migrations
from onex.kernel.rename import renames
from onex.kernel.step import Step
from onex.replay.history_export import export_history
from onex.replay.history_reader import HistoryReader
from onex.views.stored_rows import log_entry_json
from tests.engine.bills import BILL, INTENTS, Amount, Bill, Charge, entered, one_bill, record, shop, told

Told = list[tuple[str, OutcomeOf | None]]


def listening(heard: Told, **other: Any) -> ReducerRegistry:
    """The shop, where every handler of bills and books notes what it is told."""

    def told_to(handler: Any) -> Any:
        def listen(state: Any, action: Action[BaseModel]) -> Step[Any]:
            heard.append((action.kind, action.outcome_of))
            step: Step[Any] = handler(state, action)
            return step

        return listen

    handlers = {trigger: told_to(handler) for trigger, handler in BILL.items()}
    return shop(book=told_to(entered), **{**handlers, **other})


def refolded(tables: Tables, code: ReducerRegistry) -> list[tuple[str, OutcomeOf | None]]:
    """What a replay tells each handler, over the log as it stands."""
    found: list[tuple[str, OutcomeOf | None]] = []
    for entry in tables.log:
        action = Refold(code[entry.key.workflow_type]).action(entry.key, entry.row)
        found.append((action.kind, action.outcome_of))
    return found


def test_a_handler_is_told_the_intent_and_a_replay_tells_the_same() -> None:
    heard: Told = []
    tables = record(one_bill, listening(heard))
    bill, ledger = WorkflowKey("bill", "1"), WorkflowKey("ledger", "main")
    ids = {(entry.key, entry.version): UUID(bytes=entry.row.action_id) for entry in tables.log}

    def of(key: WorkflowKey, version: int, name: str) -> OutcomeOf:
        return OutcomeOf(intent_id(ids[key, version], key, name, 0), name, 0, version)

    assert dict(heard) == {
        "open": None,
        "paid": of(bill, 1, "charge"),
        "enter": of(bill, 2, "enter"),
        "thanked": of(ledger, 1, "thank"),
        "note": None,
        "remind": of(bill, 2, "remind"),
        "close": None,
    }
    assert refolded(tables, shop()) == heard


def test_of_two_intents_of_one_name_each_outcome_names_its_own() -> None:
    heard: Told = []

    def opened(bill: Bill, action: Action[Amount]) -> Step[Bill]:
        heard.append((action.kind, action.outcome_of))
        return Step(bill, Charge(cents=1), Charge(cents=2))

    moves = (("new", "open", "open"), ("open", "open", "paid"))
    tables = record(
        lambda engine: told(engine, ("bill:1", "open", {"amount": 1})), listening(heard, moves=moves, open=opened)
    )
    assert sorted(of[1:] for kind, of in heard if kind == "paid" and of is not None) == [
        ("charge", 0, 1),
        ("charge", 1, 1),
    ]
    assert refolded(tables, listening([], moves=moves)) == heard


def test_an_exported_run_and_the_json_of_show_tell_the_same() -> None:
    tables = record(one_bill, shop())
    store = MemoryStore(tables)

    async def exported() -> list[OutcomeOf | None]:
        out = StringIO()
        await export_history(store, out)
        with HistoryReader(BytesIO(out.getvalue().encode())) as file:
            return [entry.row.outcome_of for entry in await file.history(WorkflowKey("bill", "1"), 0, 100)]

    kept = [entry for entry in tables.log if entry.key == WorkflowKey("bill", "1")]
    assert asyncio.run(exported()) == [entry.row.outcome_of for entry in kept]
    shown = log_entry_json(kept[1])
    assert shown["outcome_of"] == {
        "intent_id": str(intent_id(UUID(bytes=kept[0].row.action_id), kept[0].key, "charge", 0)),
        "intent": "charge",
        "n": 0,
        "version": 1,
    }
    assert shown["cause"] == str(UUID(bytes=kept[0].row.action_id))
    assert log_entry_json(kept[0])["outcome_of"] is None


def test_a_row_that_was_written_before_intents_were_named_tells_none() -> None:
    tables = record(one_bill, shop())
    old = Tables()
    old.log.extend(entry._replace(row=entry.row._replace(cause=entry.row.cause_id)) for entry in tables.log)
    assert {of for _, of in refolded(old, shop())} == {None}


def test_a_client_cannot_say_that_its_action_is_an_outcome() -> None:
    heard: Told = []

    async def script(engine: ReducerPatternEngine) -> None:
        of = UUID(int=5)
        await engine.submit("bill:1", "open", {"amount": 1}, cause=of, issuer="intent:charge", action_id=UUID(int=6))

    record(script, listening(heard))
    assert heard[0] == ("open", None)


def test_after_a_rename_the_name_is_the_new_one_and_the_id_the_old_one() -> None:
    tables = record(one_bill, shop())
    charged = IntentSpec("collect", "api_call", "bank", Charge, INTENTS["charge"].outcomes)
    intents = {**{name: spec for name, spec in INTENTS.items() if name != "charge"}, "collect": charged}
    code = shop(
        "second", intents=intents, schema=2, migrations=Migrations(renames=(renames(1, intents={"charge": "collect"}),))
    )
    before, after = refolded(tables, shop()), refolded(tables, code)
    assert before[1][1] is not None
    assert after[1] == ("paid", before[1][1]._replace(name="collect"))


@pytest.mark.parametrize("damaged", [b"", b"x", b"1/x/name", b"1/2", b"\xff/0/name"])
def test_an_intent_that_cannot_be_read_raises_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError):
        OutcomeOf.unpacked(bytes(16) + damaged)


def test_what_is_packed_comes_back() -> None:
    of = OutcomeOf(UUID(int=9), "tables.extract/\u00e9", 3, 12)
    assert OutcomeOf.unpacked(of.packed()) == of
