"""What a new owner does with the rows it finds: those that ran when the process ended, and outcomes that are held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import EffectFailed, ReducerFailed
from onex.kernel.intent import EnumDelivery, EnumIntentType, EnumOutcome, Failure, IntentSpec, ModelIntent, intent, send
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.ports import Applied, Code, Commit, Conflict, EnumAttempt, EnumOutboxState, OutboxRow, Pointer, Result
from tests.engine.conftest import ENV
from tests.engine.jobs import FAST, Add, Worker, registry

K = WorkflowKey("job", "1")


class Process(MemoryStore):
    """Another process on the same tables. ``until`` says which commit is the last that this one hears of."""

    def __init__(self, tables: Tables, until: Callable[[Commit], bool] = lambda commit: False) -> None:
        super().__init__(tables)
        tables.owner = None  # the one before is dead
        self._until = until

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        answers = await super().commit(commit)
        if self._until(commit):
            await asyncio.Event().wait()
        return answers


class Letter(State):
    text: str = ""


class Write(Payload):
    text: str = ""


handlers = reducer(Letter)


@handlers.on("post")
def post(letter: Letter, action: Action[Write]) -> Step[Letter]:
    return Step(letter, send("mail", action.payload.text, Write(text="hello")))


@handlers.on("ask")
def ask(letter: Letter, action: Action[Nothing]) -> Step[Letter]:
    return Step(letter, intent("ask", Write(text="?")))


@handlers.on("tell_once")
def tell_once(letter: Letter, action: Action[Nothing]) -> Step[Letter]:
    return Step(letter, *[intent("tell_once", Write(text=str(n))) for n in range(6)])


@handlers.on("failed")
def failed(letter: Letter, action: Action[Failure]) -> Step[Letter]:
    return Step(letter.evolve(text=action.payload.code))


ENDS = {EnumOutcome.SUCCEEDED: "arrived", EnumOutcome.FAILED: "failed", EnumOutcome.UNKNOWN: "unclear"}
SPECS = (
    IntentSpec("mail", EnumIntentType.ACTION_SEND, "letter", Write, ENDS, retry=FAST, trigger="take"),
    IntentSpec("ask", "api_call", "desk", Write, ENDS, retry=FAST, timeout_s=5.0),
    IntentSpec("tell_once", "api_call", "desk", Write, retry=FAST, delivery=EnumDelivery.AT_MOST_ONCE),
)
MACHINE = Machine(
    "new",
    (
        *(Transition("new", "new", trigger) for trigger in ("post", "ask", "tell_once")),
        Transition("new", "taken", "take"),
        Transition("new", "arrived", "arrived"),
        Transition("new", "returned", "failed"),
        Transition("new", "in_doubt", "unclear"),
    ),
)
PAYLOADS: dict[str, type[BaseModel]] = {
    "post": Write, "ask": Nothing, "tell_once": Nothing, "take": Write, "arrived": Nothing, "failed": Failure,
    "unclear": Failure,
}  # fmt: skip


class Desk:
    def __init__(self, answer: Callable[[], None] = lambda: None) -> None:
        self.answer = answer
        self.tries: list[str] = []

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.tries.append(intent.idempotency_key)
        self.answer()
        return Result(None)


def letters(desk: Desk) -> ReducerRegistry:
    made = MachineReducer("letter", handlers, MACHINE, PAYLOADS, {spec.name: spec for spec in SPECS})
    return ReducerRegistry((Workflow(made, Code("letter", "1.0.0", b"1" * 32, 1), {"desk": desk}),))


@asynccontextmanager
async def engine_on(
    store: MemoryStore, table: ReducerRegistry, limits: Limits | None = None
) -> AsyncIterator[ReducerPatternEngine]:
    engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, limits=limits, check_all=True)
    async with asyncio.timeout(10), await engine.start("test"):
        yield engine


async def dies(
    store: MemoryStore, table: ReducerRegistry, act: Callable[[ReducerPatternEngine], Awaitable[object]]
) -> None:
    """An engine that lives until its store no longer answers it; what it was doing is never gone on with."""

    async def live() -> None:
        engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, check_all=True)
        await act(await engine.start("test"))

    living = asyncio.create_task(live())
    await asyncio.sleep(0.1)
    living.cancel()


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def has(kind: str) -> Callable[[Commit], bool]:
    return lambda commit: any(row.kind == kind for change in commit.changes for row in change.rows)


def test_a_message_that_had_arrived_before_the_crash_is_not_called_returned() -> None:
    """The receiver would refuse it now; it has it all the same."""

    async def go() -> None:
        tables, table = Tables(), letters(Desk())
        await dies(
            Process(tables, has("take")), table, lambda engine: engine.submit("letter:a", "post", Write(text="b"))
        )
        async with engine_on(Process(tables), table) as engine:
            assert (await engine.wait("letter:a", until="arrived", timeout_s=5)).version == 2
            assert (await engine.stored("letter:b")).version == 1  # type: ignore[union-attr]  # it has begun

    run(go())


def test_at_most_once_is_unknown_though_a_second_crash_comes_before_its_outcome_is_durable() -> None:
    async def go() -> None:
        def started(commit: Commit) -> bool:
            return any(note.started for note in commit.notes)

        def looked(commit: Commit) -> bool:
            return any(note.crashes for note in commit.notes)

        tables, desk = Tables(), Desk()
        table = letters(desk)
        await dies(Process(tables, started), table, lambda engine: engine.submit("letter:a", "tell_once"))
        first = set(desk.tries)
        await dies(Process(tables, looked), table, lambda engine: engine.idle())
        async with engine_on(Process(tables), table) as engine:
            await engine.idle()
        assert len(desk.tries) == len(set(desk.tries)), "an effect ran twice"
        assert first <= set(desk.tries)

    run(go())


def test_a_held_timer_fires_after_a_restart_and_a_release() -> None:
    async def go() -> None:
        tables = Tables()
        async with engine_on(Process(tables), registry(Worker())) as engine:
            await hold_with_timer(engine)
        async with engine_on(Process(tables), registry(Worker())) as engine:
            await engine.release(K)
            await engine.idle()
            assert (await engine.wait(K, until="rung", timeout_s=5)).version == 2
            assert await engine.reader.outbox(tuple(EnumOutboxState), None, None, 10) == []

    run(go())


def test_a_held_timer_that_was_set_again_does_not_fire() -> None:
    async def go() -> None:
        tables = Tables()
        async with engine_on(Process(tables), registry(Worker())) as engine:
            pointer = await hold_with_timer(engine)
        async with engine_on(Process(tables), registry(Worker())) as engine:
            await engine.service.release(K)
            await engine.submit(K, "wake_me", Add(amount=3600))
            await engine.redrive(pointer)
            await engine.idle()
            stored = await engine.stored(K)
            assert stored is not None and (stored.status, list(stored.timers)) == ("new", ["alarm"])
            (row,) = await engine.reader.outbox(tuple(EnumOutboxState), None, None, 10)
            assert row.state is EnumOutboxState.WAITING

    run(go())


async def hold_with_timer(engine: ReducerPatternEngine) -> Pointer:
    soon = datetime.now(UTC) - timedelta(seconds=0.9)
    await engine.submit(K, "wake_me", Add(amount=1), issued_at=soon)
    for _ in range(3):
        with pytest.raises(ReducerFailed):
            await engine.submit(K, "add", Add(amount=13))
    async with asyncio.timeout(5):
        while not (rows := await engine.reader.outbox((EnumOutboxState.HELD,), None, None, 10)):
            await asyncio.sleep(0.005)
    return rows[0].pointer


class Late(Process):
    """Its looks at the outbox show what was there a while ago."""

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        rows = await super().waiting(after, limit, timers_before_us)
        await asyncio.sleep(0.05)
        return rows


def test_an_outbox_page_that_is_old_runs_nothing_twice() -> None:
    async def go() -> None:
        desk = Desk()
        async with engine_on(Late(Tables()), letters(desk), Limits(kept=2)) as engine:
            for n in range(4):
                await engine.submit(f"letter:{n}", "tell_once")
            await engine.idle()
        assert len(desk.tries) == len(set(desk.tries)) == 24

    run(go())


def test_an_orderly_end_is_no_crash_of_what_runs() -> None:
    async def go() -> None:
        tables, worker = Tables(), Worker()
        for _ in range(4):
            async with engine_on(Process(tables), registry(worker)) as engine:
                if not worker.tries:
                    await engine.submit(K, "start", {"text": "slow"})
                started = sum(worker.tries.values())
                async with asyncio.timeout(5):
                    while sum(worker.tries.values()) == started:
                        await asyncio.sleep(0.001)
        (row,) = await MemoryStore(tables).outbox(tuple(EnumOutboxState), None, None, 10)
        assert (row.state, row.crashes) == (EnumOutboxState.WAITING, 0)

    run(go())


def test_an_intent_that_may_have_been_done_before_it_died_is_unknown_when_driven_again() -> None:
    async def go() -> None:
        def refuse() -> None:
            raise EffectFailed("not any more")

        def started(commit: Commit) -> bool:
            return any(note.started for note in commit.notes)

        tables, desk = Tables(), Desk()
        table = letters(desk)
        for _ in range(3):
            await dies(Process(tables, started), table, lambda engine: engine.submit("letter:a", "ask"))
        desk.answer = refuse
        async with engine_on(Process(tables), table) as engine:
            await engine.idle()
            rows = await engine.reader.outbox((EnumOutboxState.DEAD,), None, None, 10)
            assert (rows[0].attempt, rows[0].crashes) == (3, 3)
            tries = [one for one in await engine.reader.attempts(rows[0].key, 10) if one.pointer == rows[0].pointer]
            assert [(one.attempt, one.outcome) for one in tries] == [(n, EnumAttempt.CRASHED) for n in (1, 2, 3)]
            assert rows[0].error.endswith("fix it, then: onex dead --redrive 0:1:0")
            await engine.redrive(rows[0].pointer)
            assert (await engine.wait("letter:a", until="in_doubt", timeout_s=5)).status == "in_doubt"

    run(go())
