"""Commits against an expected version, and projections that never run ahead of their watermark."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid5

import pytest

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.projections import ProjectionMaterializerService
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ConcurrentModificationError, ProjectionLagging
from onex.ports import Position, Projections
from onex.seed_names.canonical_store import ActionDedupService, CanonicalStoreService, projection, watermark
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add

K = WorkflowKey("job", "1")
ID = uuid5(UUID(int=1), "an id")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # a coroutine, made by each test


def test_a_commit_on_an_old_version_changes_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            store = CanonicalStoreService(engine)
            assert await store.get_state(K) is None
            await store.try_commit(K, "add", Add(amount=2), expected_version=0, action_id=ID)
            with pytest.raises(ConcurrentModificationError, match="at version 1, not 0"):
                await store.try_commit(K, "add", Add(amount=4), expected_version=0)
            state = await store.get_state(K)
            assert state is not None and (state.version, state.state["count"]) == (1, 2)
            seen = await ActionDedupService(engine).applied(K, ID)
            assert seen is not None and seen.version == 1
            assert await ActionDedupService(engine).applied(K, UUID(int=9)) is None

    run(go())


def test_of_two_commits_on_one_version_one_wins(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            store = CanonicalStoreService(engine)
            calls = [store.try_commit(K, "add", Add(amount=n), expected_version=0) for n in (1, 2)]
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one).__name__ for one in done] == ["Committed", "ConcurrentModificationError"]

    run(go())


def tables(engine: ReducerPatternEngine) -> Projections:
    return engine.store  # type: ignore[return-value]  # both embedded stores keep projections too


def test_a_projection_follows_the_log_from_its_watermark(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            view = ProjectionMaterializerService(
                engine.reader, tables(engine), engine.commit_signal, engine.clock, batch=7
            )
            await engine.submit_many([(f"job:{n % 4}", "add", Add(amount=2)) for n in range(30)])
            assert (await view.lag()).rows == 30
            assert await view.catch_up() == 30
            assert (await view.lag()).rows == 0
            rows = await projection(tables(engine), "workflow")
            assert [(row.workflow_key, row.version, row.tag) for row in rows] == [
                ("job:0", 8, "new"),
                ("job:1", 8, "new"),
                ("job:2", 7, "new"),
                ("job:3", 7, "new"),
            ]
            assert (await watermark(tables(engine), "workflow")).offset == 30
        async with one_store.engine() as engine:
            view = ProjectionMaterializerService(engine.reader, tables(engine), engine.commit_signal, engine.clock)
            assert await view.catch_up() == 0

    run(go())


def test_a_query_waits_for_the_position_it_asks_for(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            view = ProjectionMaterializerService(engine.reader, tables(engine), engine.commit_signal, engine.clock)
            await view.start()
            done = await engine.submit("job:1", "start", b'{"text": "slow"}')
            rows = await view.rows(reached=done.position)
            assert [(row.tag, row.last_action) for row in rows] == [("working", "start")]
            with pytest.raises(ProjectionLagging):
                await view.rows(reached=Position(0, 99))
            await view.close()

    run(go())
