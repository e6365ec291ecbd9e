"""A time that ran away: one action stamped in 2100 leaves its instance there, and its later timers ring when they were meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from onex.adapters.clock import SystemClock
from onex.engine.delivery import AHEAD_US, by_the_clock
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey, micros
from onex.ports import NewIntent
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add
from tests.engine.test_store_faults import K, run

FAR = datetime(2100, 1, 1, tzinfo=UTC)


async def due_in_s(engine: ReducerPatternEngine, name: str, key: WorkflowKey = K) -> float:
    stored = await engine.stored(key)
    assert stored is not None
    return (stored.timers[name][1] - SystemClock().now_us()) / 1e6


def test_a_timer_set_after_an_action_of_2100_rings_an_hour_from_now(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", issued_at=FAR)
            await engine.submit(K, "wake_me", Add(amount=3600))
            assert 3500 < await due_in_s(engine, "alarm") < 3601

    run(go())


def test_the_log_keeps_what_the_reducer_said_and_replay_is_equal(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", issued_at=FAR)
            await engine.submit(K, "wake_me", Add(amount=3600))
            entry = (await engine.reader.history(K, 1, 1))[0]
            assert entry.row.issued_us == micros(FAR)
            assert b'"due_us":%d' % (micros(FAR) + 3_600_000_000) in entry.row.intents
            told = [segment.verdict async for segment in Replay(engine.reader, engine.registry).all()]
            assert told == [EnumReplayVerdict.EQUAL]

    run(go())


def test_it_rings_for_the_engine_that_set_it_and_for_the_next(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", issued_at=FAR)
            await engine.submit(K, "wake_me", Add(amount=0))
            assert (await engine.wait(K, "rung", 5)).version == 3
            other = WorkflowKey("job", "2")
            await engine.submit(other, "add", issued_at=FAR)
            await engine.submit(other, "wake_me", Add(amount=1))
        async with one_store.engine() as engine:
            assert (await engine.wait(other, "rung", 5)).version == 3

    run(go())


def test_what_a_rung_timer_sets_is_moved_too(one_store: OneStore) -> None:
    """The time of its own action is what it was set for, years from now: a reducer may compare the two."""

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", issued_at=FAR)
            await engine.submit(K, "wake_me", Add(amount=1))
            await engine.wait(K, "rung", 5)
            rung = (await engine.reader.history(K, 2, 1))[0].row
            assert rung.issued_us >= micros(FAR) + 1_000_000
            await engine.submit(K, "again")
            await engine.submit(K, "watch")
            assert (await engine.wait(K, "late", 5)).terminal

    run(go())


def test_a_wrong_clock_that_was_set_right(one_store: OneStore) -> None:
    class Wrong(SystemClock):
        ahead_s = 30 * 365 * 86400

        def now_us(self) -> int:
            return super().now_us() + self.ahead_s * 1_000_000

    async def go() -> None:
        async with one_store.engine() as engine:
            clock = Wrong()
            engine.intake.clock = engine.service.clock = clock
            await engine.submit(K, "add")
            Wrong.ahead_s = 0
            await engine.submit(K, "wake_me", Add(amount=60))
            assert 50 < await due_in_s(engine, "alarm") < 61

    run(go())


def test_what_a_caller_stamps_himself_is_due_by_that_stamp(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "wake_me", Add(amount=60), issued_at=FAR)
            stored = await engine.stored(K)
            assert stored is not None and stored.timers["alarm"][1] == micros(FAR) + 60_000_000

    run(go())


@pytest.mark.parametrize(
    ("due_us", "ahead_us", "wanted_us"),
    [
        (10 * AHEAD_US + 5, 2 * AHEAD_US, 8 * AHEAD_US + 5),
        (10 * AHEAD_US + 5, AHEAD_US, 10 * AHEAD_US + 5),
        (10 * AHEAD_US, 2 * AHEAD_US, 8 * AHEAD_US),
        (10 * AHEAD_US - 1, 2 * AHEAD_US, 10 * AHEAD_US - 1),
        (0, 2 * AHEAD_US, 0),
    ],
)
def test_only_what_is_due_from_then_on_is_moved_and_only_over_a_day(due_us: int, ahead_us: int, wanted_us: int) -> None:
    issued_us = 10 * AHEAD_US
    assert by_the_clock([NewIntent(0, 2, due_us, "t")], issued_us, issued_us - ahead_us)[0].due_us == wanted_us
