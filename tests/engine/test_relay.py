"""Every intent ends in exactly one outcome, or in a dead row that an operator sees."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from blake3 import blake3
from pydantic import BaseModel

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.intent import EnumDelivery, ModelIntent
from onex.ports import Attempt, EnumAttempt, EnumOutboxState, NewBlob, OutboxRow, Result
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Finished, Job, Start, Told

K = WorkflowKey("job", "1")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


async def ended(engine: ReducerPatternEngine, text: str) -> Job:
    await engine.submit(K, "start", Start(text=text))
    await engine.idle()
    state = await engine.state(K)
    assert isinstance(state, Job)
    return state


async def outbox(engine: ReducerPatternEngine, *states: EnumOutboxState) -> list[OutboxRow]:
    return list(await engine.reader.outbox(states or tuple(EnumOutboxState), None, None, 100))


def test_a_success_becomes_the_mapped_action_and_settles_the_row(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            state = await ended(engine, "hello")
            assert (state.status, state.text) == ("done", "hello")
            assert await outbox(engine) == []
            assert [text for _, text in one_store.worker.done] == ["hello"]

    run(go())


def test_a_refusal_for_good_is_failed_at_the_first_try(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            state = await ended(engine, "refuse")
            assert (state.status, state.why) == ("failed", "too_poor after 1")

    run(go())


def test_a_flaky_effect_is_tried_again_with_the_same_key(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            state = await ended(engine, "flaky")
            assert state.status == "done"
            assert list(one_store.worker.tries.values()) == [3]
            assert engine.counters.effects_retried == 2

    run(go())


def told(attempts: Sequence[Attempt]) -> list[tuple[int, EnumAttempt, str, str]]:
    return [(one.attempt, one.outcome, one.code, one.message) for one in attempts]


def test_each_try_is_kept_with_its_reason_its_time_and_where_it_raised(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await ended(engine, "flaky")
            kept = await engine.reader.attempts(K, 10)
            dropped = (EnumAttempt.UNKNOWN, "effect_raised", "OSError: the line dropped")
            assert told(kept) == [(1, *dropped), (2, *dropped), (3, EnumAttempt.SUCCEEDED, "", "")]
            assert all(0 < one.began_us <= one.ended_us for one in kept)
            assert ["jobs.py:" in one.trace and " in execute" in one.trace for one in kept] == [True, True, False]

    run(go())


def test_a_first_try_that_succeeds_writes_no_row(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await ended(engine, "hello")
            assert await engine.reader.attempts(K, 10) == []

    run(go())


def test_a_try_that_did_nothing_says_so(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await ended(engine, "refuse")
            assert told(await engine.reader.attempts(K, 10)) == [(1, EnumAttempt.FAILED, "too_poor", "no")]

    run(go())


def test_a_success_after_retries_that_is_held_keeps_the_number_of_its_try(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def on_the_third(intent: ModelIntent[BaseModel]) -> Result:
        if intent.attempt < 3:
            raise OSError("the line dropped")
        return Result(Finished(text="poison"))

    async def go() -> None:
        monkeypatch.setattr(one_store.worker, "execute", on_the_third)
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="any"))
            await engine.idle()
            (row,) = await outbox(engine, EnumOutboxState.HELD)
            assert row.attempt == 3

    run(go())


def test_a_last_try_that_may_have_been_done_is_unknown(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            state = await ended(engine, "broken")
            assert (state.status, state.why) == ("in_doubt", "effect_raised after 3")

    run(go())


def test_a_time_out_is_unknown_too(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            assert (await ended(engine, "slow")).status == "in_doubt"

    run(go())


def test_at_most_once_is_not_tried_again_if_it_may_have_been_done(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(delivery=EnumDelivery.AT_MOST_ONCE) as engine:
            state = await ended(engine, "broken")
            assert (state.status, state.why) == ("in_doubt", "effect_raised after 1")

    run(go())


def test_at_most_once_is_tried_again_when_surely_not_done(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(delivery=EnumDelivery.AT_MOST_ONCE) as engine:
            assert (await ended(engine, "busy")).status == "done"

    run(go())


def test_fire_and_forget_settles_without_an_action(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            done = await engine.submit(K, "shout")
            await engine.idle()
            assert await outbox(engine) == []
            stored = await engine.stored(K)
            assert stored is not None and stored.version == done.version
            assert [text for _, text in one_store.worker.done] == ["shout"]

    run(go())


def test_an_outcome_the_reducer_fails_on_is_held_and_delivered_again_without_the_effect(
    one_store: OneStore,
) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="poison"))
            await engine.idle()
            (row,) = await outbox(engine, EnumOutboxState.HELD)
            assert b"poison" in row.result and "digest" in row.error
            await engine.redrive(row.pointer)
            await engine.idle()
            (again,) = await outbox(engine, EnumOutboxState.HELD)
            assert again.pointer == row.pointer
            assert [text for _, text in one_store.worker.done] == ["poison"]

    run(go())


def test_the_bytes_that_a_held_outcome_names_are_kept_with_it(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever delivers it again may be another owner, who never saw them."""
    data = b"bytes of the result"
    digest = blake3(data).digest()

    async def gives_bytes(intent: ModelIntent[BaseModel]) -> Result:
        return Result(Finished(text="poison"), (NewBlob(digest, "text/plain", data),))

    async def go() -> None:
        monkeypatch.setattr(one_store.worker, "execute", gives_bytes)
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="poison"))
            await engine.idle()
            assert len(await outbox(engine, EnumOutboxState.HELD)) == 1
            assert await engine.reader.blob(digest) == data

    run(go())


