"""What a store that fails, forgets or answers too late may not cost: an action, an intent, an answer, a hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import (
    CommitUnknown,
    DuplicateActionError,
    EngineClosed,
    InstanceHeld,
    LeaseConflictError,
    OnexError,
    Overloaded,
    OwnershipLost,
    ReducerFailed,
    TemporaryDatabaseError,
)
from onex.ports import Applied, Commit, Conflict, EnumOutboxState, InboxRow, LogEntry, OutboxRow, Pointer
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Job, Start, Told, Worker, registry

K = WorkflowKey("job", "1")


class Unreliable(MemoryStore):
    """A memory store that fails at each point as often as ``fails[point]`` says."""

    def __init__(self, **fails: int) -> None:
        super().__init__()
        self.fails = Counter(fails)
        self.gate = asyncio.Event()
        self.gate.set()

    def _fails(self, point: str) -> bool:
        if not self.fails[point]:
            return False
        self.fails[point] -= 1
        return True

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        await self.gate.wait()
        if self._fails("commit"):
            raise TemporaryDatabaseError("refused")
        if self._fails("bug"):
            raise ZeroDivisionError("an adapter's own fault")
        answers = await super().commit(commit)
        if self._fails("answer"):
            raise CommitUnknown("the answer was lost")
        return answers

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        if self._fails("waiting"):
            raise TemporaryDatabaseError("no look at the outbox now")
        return await super().waiting(after, limit, timers_before_us)

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        if self._fails("inbox"):
            raise TemporaryDatabaseError("no look at the inbox now")
        return await super().inbox(after, limit)

    async def woken(self) -> None:
        await super().woken()
        if self._fails("woken"):
            raise TemporaryDatabaseError("no look at the inbox now")

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        if self._fails("applied"):
            raise TemporaryDatabaseError("no look-up now")
        return await super().applied(key, action_id)


@asynccontextmanager
async def engine_on(
    store: MemoryStore, *, limits: Limits | None = None, digest: bytes = b"1", worker: Worker | None = None
) -> AsyncIterator[ReducerPatternEngine]:
    table = registry(worker or Worker(), digest)
    engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, limits=limits, check_all=True)
    async with asyncio.timeout(10), await engine.start("test"):
        yield engine


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def test_a_lease_that_was_ended_elsewhere_keeps_nobody_out() -> None:
    """It may have had an hour left, and nothing else happens to this instance."""

    async def go() -> None:
        tables = Tables()
        async with engine_on(MemoryStore(tables)) as engine:
            await engine.submit(K, "add", Add(amount=2))
        free = tables.stored[K]
        tables.stored[K] = free._replace(lease_id=bytes(16), lease_until_us=2**60)
        async with engine_on(MemoryStore(tables)) as engine:
            with pytest.raises(LeaseConflictError):
                await engine.submit(K, "add", Add(amount=2))
            tables.stored[K] = free
            assert (await engine.submit(K, "add", Add(amount=2))).version == 2

    run(go())


async def held(engine: ReducerPatternEngine) -> str:
    stored = await engine.stored(K)
    return stored.held if stored is not None else ""


def test_the_intents_of_a_commit_whose_answer_was_lost_run_and_who_waits_is_woken() -> None:
    async def go() -> None:
        store = Unreliable(answer=1)
        async with engine_on(store) as engine:
            waiting = asyncio.create_task(engine.wait(K, until="working", timeout_s=5))
            told = await engine.submit(K, "start", Start(text="slow"))
            assert told.duplicate
            assert (await waiting).version == 1
            assert (await engine.wait(K, until="in_doubt", timeout_s=5)).version == 2

    run(go())


def test_a_look_up_that_fails_after_a_conflict_forgets_nobody() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(answer=1, applied=1)) as engine:
            told = await engine.submit_many(
                [(K, "add", Add(amount=2)), (K, "add", Add(amount=4)), ("job:2", "add", Add())]
            )
            assert [one.version for one in told if not isinstance(one, OnexError)] == [1, 2, 1]
            assert await engine.state(K) == Job(status="new", count=6)

    run(go())


@pytest.mark.parametrize("fault", ["commit", "answer"])
def test_a_release_is_durable_when_it_returns_though_its_first_commit_failed(fault: str) -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            await engine.submit(K, "add", Add())
            for _ in range(3):
                with pytest.raises(ReducerFailed):
                    await engine.submit(K, "add", Add(amount=13))
            assert await held(engine)
            store.fails[fault] = 1
            await engine.release(K)
            assert not await held(engine)
            assert (await engine.submit(K, "add", Add())).version == 2

    run(go())


def test_a_release_waits_for_its_own_batch() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(), limits=Limits(batch=2)) as engine:
            await engine.submit(K, "add", Add())
            for _ in range(3):
                with pytest.raises(ReducerFailed):
                    await engine.submit(K, "add", Add(amount=13))
            others = asyncio.create_task(engine.submit_many([(f"job:{n}", "add", Add()) for n in range(2, 9)]))
            await asyncio.sleep(0)
            await engine.release(K)
            assert not await held(engine)
            await others

    run(go())


def test_three_failures_under_new_code_hold_an_instance_as_under_the_old() -> None:
    async def go() -> None:
        tables = Unreliable().tables
        async with engine_on(MemoryStore(tables)) as engine:
            await engine.submit(K, "add", Add())
        async with engine_on(MemoryStore(tables), digest=b"2") as engine:
            for _ in range(3):
                with pytest.raises(ReducerFailed):
                    await engine.submit(K, "add", Add(amount=13))
            with pytest.raises(InstanceHeld):
                await engine.submit(K, "add", Add())

    run(go())


def test_an_id_reused_in_flight_is_refused_with_a_record_and_the_first_is_untouched() -> None:
    async def go() -> None:
        async with engine_on(Unreliable()) as engine:
            first = asyncio.create_task(engine.submit(K, "add", Add(amount=2), action_id=UUID(int=7)))
            await asyncio.sleep(0)
            with pytest.raises(DuplicateActionError):
                await engine.submit(K, "add", Add(amount=4), action_id=UUID(int=7))
            assert (await first).version == 1
            (row,) = await engine.reader.rejections(str(K), None, 0, 10)
            assert row.code == "duplicate_action"

    run(go())


def test_an_id_reused_later_is_refused_with_a_record() -> None:
    async def go() -> None:
        async with engine_on(Unreliable()) as engine:
            await engine.submit(K, "add", Add(amount=2), action_id=UUID(int=7))
            with pytest.raises(DuplicateActionError):
                await engine.submit(K, "add", Add(amount=4), action_id=UUID(int=7))
            (row,) = await engine.reader.rejections(str(K), None, 0, 10)
            assert row.code == "duplicate_action"

    run(go())


def test_a_malformed_twin_does_not_hide_the_one_in_flight() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(), limits=Limits(batch=1)) as engine:
            same = UUID(int=7)
            ahead = [asyncio.create_task(engine.submit(K, "add", Add())) for _ in range(3)]
            first = asyncio.create_task(engine.submit(K, "add", Add(amount=2), action_id=same))
            await asyncio.sleep(0)
            with pytest.raises(OnexError):
                await engine.submit(K, "add", b"[]", action_id=same)
            second = asyncio.create_task(engine.submit(K, "add", Add(amount=2), action_id=same))
            assert (await first).version == (await second).version == 4
            await asyncio.gather(*ahead)
            assert await engine.state(K) == Job(status="new", count=5)

    run(go())


def test_a_fault_of_the_adapter_itself_is_told_to_everybody() -> None:
    async def go() -> None:
        store = Unreliable(bug=1)
        async with engine_on(store) as engine:
            with pytest.raises(OnexError, match="ZeroDivisionError"):
                await engine.submit(K, "add", Add())
            with pytest.raises(OnexError):
                await engine.release(K)
            with pytest.raises(OnexError):
                await engine.submit(K, "add", Add())

    run(go())


@pytest.mark.parametrize("fault", ["inbox", "woken"])
def test_what_was_sent_through_the_inbox_is_taken_though_the_first_look_failed(fault: str) -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            store.fails[fault] = 2
            sender = MemoryStore(store.tables)
            ticket = await sender.send(b'{"workflow_key":["job","1"],"kind":"add"}', 0)
            async with asyncio.timeout(5):
                while await sender.answer(ticket) is None:
                    await asyncio.sleep(0.01)
            assert (await engine.state(K)) == Job(status="new", count=1)

    run(go())


def test_intents_beyond_memory_run_though_the_store_cannot_be_read_at_first() -> None:
    async def go() -> None:
        store, worker = Unreliable(), Worker()
        async with engine_on(store, limits=Limits(kept=2), worker=worker) as engine:
            store.fails["waiting"] = 1
            await engine.submit_many([(f"job:{n}", "shout", None) for n in range(20)])
            await engine.idle()
            assert len(worker.done) == 20
            assert await engine.reader.outbox(tuple(EnumOutboxState), None, None, 100) == []

    run(go())


def test_intents_beyond_memory_run_though_those_in_memory_all_die() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(), limits=Limits(kept=2)) as engine:
            await engine.submit("job:watched", "watch")
            await engine.submit_many([(f"job:{n}", "tell", Told(text="watched")) for n in range(5)])
            await engine.idle()
            dead = await engine.reader.outbox((EnumOutboxState.DEAD,), None, None, 100)
            waiting = await engine.reader.outbox((EnumOutboxState.WAITING,), None, None, 100)
            assert (len(dead), [row for row in waiting if not row.timer]) == (5, [])

    run(go())


def test_timers_of_next_year_leave_room_for_what_can_run_now() -> None:
    async def go() -> None:
        worker = Worker()
        async with engine_on(Unreliable(), limits=Limits(kept=4), worker=worker) as engine:
            year = Add(amount=365 * 24 * 3600)
            await engine.submit_many([(f"job:{n}", "wake_me", year) for n in range(10)])
            await engine.submit_many([(f"job:{n}", "shout", None) for n in range(10)])
            await engine.idle()
            assert len(worker.done) == 10

    run(go())


def test_who_stops_waiting_for_the_end_does_not_bring_it_about_in_the_middle() -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            store.gate.clear()
            sent = asyncio.create_task(engine.submit(K, "add", Add()))
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await engine.close()
            store.gate.set()
            assert (await sent).version == 1

    run(go())


def test_a_re_drive_goes_on_when_its_caller_does_not() -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            await engine.submit("job:2", "watch")
            await engine.submit(K, "tell", Told(text="2"))
            async with asyncio.timeout(5):
                while not (rows := await engine.reader.outbox((EnumOutboxState.DEAD,), None, None, 1)):
                    await asyncio.sleep(0.005)
            await engine.submit("job:2", "unwatch")
            store.gate.clear()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await engine.redrive(rows[0].pointer)
            store.gate.set()
            await engine.wait("job:2", until="new", timeout_s=5)
            async with asyncio.timeout(5):
                while await engine.state("job:2") != Job(status="new", count=5):
                    await asyncio.sleep(0.005)

    run(go())


@pytest.mark.parametrize("end", ["close", "loss"])
def test_who_waits_is_told_when_nothing_more_will_be_committed(end: str) -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            waiting = asyncio.create_task(engine.wait(K, until="done", timeout_s=5))
            await asyncio.sleep(0.01)
            if end == "close":
                await engine.close()
            else:
                store.tables.fence += 1
                with pytest.raises(OwnershipLost):
                    await engine.submit(K, "add", Add())
                with pytest.raises(OwnershipLost):
                    await engine.wait(K, until="done", timeout_s=5)
            with pytest.raises(EngineClosed if end == "close" else OwnershipLost):
                await waiting

    run(go())


def test_of_many_actions_all_are_accepted_or_none() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(), limits=Limits(waiting=5)) as engine:
            with pytest.raises(Overloaded):
                await engine.submit_many([(K, "add", Add())] * 6)
            await asyncio.sleep(0.01)
            assert await engine.stored(K) is None
            assert len(await engine.submit_many([(K, "add", Add())] * 5)) == 5

    run(go())
