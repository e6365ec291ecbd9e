"""What a store that fails, forgets or answers too late may not cost: an action, an intent, an answer, a hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory import MemoryStore
from onex.engine.dispatch import Limits
from onex.engine.pattern import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import (
    CommitUnknown,
    DuplicateActionError,
    InstanceHeld,
    OnexError,
    ReducerFailed,
    TemporaryDatabaseError,
)
from onex.ports import Applied, Commit, Conflict, LogEntry
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Job, Worker, registry

K = WorkflowKey("job", "1")


class Unreliable(MemoryStore):
    """A memory store that fails at each point as often as ``fails[point]`` says."""

    def __init__(self, **fails: int) -> None:
        super().__init__()
        self.fails = Counter(fails)

    def _fails(self, point: str) -> bool:
        if not self.fails[point]:
            return False
        self.fails[point] -= 1
        return True

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        if self._fails("commit"):
            raise TemporaryDatabaseError("refused")
        if self._fails("bug"):
            raise ZeroDivisionError("an adapter's own fault")
        answers = await super().commit(commit)
        if self._fails("answer"):
            raise CommitUnknown("the answer was lost")
        return answers

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


async def held(engine: ReducerPatternEngine) -> str:
    stored = await engine.stored(K)
    return stored.held if stored is not None else ""


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
