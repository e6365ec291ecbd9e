"""A call that tells how far it is can be watched while it runs, and one that falls silent is not waited for to the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import BaseModel

from onex.engine.heartbeats import RunningTry
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import EnumDelivery, ModelIntent
from onex.kernel.machine import MachineReducer
from onex.kernel.retry import RetryPolicy
from onex.nodes.given import given_executor
from onex.ports import EnumAttempt, EnumOutboxState, OutboxRow
from onex.testing.virtual_time import virtual
from tests.engine.conftest import OneStore
from tests.engine.jobs import MACHINE, PAYLOADS, Do, Finished, Job, Start, handlers, intents, registry

APP = Path(__file__).parent / "called_app" / "calls.py"
K = WorkflowKey("job", "1")


def watched(
    one_store: OneStore,
    call: object,
    heartbeat_s: float,
    *,
    timeout_s: float = 30.0,
    delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE,
    tries: int = 1,
) -> ReducerRegistry:
    """The job of ``jobs``, served by ``call``: one that gives no sign for ``heartbeat_s`` stalls."""
    (workflow,) = registry(one_store.worker).workflows
    mine = replace(
        intents()["do"],
        heartbeat_s=heartbeat_s,
        timeout_s=timeout_s,
        delivery=delivery,
        retry=RetryPolicy(max_attempts=tries, initial_s=0.001, max_s=0.002),
    )
    made = MachineReducer("job", handlers, MACHINE, PAYLOADS, {**intents(), "do": mine})
    serves = given_executor(call, "worker", 10, NoBlobs(), asyncio.to_thread, lambda intent: Finished)  # type: ignore[arg-type]
    return ReducerRegistry((replace(workflow, reducer=made, executors={**workflow.executors, "worker": serves}),))


class NoBlobs:
    async def read(self, digest: bytes) -> bytes:
        raise AssertionError("no blob is read here")


async def row_of(engine: ReducerPatternEngine) -> OutboxRow:
    (row,) = await engine.reader.outbox((EnumOutboxState.WAITING,), K, None, 9)
    return row


@pytest.mark.parametrize("delivery", list(EnumDelivery))
def test_progress_is_told_by_the_engine_and_by_the_store_while_it_runs(
    one_store: OneStore, delivery: EnumDelivery
) -> None:
    goes_on = asyncio.Event()

    async def copies(intent: ModelIntent[BaseModel]) -> Mapping[str, str]:
        intent.heartbeat("40 of 100")
        await goes_on.wait()
        return {"text": "copied"}

    async def go() -> None:
        async with one_store.engine(reducers=watched(one_store, copies, 30.0, delivery=delivery)) as engine:
            await engine.submit(K, "start", Start(text="any"))
            while not (row := await row_of(engine)).error:
                await asyncio.sleep(0)
            assert (row.error, row.attempt, row.started) == ("progress: 40 of 100", 1, True)
            (running,) = engine.relay.running
            assert running._replace(began_us=0, beat_us=0) == RunningTry(K, "do", 0, 1, 0, "40 of 100")
            assert 0 < running.began_us <= running.beat_us
            goes_on.set()
            await engine.idle()
            assert engine.relay.running == ()
            state = await engine.state(K)
            assert isinstance(state, Job)
            assert state.text == "copied"
            assert await engine.reader.attempts(K, 9) == []

    asyncio.run(go())


def test_the_last_progress_stands_in_the_row_when_the_engine_ends_and_the_next_try_is_given_it(
    one_store: OneStore,
) -> None:
    async def copies(intent: ModelIntent[BaseModel]) -> None:
        intent.heartbeat("40 of 100")
        await asyncio.Event().wait()

    async def goes_on(intent: ModelIntent[BaseModel]) -> Finished:
        came_to.append(intent.last_progress)
        return Finished(text="all")

    came_to: list[str] = []

    async def go() -> None:
        async with one_store.engine(reducers=watched(one_store, copies, 30.0)) as engine:
            await engine.submit(K, "start", Start(text="any"))
            while not (await row_of(engine)).error:
                await asyncio.sleep(0)
        async with one_store.engine(reducers=watched(one_store, goes_on, 30.0)) as engine:  # with the same key
            assert (await engine.wait(K)).status == "done"
        assert came_to == ["40 of 100"]

    asyncio.run(go())


def test_one_that_falls_silent_is_timed_out_early_and_perhaps_done(one_store: OneStore) -> None:
    async def silent(intent: ModelIntent[BaseModel]) -> None:
        intent.heartbeat("1 of 2")
        await asyncio.Event().wait()

    async def go() -> None:
        async with one_store.engine(reducers=watched(one_store, silent, 0.05)) as engine:
            await engine.submit(K, "start", Start(text="any"))
            assert (await engine.wait(K, "in_doubt")).status == "in_doubt"
            state = await engine.state(K)
            assert isinstance(state, Job)
            assert state.why == "stalled after 1"
            (kept,) = await engine.reader.attempts(K, 9)
            assert (kept.outcome, kept.code, kept.message) == (
                EnumAttempt.UNKNOWN,
                "stalled",
                "no heartbeat for 0.05 s",
            )

    asyncio.run(go())


def test_signs_of_life_from_a_thread_keep_a_call_alive_until_its_time_out(one_store: OneStore) -> None:
    """Each wait is shorter than ``heartbeat_ms``, and all together are longer."""
    waits = threading.Event()

    def copies(intent: ModelIntent[BaseModel]) -> Mapping[str, str]:
        for n in range(8):
            intent.heartbeat(n)
            waits.wait(0.1)
        return {"text": "copied"}

    async def go() -> None:
        async with one_store.engine(reducers=watched(one_store, copies, 0.5)) as engine:
            await engine.submit(K, "start", Start(text="any"))
            assert (await engine.wait(K)).status == "done"

    asyncio.run(go())


def test_signs_of_life_do_not_move_the_time_out(one_store: OneStore) -> None:
    async def alive(intent: ModelIntent[BaseModel]) -> None:
        while True:
            intent.heartbeat()
            await asyncio.sleep(0.01)

    async def go() -> None:
        async with one_store.engine(reducers=watched(one_store, alive, 5.0, timeout_s=0.2)) as engine:
            await engine.submit(K, "start", Start(text="any"))
            assert (await engine.wait(K, "in_doubt")).status == "in_doubt"
            state = await engine.state(K)
            assert isinstance(state, Job)
            assert state.why == "timed_out after 1"

    asyncio.run(go())


def test_an_intent_that_nobody_runs_may_be_asked_for_a_heartbeat() -> None:
    intent = ModelIntent[Do](
        intent_id=uuid4(),
        intent_type="api_call",
        target="t",
        payload=Do(text="x"),
        correlation_id=uuid4(),
        idempotency_key="k",
    )
    intent.heartbeat("40 of 100")


def test_a_million_signs_are_a_few_looks_and_a_few_rows() -> None:
    """In virtual time: what is written is at most one text a second."""
    beats = 0

    async def busy(intent: ModelIntent[BaseModel]) -> Mapping[str, str]:
        nonlocal beats
        for second in range(5):
            for n in range(1000):
                intent.heartbeat(f"{second}.{n}")
                beats += 1
            await asyncio.sleep(1)
        return {}

    with virtual(APP, executors={"bank": busy}) as run:
        run.submit("calls:a", "go", {"calls": 1})
        before = run.engine.counters.batches
        run.skip(seconds=6)
        assert run.state("calls:a").model_dump()["answered"] == 1
        assert beats == 5000
        assert run.engine.counters.batches - before <= 7


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("progress", [Odd(), "x" * 5000, "\x00\ud800", 0.5, None])
def test_whatever_it_is_given_a_heartbeat_harms_nothing(progress: object) -> None:
    async def call(intent: ModelIntent[BaseModel]) -> Mapping[str, str]:
        intent.heartbeat(progress)  # type: ignore[arg-type]  # a function of a user's may
        await asyncio.sleep(1)
        return {}

    with virtual(APP, executors={"bank": call}) as run:
        run.submit("calls:a", "go", {"calls": 1})
        run.skip(seconds=0.5)
        (row,) = run.run(run.engine.reader.outbox((EnumOutboxState.WAITING,), None, None, 9))
        assert row.error.startswith("progress: ")
        assert len(row.error) < 300
        run.skip(seconds=1)
        assert run.state("calls:a").model_dump()["answered"] == 1


def test_a_call_that_is_cancelled_is_told_and_its_row_keeps_saying_so() -> None:
    async def long(intent: ModelIntent[BaseModel]) -> None:
        try:
            while True:
                intent.heartbeat(f"{intent.cancelled.is_set()}")
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            intent.heartbeat("cleaning up")
            await asyncio.sleep(2)
            raise EffectFailed("stopped", code="cancelled") from None

    with virtual(APP, executors={"bank": long}) as run:
        run.submit("calls:a", "go", {"calls": 1})
        run.skip(seconds=1)
        run.submit("calls:a", "stop")
        run.skip(seconds=10)
        assert run.engine.relay.running == ()
        assert run.run(run.engine.reader.outbox(tuple(EnumOutboxState), None, None, 9)) == []
        assert run.state("calls:a").model_dump()["refused"] == 1


def test_a_try_that_failed_hands_its_progress_to_the_next_one(one_store: OneStore) -> None:
    came_to: list[str] = []

    def copies(intent: ModelIntent[BaseModel]) -> Finished:
        came_to.append(intent.last_progress)
        intent.heartbeat(f"{10 * intent.attempt} of 30")
        if intent.attempt < 3:
            raise EffectFailed("the disk is full", retryable=True)
        return Finished(text="all")

    async def go() -> None:
        reducers = watched(one_store, copies, 30.0, tries=3)
        async with one_store.engine(reducers=reducers) as engine:
            await engine.submit(K, "start", Start(text="any"))
            await engine.wait(K)

    asyncio.run(go())
    assert came_to == ["", "10 of 30", "20 of 30"]
