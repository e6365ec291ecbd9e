"""Workflow leases: one orchestrator leads an instance, the others are kept out, and nothing of it makes a version (promise 10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import EPOCH, WorkflowKey
from onex.kernel.errors import (
    EpochMismatchError,
    InstanceFinished,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    NotFound,
    OnexError,
    UnknownWorkflow,
    ValidationError,
)
from onex.kernel.lease import RELEASE, RENEW, TAKE
from onex.ports import Position
from tests.engine.conftest import OneStore
from tests.engine.hand_clock import ONE, K, by_hand
from tests.engine.jobs import Add, Job, Start
from tests.engine.test_inbox import OtherProcess, run, wire
from tests.engine.test_store_faults import Unreliable, engine_on


async def log_length(engine: ReducerPatternEngine) -> int:
    return len(await engine.reader.log(Position(0, 0), 1000))


def test_of_two_orchestrators_the_second_is_kept_out_and_nothing_changes(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", ONE)
            mine = await engine.take_lease(K, "first")
            assert (mine.key, mine.epoch) == (K, 0)
            before = await engine.stored(K)
            with pytest.raises(LeaseConflictError):
                await engine.take_lease(K, "second")
            with pytest.raises(LeaseConflictError):
                await engine.submit(K, "add", ONE)
            with pytest.raises(LeaseValidationError):
                await engine.submit(K, "add", ONE, lease_id=uuid4(), epoch=0)
            assert await engine.stored(K) == before
            assert (before is not None and before.version, await log_length(engine)) == (1, 1)
            assert (await engine.submit(K, "add", ONE, lease_id=mine.lease_id, epoch=0)).version == 2
            with pytest.raises(EpochMismatchError):
                await engine.submit(K, "add", ONE, lease_id=mine.lease_id, epoch=0)
            await engine.release_lease(K, mine.lease_id)
            theirs = await engine.take_lease(K, "second")
            assert theirs.epoch == 1

    run(go())


def test_a_lease_survives_the_engine_that_granted_it(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", ONE)
            mine = await engine.take_lease(K)
            await engine.submit(K, "add", ONE, lease_id=mine.lease_id, epoch=0)
        async with one_store.engine() as engine:
            with pytest.raises(LeaseConflictError):
                await engine.submit(K, "add", ONE)
            again = await engine.renew_lease(K, mine.lease_id)
            assert (again.lease_id, again.epoch) == (mine.lease_id, 1)
            assert again.until_us >= mine.until_us
            await engine.submit(K, "add", ONE, lease_id=mine.lease_id, epoch=1)
            await engine.release_lease(K, mine.lease_id)
            assert (await engine.submit(K, "add", ONE)).version == 4
            stored = await engine.stored(K)
            assert stored is not None
            assert (stored.lease_id, stored.lease_until_us, stored.epoch) == (None, 0, 2)

    run(go())


def test_a_lease_that_ran_out_is_told_from_one_that_is_not_there() -> None:
    async def go() -> None:
        async with by_hand() as (engine, clock):
            await engine.submit(K, "add", ONE)
            mine = await engine.take_lease(K, duration_s=10)
            assert mine.until == EPOCH + timedelta(microseconds=clock.at_us, seconds=10)
            clock.forward(10)
            assert (await engine.submit(K, "add", ONE, lease_id=mine.lease_id)).version == 2
            clock.forward(0.000001)
            for refused in (
                engine.submit(K, "add", ONE, lease_id=mine.lease_id),
                engine.renew_lease(K, mine.lease_id),
                engine.release_lease(K, mine.lease_id),
            ):
                with pytest.raises(LeaseExpiredError):
                    await refused
            assert (await engine.submit(K, "add", ONE)).version == 3
            theirs = await engine.take_lease(K)
            for refused in (
                engine.submit(K, "add", ONE, lease_id=mine.lease_id),
                engine.renew_lease(K, mine.lease_id),
                engine.release_lease(K, mine.lease_id),
            ):
                with pytest.raises(LeaseValidationError):
                    await refused
            await engine.release_lease(K, theirs.lease_id)
            with pytest.raises(LeaseValidationError):
                await engine.release_lease(K, theirs.lease_id)

    run(go())


def test_renewing_makes_a_lease_longer_and_never_shorter() -> None:
    async def go() -> None:
        async with by_hand() as (engine, clock):
            await engine.submit(K, "add", ONE)
            mine = await engine.take_lease(K, duration_s=10)
            assert (await engine.renew_lease(K, mine.lease_id, 1)).until == mine.until
            clock.forward(9)
            longer = await engine.renew_lease(K, mine.lease_id, 10)
            assert longer.until - mine.until == timedelta(seconds=9)

    run(go())


def test_triggers_without_a_lease_and_what_the_engine_brings_itself_pass() -> None:
    async def go() -> None:
        async with by_hand() as (engine, clock):
            await engine.submit(K, "wake_me", Add(amount=5))
            await engine.take_lease(K, duration_s=60)
            assert (await engine.submit(K, "shout")).version == 2
            clock.forward(6)
            assert (await engine.wait(K, "rung")).version == 3
            stored = await engine.stored(K)
            assert stored is not None
            assert stored.epoch == 0

    run(go())


def test_nobody_leads_what_has_not_begun_or_has_ended(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(NotFound, match="has not begun"):
                await engine.take_lease(K)
            with pytest.raises(UnknownWorkflow):
                await engine.take_lease("nobody:1")
            await engine.submit(K, "add", ONE)
            async with engine.lease(K) as lease:
                await lease.submit("start", Start(text="x"))
                await engine.wait(K)
            stored = await engine.stored(K)
            assert stored is not None
            assert (stored.status, stored.lease_id) == ("done", None)
            with pytest.raises(InstanceFinished):
                await engine.take_lease(K)

    run(go())


@pytest.mark.parametrize("duration_s", [0, -1, 86_401, float("nan"), float("inf"), "10"])
def test_a_duration_that_is_none_is_refused(tmp_path: Path, duration_s: float) -> None:
    async def go() -> None:
        async with OneStore("memory", tmp_path).engine() as engine:
            await engine.submit(K, "add", ONE)
            with pytest.raises(ValidationError, match=r"lease of|duration_s"):
                await engine.take_lease(K, duration_s=duration_s)
            with pytest.raises(ValidationError):
                engine.lease(K, duration_s=duration_s)

    run(go())


def test_requests_and_actions_of_one_batch_are_judged_in_their_order(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            lease_id = uuid4()
            done = await asyncio.gather(
                engine.submit(K, "add", ONE),
                engine.take_lease(K, action_id=lease_id),
                engine.submit(K, "add", ONE),
                engine.submit(K, "add", ONE, lease_id=lease_id, epoch=0),
                engine.take_lease(K, "another"),
                engine.submit(K, "add", ONE, lease_id=lease_id, epoch=1),
                engine.renew_lease(K, lease_id),
                engine.release_lease(K, lease_id),
                engine.submit(K, "add", ONE),
                engine.submit(K, "add", ONE, lease_id=lease_id, epoch=2),
                return_exceptions=True,
            )
            assert [one.code if isinstance(one, OnexError) else getattr(one, "version", "") for one in done] == [
                1, "", "lease_conflict", 2, "lease_conflict", 3, "", "", 4, "lease_validation",
            ]  # fmt: skip
            renewed = done[6]
            assert getattr(renewed, "epoch", None) == 2
            assert await engine.state(K) == Job(status="new", count=4)

    run(go())


def test_a_request_sent_twice_gets_the_same_lease(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", ONE)
            lease_id = uuid4()
            first = await engine.take_lease(K, action_id=lease_id)
            again = await engine.take_lease(K, action_id=lease_id)
            assert (first.lease_id, again.lease_id, again.epoch) == (lease_id, lease_id, 0)

    run(go())


@pytest.mark.parametrize("fault", ["commit", "answer"])
def test_a_commit_that_fails_or_whose_answer_is_lost_changes_no_answer(fault: str) -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            await engine.submit(K, "add", ONE)
            store.fails[fault] = 1
            mine = await engine.take_lease(K)
            store.fails[fault] = 1
            assert (await engine.renew_lease(K, mine.lease_id)).lease_id == mine.lease_id
            store.fails[fault] = 1
            done = await engine.submit(K, "add", ONE, lease_id=mine.lease_id, epoch=0, action_id=uuid4())
            assert (done.version, (await engine.renew_lease(K, mine.lease_id)).epoch) == (2, 1)
            store.fails[fault] = 1
            await engine.release_lease(K, mine.lease_id)
            assert (await engine.take_lease(K)).epoch == 1

    run(go())


# --- through the inbox ------------------------------------------------------------------------------------------------


def test_other_processes_ask_through_the_inbox_and_are_answered_in_the_commit(one_store: OneStore) -> None:
    async def go() -> None:
        sender, lease_id = OtherProcess(one_store), str(uuid4())
        await sender.send(
            wire("add", {"amount": 1}),
            wire(TAKE, {"duration_s": 60.0}, action_id=lease_id, issuer="planner"),
            wire("add", {"amount": 1}),
            wire("add", {"amount": 1}, lease_id=lease_id, epoch=0),
            wire(RENEW, lease_id=str(uuid4())),
            wire(RENEW, lease_id=lease_id),
            wire(RELEASE, lease_id=lease_id),
            wire(RELEASE),
            wire(TAKE, {"duration_s": 0}),
            wire(TAKE, {"seconds": 5}),
            wire(TAKE, expires_at="2020-01-01T00:00:00Z"),
            wire(TAKE, target_node="effect"),
            wire(TAKE, key=WorkflowKey("pie", "1")),
            wire("add", {"amount": 1}),
        )
        async with one_store.engine() as engine:
            answers = await sender.answered()
            granted = [one["lease"] for one in answers if "lease" in one]
            assert [(one["lease_id"], one["epoch"]) for one in granted if isinstance(one, dict)] == [
                (lease_id, 0), (lease_id, 1), (lease_id, 1),
            ]  # fmt: skip
            codes = [error["code"] for one in answers if isinstance(error := one.get("error"), dict)]
            assert codes == [
                "lease_conflict", "lease_validation", "invalid", "invalid_payload", "invalid_payload",
                "action_expired", "unsupported_action", "unknown_workflow",
            ]  # fmt: skip
            assert await engine.state(K) == Job(status="new", count=3)
            assert await log_length(engine) == 3

    run(go())
