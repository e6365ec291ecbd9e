"""While an engine is open its process collects garbage in idle turns, and afterwards as before; actions leave none behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.interpreter import IDLE_YOUNG, THRESHOLDS, OwnInterpreter
from onex.adapters.sqlite.store import SqliteStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import OnexError
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Start, Worker, registry


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    thresholds, enabled = gc.get_threshold(), gc.isenabled()
    yield
    gc.set_threshold(*thresholds)
    gc.enable() if enabled else gc.disable()
    gc.unfreeze()


def test_the_last_engine_to_close_restores_what_the_first_one_found() -> None:
    gc.enable()
    gc.set_threshold(701, 11, 12)
    one, two = OwnInterpreter(), OwnInterpreter()
    one.start()
    two.start()
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 0
    one.close()
    one.close()
    assert gc.get_threshold() == THRESHOLDS
    two.close()
    assert gc.get_threshold() == (701, 11, 12)
    assert gc.get_freeze_count() == 0


def test_a_process_that_turned_the_collector_off_keeps_it_off() -> None:
    gc.disable()
    one = OwnInterpreter()
    one.start()
    one.idle()
    assert gc.get_freeze_count() == 0
    one.close()
    assert not gc.isenabled()


def test_an_idle_turn_frees_cycles_of_user_code_and_a_busy_one_costs_no_collection() -> None:
    async def go() -> None:
        one = OwnInterpreter()
        one.start()
        try:
            before = gc.get_stats()[1]["collections"]
            one.idle()
            assert gc.get_stats()[1]["collections"] == before
            for _ in range(2 * IDLE_YOUNG):
                cycle: list[object] = []
                cycle.append(cycle)
            freed = gc.get_stats()[1]["collected"]
            one.idle()
            assert gc.get_stats()[1]["collected"] - freed >= IDLE_YOUNG
        finally:
            one.close()

    gc.enable()
    asyncio.run(go())


def test_all_objects_are_looked_at_once_it_stays_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onex.adapters.interpreter.IDLE_S", 0.0)
    monkeypatch.setattr("onex.adapters.interpreter.OLD", 1)

    async def go() -> None:
        one = OwnInterpreter()
        one.start()
        try:
            gc.collect(1)
            before = gc.get_stats()[2]["collections"]
            one.idle()
            one.idle()  # not idle: something was written in between
            await asyncio.sleep(0.01)
            assert gc.get_stats()[2]["collections"] == before
            one.idle()
            await asyncio.sleep(0.01)
            assert gc.get_stats()[2]["collections"] == before + 1
        finally:
            one.close()

    gc.enable()
    asyncio.run(go())


def test_an_action_with_its_effect_and_outcome_makes_no_reference_cycle(tmp_path: Path) -> None:
    """Of ten times as many actions no more objects are left to the collector."""

    async def go() -> list[int]:
        store = await SqliteStore.open(tmp_path / "store.db")
        engine = ReducerPatternEngine(store, store, registry(Worker()), SystemClock(), UuidV7(), ENV)
        left: list[int] = []
        async with asyncio.timeout(60):
            await engine.start("test")
            try:
                for block, count in enumerate((20, 20, 200)):
                    gc.collect()
                    gc.disable()
                    keys = [f"job:{block}-{n}" for n in range(count)]
                    answers = await engine.submit_many([(key, "add", Add(amount=1)) for key in keys])
                    answers += await engine.submit_many([(key, "start", Start(text="x")) for key in keys])
                    await engine.idle()
                    assert not [one for one in answers if isinstance(one, OnexError)]
                    answers.clear()
                    left.append(gc.collect())
            finally:
                gc.enable()
                await engine.close()
        return left

    _, few, many = asyncio.run(go())
    assert many <= few + 20
