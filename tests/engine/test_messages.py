"""Messages between instances, sent again by code that came in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from pydantic import JsonValue

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.delivery import Delivery
from onex.engine.intake import Intake, read_wire
from onex.engine.messenger import AnswerSignal, Messenger, read_message
from onex.engine.metrics import Events
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Pending
from onex.engine.registry import ReducerRegistry, Workflow
from onex.engine.task_supervisor import TaskSupervisor
from onex.kernel.action import NOTHING, Payload, WorkflowKey
from onex.kernel.errors import OnexError, TemporaryDatabaseError
from onex.kernel.intent import EnumIntentType, EnumOutcome, IntentSpec, intent_id, outcome_id, sent_id
from onex.kernel.machine import MachineReducer
from onex.kernel.membership import Worker as WorkerOfStore
from onex.kernel.migration import Migrations, MigrationStep
from onex.kernel.rename import ValueKind
from onex.kernel.size_limits import PAYLOAD_BYTES, PAYLOAD_DEPTH
from onex.ports import Applied, Code, Commit, Conflict, EnumOutboxState
from onex.simulation.seeded_run import Sim
from onex.simulation.seeded_run import run as simulated
from tests.engine.bills import INTENTS, Mail, record, shop
from tests.engine.conftest import ENV
from tests.engine.jobs import MACHINE, PAYLOADS, Worker, handlers, intents, registry

BILL, LEDGER = WorkflowKey("bill", "1"), WorkflowKey("ledger", "main")
OPEN = UUID("01890000-0000-4000-8000-000000000001")
HEARD = {EnumOutcome.SUCCEEDED: "thanked", EnumOutcome.FAILED: "close", EnumOutcome.UNKNOWN: "close"}
TOLD: Mapping[str, IntentSpec] = {
    **INTENTS,
    "enter": IntentSpec("enter", EnumIntentType.ACTION_SEND, "ledger", Mail, HEARD, trigger="enter"),
}


def _arrives(issuer: str, cause: UUID | None = None) -> list[str]:
    """The triggers of a bill whose message arrived before with another body, as before a crash and a release."""

    async def script(engine: ReducerPatternEngine) -> None:
        paid = outcome_id(intent_id(OPEN, BILL, "charge", 0))
        sent = sent_id(intent_id(paid, BILL, "enter", 0))
        mail = Mail(bill="2", cents=1)
        await engine.submit("ledger:main", "enter", mail, action_id=sent, issuer=issuer, cause=cause or paid)
        await engine.submit(BILL, "open", {"amount": 7}, action_id=OPEN)
        await engine.idle()

    tables = record(script, shop(intents=TOLD))
    return [entry.row.kind for entry in tables.log if entry.key == BILL]


def test_a_message_sent_again_with_what_a_release_made_of_it_has_arrived_once() -> None:
    assert _arrives(str(BILL)) == ["open", "paid", "thanked"]


def test_another_action_under_a_message_s_id_is_not_the_message() -> None:
    assert _arrives("somebody") == ["open", "paid", "close"]
    assert _arrives(str(BILL), OPEN) == ["open", "paid", "close"]


def _newer(code: ReducerRegistry) -> ReducerRegistry:
    """The same with a ledger of a newer schema."""
    newer, same = Code("ledger", "2", b"newer".ljust(32), 2), Migrations({MigrationStep(1, ValueKind()): dict})
    return ReducerRegistry(
        tuple(
            replace(one, code=newer, migrations=same) if one.code.workflow_type == "ledger" else one
            for one in code.workflows
        )
    )


def test_a_message_to_an_instance_of_newer_code_waits_for_that_code() -> None:
    """An upgrade may take an hour: no number of tries makes an end of it."""
    tables = record(lambda engine: _done(engine.submit(LEDGER, "enter", Mail(bill="2", cents=1))), _newer(shop()))

    async def old(engine: ReducerPatternEngine) -> None:
        await engine.submit(BILL, "open", {"amount": 7}, action_id=OPEN)
        await engine.clock.sleep(3600)
        waiting = await engine.reader.outbox((EnumOutboxState.WAITING,), BILL, None, 10)
        (message,) = [row for row in waiting if not row.timer]
        assert message.attempt > 10

    record(old, shop(), tables=tables, to_rest=False)

    async def new(engine: ReducerPatternEngine) -> None:
        await engine.clock.sleep(3700)  # each run begins at the same time

    record(new, _newer(shop()), tables=tables)
    assert [entry.row.issuer for entry in tables.log if entry.key == LEDGER] == ["", str(BILL)]


async def _done(answer: Awaitable[object]) -> None:
    await answer


def test_a_message_whose_twin_is_in_flight_has_its_row_settled_too() -> None:
    """The twin came through the inbox: an earlier owner of the sender's shard wrote it, while another had the receiver."""

    async def script(engine: ReducerPatternEngine) -> None:
        offer, commit = engine.relay.offer, engine.store.commit

        async def commit_slowly(batch: Commit) -> Sequence[Applied | Conflict]:
            await engine.clock.sleep(1.0)
            return await commit(batch)

        def offer_behind_the_twin(deliveries: Sequence[Delivery]) -> None:
            for one in deliveries:
                if one.emitted.spec.kind == EnumIntentType.ACTION_SEND:
                    payload = one.emitted.payload or NOTHING
                    message = one.pending(engine.clock, LEDGER, "enter", payload, sent_id(one.id), sent=True)
                    engine.service.accept(replace(message, settles=None))
            offer(deliveries)

        engine.relay.offer = offer_behind_the_twin  # type: ignore[method-assign]
        engine.store.commit = commit_slowly  # type: ignore[method-assign, assignment]
        await engine.submit(BILL, "open", {"amount": 7}, action_id=OPEN)
        await engine.idle()

    tables = record(script, shop())
    assert [entry.row.issuer for entry in tables.log if entry.key == LEDGER] == [str(BILL)]
    assert [row.timer for row in tables.outbox.values()] == ["remind"]