def test_a_message_that_is_refused_is_dead_and_can_be_driven_again(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit("job:2", "watch")
            await engine.submit(K, "tell", Told(text="2"))
            async with asyncio.timeout(5):
                while not (rows := await outbox(engine, EnumOutboxState.DEAD)):
                    await asyncio.sleep(0.005)
            (row,) = rows
            assert "not accepted in 'watched'" in row.error
            await engine.submit("job:2", "unwatch")
            await engine.redrive(row.pointer)
            await engine.idle()
            assert await engine.state("job:2") == Job(status="new", count=5)
            assert await outbox(engine) == []

    run(go())


def test_a_timer_fires_once_and_the_later_setting_replaces_the_earlier(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "wake_me", Add(amount=60))
            await engine.submit_many([(K, "wake_me", Add(amount=3600)), (K, "wake_me", Add(amount=0))])
            stored = await engine.wait(K, until="rung", timeout_s=5)
            assert stored.version == 4
            assert await outbox(engine) == []
            assert dict(stored.timers) == {}

    run(go())


def test_a_state_that_waits_too_long_leaves_by_its_own_timer(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "watch")
            stored = await engine.wait(K, timeout_s=5)
            assert stored.status == "late"
            await engine.submit("job:2", "watch")
            await engine.submit("job:2", "unwatch")
            assert await outbox(engine) == []

    run(go())


def test_timers_and_waiting_effects_survive_a_restart(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "wake_me", Add(amount=1))
        async with one_store.engine() as engine:
            stored = await engine.wait(K, until="rung", timeout_s=5)
            assert stored.version == 2

    run(go())


def test_an_effect_cut_off_by_the_end_of_its_engine_runs_again_with_the_same_key(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="slow"))
            async with asyncio.timeout(5):
                while not one_store.worker.tries:
                    await asyncio.sleep(0.001)
            assert await engine.reader.attempts(K, 10) == []
        assert engine.counters.effects_cut_off == 1
        (key,) = one_store.worker.tries
        one_store.worker.tries[key] = 10  # from now on it is not slow any more
        async with one_store.engine() as engine:
            (cut, *_) = await engine.reader.attempts(K, 10)
            assert (cut.attempt, cut.outcome, cut.message) == (1, EnumAttempt.CUT_OFF, "its engine closed while it ran")
            assert 0 < cut.began_us <= cut.ended_us
            stored = await engine.wait(K, until="in_doubt", timeout_s=5)
            assert stored.status == "in_doubt"
            assert list(one_store.worker.tries) == [key]

    run(go())


def test_at_most_once_cut_off_by_the_end_of_its_engine_is_unknown_and_no_crash(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(delivery=EnumDelivery.AT_MOST_ONCE) as engine:
            await engine.submit(K, "start", Start(text="slow"))
            async with asyncio.timeout(5):
                while not one_store.worker.tries:
                    await asyncio.sleep(0.001)
        async with one_store.engine(delivery=EnumDelivery.AT_MOST_ONCE) as engine:
            stored = await engine.wait(K, until="in_doubt", timeout_s=5)
            assert stored.status == "in_doubt"
            assert list(one_store.worker.tries.values()) == [1]
            assert [one.outcome for one in await engine.reader.attempts(K, 10)] == [EnumAttempt.CUT_OFF]
            state = await engine.state(K)
            assert isinstance(state, Job)
            assert state.why == "cut_off after 1"

    run(go())
