"""An instance that another writer moves: its change is tried again after a wait, in order, and not for ever (promise 10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ActionExpiredError, EngineClosed, OnexError, StateUpdateConflictError
from onex.kernel.retry import RetryPolicy
from onex.ports import Applied, Commit, Conflict
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Job, Start, Worker, registry

K = WorkflowKey("job", "1")
OTHER = WorkflowKey("job", "2")
AN_ID = UUID("6f1d1b5e-4f0a-4c8e-9a54-0e0e5b0c7a01")


class Contended(MemoryStore):
    """Somebody else commits to K first, as often as ``moves`` says."""

    def __init__(self, moves: int) -> None:
        super().__init__()
        self.moves = moves

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        mine = [change.key == K and bool(change.rows) for change in commit.changes]
        if not self.moves or not any(mine):
            return await super().commit(commit)
        self.moves -= 1
        left = [change for change, is_mine in zip(commit.changes, mine, strict=True) if not is_mine]
        done = iter(await super().commit(commit._replace(changes=tuple(left))))
        return [
            Conflict(change.based_on + 1) if is_mine else next(done)
            for change, is_mine in zip(commit.changes, mine, strict=True)
        ]


class Waits(SystemClock):
    """Notes how long somebody wanted to wait, and does not wait."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await super().sleep(0)


@asynccontextmanager
async def engine_on(
    store: MemoryStore, clock: SystemClock, limits: Limits | None = None
) -> AsyncIterator[ReducerPatternEngine]:
    table = registry(Worker())
    engine = ReducerPatternEngine(store, store, table, clock, UuidV7(), ENV, limits=limits, check_all=True)
    async with asyncio.timeout(10), await engine.start("test"):
        yield engine


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def waits(clock: Waits) -> list[float]:
    """Those of a conflict; the relay looks for timers every half minute."""
    return [seconds for seconds in clock.slept_s if 0 < seconds < 1]


def test_a_change_that_met_another_is_tried_again_five_times_each_wait_longer() -> None:
    async def go() -> None:
        clock = Waits()
        async with engine_on(Contended(5), clock) as engine:
            assert (await engine.submit(K, "add", Add(), action_id=AN_ID)).version == 1
            full_s = [0.010, 0.020, 0.040, 0.080, 0.160]
            assert [full / 2 <= waited <= full for waited, full in zip(waits(clock), full_s, strict=True)] == 5 * [True]
            assert engine.counters.conflicts == 5

    run(go())


def test_the_wait_follows_from_the_action_and_the_try() -> None:
    async def go() -> None:
        seen: list[list[float]] = []
        for action_id in (AN_ID, AN_ID, UUID(int=9)):
            clock = Waits()
            async with engine_on(Contended(5), clock) as engine:
                await engine.submit(K, "add", Add(), action_id=action_id)
            seen.append(waits(clock))
        assert seen[0] == seen[1] != seen[2]

    run(go())


def test_the_sixth_conflict_is_the_callers_and_leaves_no_trace() -> None:
    async def go() -> None:
        async with engine_on(Contended(6), Waits()) as engine:
            with pytest.raises(StateUpdateConflictError, match="job:1 was changed by others"):
                await engine.submit(K, "add", Add())
            assert await engine.stored(K) is None
            assert (await engine.submit(K, "add", Add())).version == 1
            assert engine.service.is_quiet

    run(go())


@pytest.mark.parametrize("retries", [0, 2])
def test_how_often_says_the_policy(retries: int) -> None:
    async def go() -> None:
        limits = Limits(conflicts=RetryPolicy(max_attempts=1 + retries, initial_s=0.001, max_s=0.001))
        async with engine_on(Contended(retries + 1), Waits(), limits) as engine:
            with pytest.raises(StateUpdateConflictError):
                await engine.submit(K, "add", Add())
            assert engine.counters.conflicts == retries + 1

    run(go())


def test_while_one_key_waits_its_order_holds_and_its_neighbours_go_on() -> None:
    async def go() -> None:
        class Gate(SystemClock):
            opened = asyncio.Event()

            async def sleep(self, seconds: float) -> None:
                await self.opened.wait()

        async with engine_on(Contended(1), Gate()) as engine:
            first = [asyncio.create_task(engine.submit(K, "add", Add(amount=n))) for n in (1, 2)]
            while not engine.counters.conflicts:
                await asyncio.sleep(0)
            first += [asyncio.create_task(engine.submit(K, "add", Add(amount=n))) for n in (4, 8)]
            assert [(await engine.submit(OTHER, "add", Add())).version for _ in range(3)] == [1, 2, 3]
            assert not any(task.done() for task in first)
            assert not engine.service.is_quiet
            Gate.opened.set()
            assert [(await task).version for task in first] == [1, 2, 3, 4]
            history = await engine.reader.history(K, 0, 10)
            assert [entry.row.payload for entry in history] == [b'{"amount":%d}' % n for n in (1, 2, 4, 8)]

    run(go())


def test_an_outcome_goes_on_beyond_the_last_try() -> None:
    async def go() -> None:
        store = Contended(0)
        async with engine_on(store, Waits()) as engine:
            await engine.submit(K, "start", Start(text="hello"))
            store.moves = 9
            assert (await engine.wait(K)).status == "done"

    run(go())


def test_a_neighbours_duplicate_is_no_conflict_of_the_others() -> None:
    async def go() -> None:
        clock = Waits()
        limits = Limits(conflicts=RetryPolicy(max_attempts=1))
        async with engine_on(Contended(0), clock, limits) as engine:
            await engine.submit(K, "add", Add(amount=2), action_id=AN_ID)
            told = await asyncio.gather(
                engine.submit(K, "add", Add(amount=2), action_id=AN_ID), engine.submit(K, "add", Add(amount=4))
            )
            assert [(one.version, one.duplicate) for one in told] == [(1, True), (2, False)]
            assert await engine.state(K) == Job(status="new", count=6)
            assert waits(clock) == []

    run(go())


def test_what_waits_when_the_engine_closes_becomes_durable_first() -> None:
    async def go() -> None:
        store = Contended(3)
        async with engine_on(store, SystemClock()) as engine:
            task = asyncio.create_task(engine.submit(K, "add", Add()))
            while not engine.counters.conflicts:
                await asyncio.sleep(0)
        assert (await task).version == 1
        with pytest.raises(EngineClosed):
            await engine.submit(K, "add", Add())

    run(go())


def test_who_waits_when_the_engine_loses_its_store_is_told() -> None:
    async def go() -> None:
        store = Contended(1)
        async with engine_on(store, SystemClock()) as engine:
            task = asyncio.create_task(engine.submit(K, "add", Add()))
            while not engine.counters.conflicts:
                await asyncio.sleep(0)
            store.tables.fence += 1
            with pytest.raises(OnexError, match="fence"):
                await engine.submit(OTHER, "add", Add())
            with pytest.raises(OnexError, match="fence"):
                await task

    run(go())


def test_how_old_an_id_may_be_is_a_limit() -> None:
    async def go() -> None:
        an_hour_ago = (SystemClock().now_us() // 1000 - 3_600_001).to_bytes(6) + UuidV7().new()[6:]
        for hours in (1, 2):
            async with engine_on(MemoryStore(), SystemClock(), Limits(dedup_hours=hours)) as engine:
                sent = engine.submit(K, "add", Add(), action_id=UUID(bytes=an_hour_ago))
                if hours == 1:
                    with pytest.raises(ActionExpiredError, match="is 1 h old; ids are remembered 1 h"):
                        await sent
                else:
                    assert (await sent).version == 1

    run(go())
