"""The block that holds a lease: it stamps commands, renews, and releases whatever comes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from onex.adapters.memory.read import Tables
from onex.kernel.action import EPOCH
from onex.kernel.errors import (
    ActionExpiredError,
    InvalidStateTransitionError,
    LeaseConflictError,
    LeaseValidationError,
    ReducerFailed,
    ValidationError,
)
from tests.engine.conftest import OneStore
from tests.engine.hand_clock import ONE, K, by_hand
from tests.engine.jobs import Add
from tests.engine.test_inbox import run


def test_a_block_stamps_its_commands_and_releases(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", ONE)
            async with engine.lease(K, "planner-3") as lease:
                assert (await lease.submit("add", ONE)).version == 2
                with pytest.raises(InvalidStateTransitionError):
                    await lease.submit("unwatch")
                with pytest.raises(LeaseConflictError):
                    await engine.submit(K, "add", ONE)
                twice = uuid4()
                assert (await lease.submit("add", ONE, action_id=twice)).version == 3
                assert (await lease.submit("add", ONE, action_id=twice)).duplicate
                assert (await lease.submit("add", ONE)).version == 4
                assert lease.epoch == 3
                with pytest.raises(ValidationError, match="held by this block"):
                    await lease.__aenter__()
            with pytest.raises(ValidationError, match="no lease"):
                await lease.submit("add", ONE)
            assert (await engine.submit(K, "add", ONE)).version == 5
            log = await engine.reader.history(K, 0, 10)
            assert [entry.row.issuer for entry in log] == ["", "planner-3", "planner-3", "planner-3", ""]

    run(go())


def test_a_block_that_fails_releases_too(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", ONE)
            with pytest.raises(ReducerFailed, match="thirteen"):
                async with engine.lease(K) as lease:
                    await lease.submit("add", Add(amount=13))
            assert (await engine.submit(K, "add", ONE)).version == 2

    run(go())


def test_a_block_renews_at_half_time_and_its_commands_expire() -> None:
    async def go() -> None:
        async with by_hand() as (engine, clock):
            await engine.submit(K, "add", ONE)
            async with engine.lease(K, duration_s=100) as lease:
                until = lease.lease.until
                for _ in range(4):
                    await asyncio.sleep(0)  # the renewing task goes to sleep
                    clock.forward(50)
                    async with asyncio.timeout(10):
                        while lease.lease.until == until:
                            await asyncio.sleep(0)
                    until = lease.lease.until
                    assert until == EPOCH + timedelta(microseconds=clock.at_us, seconds=100)
                assert (await lease.submit("add", ONE)).version == 2
                late = EPOCH + timedelta(microseconds=clock.at_us - 1)
                with pytest.raises(ActionExpiredError):
                    await lease.submit("add", ONE, expires_at=late)

    run(go())


def test_a_block_whose_lease_another_has_by_now_is_refused_and_takes_nothing_from_it() -> None:
    async def go() -> None:
        tables = Tables()
        async with by_hand(tables) as (engine, _):
            await engine.submit(K, "add", ONE)
            async with engine.lease(K, duration_s=100) as lease:
                other = uuid4().bytes
                tables.stored[K] = tables.stored[K]._replace(lease_id=other, lease_until_us=2**60)
                with pytest.raises(LeaseConflictError):  # and memory forgets what it knew
                    await engine.submit(K, "add", ONE)
                with pytest.raises(LeaseValidationError):
                    await lease.submit("add", ONE)
            assert tables.stored[K].lease_id == other

    run(go())
