"""What is measured is what happened: order is read back from the log, a refusal ends a measurement."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onex.bench.hotkey import assert_order, burst
from onex.bench.latency import open_loop
from onex.bench.load import drive, opened, refuse_refusals
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import InstanceFinished, StateConsistencyError

KEY = WorkflowKey("account", "hot")


def test_the_order_of_a_hot_key_is_read_back_from_the_log(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened("memory", tmp_path) as engine:
            await burst(engine, 4, 10, [str(KEY)], 3)
            await assert_order(engine, KEY, 4, 10)
            with pytest.raises(StateConsistencyError, match="holds 40 actions of 44"):
                await assert_order(engine, KEY, 4, 11)
            await burst(engine, 4, 1, [str(KEY)], 1)
            with pytest.raises(StateConsistencyError, match=r"is action 0 of client \d; its action 10 was next"):
                await assert_order(engine, KEY, 4, 11)

    asyncio.run(go())


def test_every_action_of_an_open_loop_is_counted_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened("memory", tmp_path) as engine:
            waits = await open_loop(engine, 5000.0, 100, 7)
            assert len(waits) == 100 and min(waits) > 0
            assert engine.counters.committed == 100

    asyncio.run(go())


def test_a_rate_is_of_committed_actions(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened("memory", tmp_path) as engine:
            reached = await drive(engine, 2, 5, 3, 0.02)
            assert reached.rate > 0 and reached.batch >= 1
            assert engine.counters.committed == (await engine.reader.counts()).actions

    asyncio.run(go())


def test_a_refusal_ends_the_measurement() -> None:
    with pytest.raises(InstanceFinished):
        refuse_refusals([None, InstanceFinished("it is over")])
