"""An isolation context: one correlation id, the type's quotas, exclusive use if it asks, a deadline; all is freed at its end."""

from __future__ import annotations

import asyncio

import pytest

from onex.kernel.errors import LeaseConflictError, NotFound, QuotaExceeded, UnknownWorkflow, ValidationError
from onex.kernel.quota import ResourceLimits
from onex.seed_names.instance_isolation import InstanceIsolationManager, ResourceUse
from tests.engine.conftest import OneStore
from tests.engine.test_quotas import K, Pour, Sink, Tap, run, tap

LIMITS = ResourceLimits(state_bytes=500, pending_intents=2)


def test_a_context_has_the_quotas_of_its_type_and_one_correlation_id(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), LIMITS)) as engine:
            manager = InstanceIsolationManager(engine)
            context = manager.create_isolated_context("1", "tap")
            assert (context.resource_limits, context.instance_id, context.workflow_type) == (LIMITS, "1", "tap")
            async with context:
                assert await context.use() == ResourceUse(0, 0, 0)
                await context.submit("pour", Pour(drips=2, water="a" * 100))
                with pytest.raises(QuotaExceeded):
                    await context.submit("pour", Pour(drips=1))
                assert await context.state() == Tap(status="open", water="a" * 100)
                used = await context.use()
                assert (used.pending_intents, used.waiting, used.state_bytes > 100) == (2, 0, True)
            (row,) = await engine.reader.history(K, 0, 10)
            assert row.row.correlation == context.correlation_id.bytes

    run(go())


@pytest.mark.parametrize("ends", ["in order", "by an error", "by its deadline", "by a cancellation"])
def test_what_a_context_took_is_freed_however_it_ends(one_store: OneStore, ends: str) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), LIMITS)) as engine:
            await engine.submit(K, "pour")
            manager = InstanceIsolationManager(engine)
            entered = asyncio.Event()

            async def block() -> None:
                limit_s = 0.05 if ends == "by its deadline" else None
                async with manager.create_isolated_context("1", "tap", exclusive=True, timeout_s=limit_s) as context:
                    await context.submit("pour")
                    with pytest.raises(LeaseConflictError):
                        await engine.submit(K, "pour")
                    entered.set()
                    if ends == "by an error":
                        raise KeyError(ends)
                    if ends != "in order":
                        await asyncio.Event().wait()

            task = asyncio.create_task(block())
            await entered.wait()
            if ends == "by a cancellation":
                task.cancel()
            (answer,) = await asyncio.gather(task, return_exceptions=True)
            assert type(answer).__name__ == {
                "in order": "NoneType", "by an error": "KeyError", "by its deadline": "TimeoutError",
                "by a cancellation": "CancelledError",
            }[ends]  # fmt: skip
            await engine.submit(K, "pour")
            stored = await engine.stored(K)
            assert stored is not None and stored.lease_id is None

    run(go())


def test_what_cannot_be_isolated_is_refused_by_name(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), LIMITS)) as engine:
            manager = InstanceIsolationManager(engine)
            with pytest.raises(UnknownWorkflow, match="there is tap"):
                manager.create_isolated_context("1", "other")
            with pytest.raises(ValidationError):
                manager.create_isolated_context("1", "tap", timeout_s=-1)
            with pytest.raises(NotFound):
                async with manager.create_isolated_context("1", "tap", exclusive=True):
                    pass

    run(go())
