"""Rollback brings back a state that stood, byte for byte, or none: a damaged row is refused, not folded."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import StateConsistencyError
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import Add, Job, Worker
from tests.engine.test_store_faults import K, run
from tests.engine_sim.sample_workflow import Add as Amount
from tests.engine_sim.sample_workflow import SampleState, registry


@pytest.fixture
def memory(tmp_path: Path) -> OneStore:
    return OneStore("memory", tmp_path)


async def five(engine: ReducerPatternEngine) -> None:
    """Versions 1 to 5: one batch of two, three of one."""
    await engine.submit_many([(K, "add", Add(amount=1)), (K, "add", Add(amount=2))])
    for amount in (3, 4, 5):
        await engine.submit(K, "add", Add(amount=amount))


@pytest.mark.parametrize(("version", "count"), [(1, 1), (2, 3), (4, 10), (5, 15)])
def test_the_state_of_any_version_comes_back_as_it_stood(one_store: OneStore, version: int, count: int) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await five(engine)
            assert (await engine.rollback(K, version)).version == 6
            assert await engine.state(K) == Job(status="new", count=count)

    run(go())


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_turned_bit_on_the_way_is_refused_and_one_behind_it_is_not(memory: OneStore, damaged: int) -> None:
    async def go() -> None:
        async with memory.engine() as engine:
            await five(engine)
            entry = memory.tables.log[damaged - 1]
            payload = entry.row.payload.replace(b":", b":1")
            memory.tables.log[damaged - 1] = entry._replace(row=entry.row._replace(payload=payload))
            with pytest.raises(StateConsistencyError, match="damaged"):
                await engine.rollback(K, 3)
            assert (await engine.stored(K) or entry).version == 5
            if damaged == 3:
                assert (await engine.rollback(K, 2)).version == 6

    run(go())


def test_what_a_version_was_under_older_code_is_not_told_by_that_of_today() -> None:
    """The second generation counts twice what it is given: folded by it, version 2 would not be what it was."""

    async def go() -> None:
        tables = Tables()
        key = WorkflowKey("errand", "1")
        for generation in (1, 2):
            store = MemoryStore(tables)
            code = registry(generation, Worker())
            async with await ReducerPatternEngine(store, store, code, SystemClock(), UuidV7(), ENV).start(
                "t"
            ) as engine:
                if generation == 1:
                    await engine.submit(key, "begin")
                for _ in range(3):
                    await engine.submit(key, "add", Amount(amount=1))
                if generation == 2:
                    with pytest.raises(StateConsistencyError, match="other code"):
                        await engine.rollback(key, 2)
                    assert (await engine.rollback(key, 5)).version == 8
                    assert await engine.state(key) == SampleState(status="open", count=5)

    run(go())