class Wide(Payload):
    parts: JsonValue


DEEP: JsonValue = "bottom"
for _ in range(PAYLOAD_DEPTH - 1):
    DEEP = [DEEP]


@pytest.mark.parametrize("parts", [DEEP, "x" * (PAYLOAD_BYTES - len(b'{"parts":""}'))], ids=["deepest", "largest"])
def test_a_message_for_another_worker_may_be_as_deep_and_as_large_as_one_that_stays(parts: JsonValue) -> None:
    jobs = MachineReducer("job", handlers, MACHINE, {**PAYLOADS, "add": Wide}, intents())
    intake = Intake(ReducerRegistry((Workflow(jobs, Code("job", "1", b"1" * 32, 1), {}),)), SystemClock(), UuidV7())
    sent = intake.pending(WorkflowKey("job", "2"), "add", Wide(parts=parts), issuer="job:1", cause=OPEN)
    assert sent.refusal is None
    store = MemoryStore(Tables(shards=8), now_s=SystemClock().monotonic)

    async def arrived() -> Pending:
        supervisor = TaskSupervisor(SystemClock(), Events(), lambda error: None)
        sending = asyncio.create_task(Messenger(store, store.watch(), SystemClock(), supervisor).send(sent, 3))
        while not store.tables.inbox:
            await asyncio.sleep(0)
        sending.cancel()
        await supervisor.close()
        (row,) = store.tables.inbox.values()
        return read_message(intake, read_wire(row.body), row)

    there = asyncio.run(arrived())
    assert there.refusal is None
    assert (there.body, there.id, there.issuer, there.cause) == (sent.body, sent.id, sent.issuer, sent.cause)


class CannotListen:
    """A signal of a store whose connection is lost when somebody begins to wait."""

    def __init__(self, its: AnswerSignal) -> None:
        self.its, self.lost = its, True

    async def changed(self) -> None:
        if self.lost:
            self.lost = False
            raise TemporaryDatabaseError("the connection is gone")
        await self.its.changed()


def test_a_message_has_its_answer_though_the_store_could_not_be_listened_to_at_first() -> None:
    lost: list[OnexError] = []

    async def scenario(sim: Sim) -> None:
        tables, host = Tables(shards=8), sim.host("owner")
        store = MemoryStore(tables, now_s=sim.clock.monotonic)
        owner = ReducerPatternEngine(store, store, registry(Worker()), host.clock, host.ids, ENV, check_all=True)
        await host.spawn(owner.share(WorkerOfStore("owner", 1.0), store, store, store.watch()))
        sent = owner.intake.pending("job:2", "add", {"amount": 1}, issuer="job:1", cause=OPEN)
        sender = MemoryStore(tables, now_s=sim.clock.monotonic)
        supervisor = TaskSupervisor(sim.clock, Events(), lost.append)
        messenger = Messenger(sender, CannotListen(sender.watch()), sim.clock, supervisor)
        async with asyncio.timeout(60.0):  # of virtual time
            await messenger.send(sent, owner.service.shard_of(sent))
        assert tables.stored[sent.key].version == 1
        await host.spawn(owner.close())

    simulated(scenario, 1).result()
    assert lost == []
