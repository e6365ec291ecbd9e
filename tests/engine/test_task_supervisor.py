"""No task of the engine ends unnoticed: it begins again, or the engine ends with the reason."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

import onex
from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine import dispatch
from onex.engine.fold import Folded
from onex.engine.metrics import EVENTS, Events
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Pending
from onex.engine.task_supervisor import TRIES, TaskSupervisor
from onex.kernel.errors import EngineClosed, OnexError, ReducerFailed, TemporaryDatabaseError
from onex.ports import Applied, Commit, Conflict
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import Worker, registry


class NoWaitClock(SystemClock):
    """Does not wait."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        self.events.append((name, dict(fields)))


def keep(turn: Callable[[], Awaitable[None]]) -> tuple[list[OnexError], Heard]:
    lost: list[OnexError] = []
    heard = Heard()

    async def run() -> None:
        supervisor = TaskSupervisor(NoWaitClock(), Events(heard), lost.append)
        supervisor.keep(turn, "a loop")
        for _ in range(200):
            await asyncio.sleep(0)
        await supervisor.close()

    asyncio.run(run())
    return lost, heard


def test_a_loop_that_fails_once_begins_again_and_is_reported() -> None:
    turns: list[int] = []

    async def turn() -> None:
        turns.append(1)
        await asyncio.sleep(0)
        if len(turns) == 1:
            raise KeyError("only once")

    lost, heard = keep(turn)
    assert lost == []
    assert len(turns) > 2
    assert heard.events[0] == ("loop_failed", {"loop": "a loop", "failures": 1, "error": "KeyError: 'only once'"})


def test_a_loop_that_fails_each_time_ends_the_engine_with_the_reason() -> None:
    async def turn() -> None:
        raise KeyError("again")

    lost, heard = keep(turn)
    assert [str(error) for error in lost] == [
        f"a loop failed {TRIES} times in a row, the last time with KeyError: 'again'"
    ]
    assert len(heard.events) == TRIES


def test_a_store_that_cannot_be_read_is_asked_for_ever() -> None:
    async def turn() -> None:
        raise TemporaryDatabaseError("not now")

    lost, heard = keep(turn)
    assert lost == []
    assert len(heard.events) > TRIES


def test_a_listener_that_raises_is_counted_and_stops_nothing() -> None:
    class Broken:
        def emit(self, name: str, **fields: object) -> None:
            raise SystemExit(name)

    events = Events(Broken())
    events("loop_failed", loop="x")
    assert events.failed == 1


def test_a_fault_of_ours_in_the_fold_of_one_action_costs_that_action(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Folded._step

    def wrong(self: Folded, pending: Pending) -> None:
        if pending.kind == "shout":
            raise ZeroDivisionError("ours")
        right(self, pending)

    monkeypatch.setattr(Folded, "_step", wrong)

    async def run() -> None:
        async with one_store.engine() as engine:
            answers = await engine.submit_many(
                [("job:1", "add", {"amount": n}) for n in (1, 2)]
                + [("job:1", "shout", None), ("job:1", "add", {"amount": 3}), ("job:2", "add", {"amount": 1})]
            )
            assert [type(one).__name__ for one in answers] == ["Committed"] * 2 + ["ReducerFailed"] + ["Committed"] * 2
            refused = answers[2]
            assert isinstance(refused, ReducerFailed)
            assert "ZeroDivisionError: ours" in refused.message
            state = await engine.state("job:1")
            assert state is not None
            assert state.model_dump()["count"] == 6

    asyncio.run(run())


def test_close_ends_though_the_store_takes_no_commits_and_says_what_is_not_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "CLOSE_S", 0.2)

    class Full(MemoryStore):
        full = False

        async def commit(self, commit: Commit) -> list[Applied | Conflict]:
            if self.full:
                raise TemporaryDatabaseError("no room")
            return list(await super().commit(commit))

    async def run() -> None:
        store, heard = Full(), Heard()
        engine = ReducerPatternEngine(store, store, registry(Worker()), SystemClock(), UuidV7(), ENV, telemetry=heard)
        await engine.start("test")
        store.full = True
        waiting = asyncio.create_task(engine.submit("job:1", "add"))
        await asyncio.sleep(0.01)
        await engine.close()
        with pytest.raises(EngineClosed, match="1 actions that were not answered may not be durable"):
            await waiting
        assert engine.counters.not_durable == 1
        assert "closed_with_work_left" in [name for name, _ in heard.events]

    asyncio.run(run())


def test_a_close_that_is_no_longer_waited_for_goes_on_to_its_end(one_store: OneStore) -> None:
    async def run() -> None:
        async with one_store.engine() as engine:
            done = [asyncio.create_task(engine.submit(f"job:{n}", "add")) for n in range(20)]
            await asyncio.sleep(0)
            waiting = asyncio.create_task(engine.close())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(*done)
            await engine.close()
            with pytest.raises(EngineClosed):
                await engine.submit("job:1", "add")

    asyncio.run(run())


def test_every_event_the_engine_emits_is_described_and_no_other() -> None:
    said = {
        name
        for path in Path(onex.__file__).parent.rglob("*.py")
        if path.parent.name in ("engine", "bus", "wiring", "alerts")
        for name in re.findall(r"events\(\s*\"([a-z_]+)\"", path.read_text())
    }
    assert said == set(EVENTS)
