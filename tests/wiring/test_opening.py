"""Opening an engine frees what it took, whatever step fails: the same process opens the store again at once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import onex
from onex.adapters.forked_workers import ForkedWorkers
from onex.adapters.sqlite.errors import StoreReplaced
from onex.adapters.watchdog import Watchdog
from onex.adapters.worker_pool import WorkerPool
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.errors import OwnershipLost

ORDERS = Path(__file__).parents[2] / "examples" / "orders"


class Broken(Exception):
    """A step that fails."""


class Stopped(BaseException):
    """As a Ctrl-C would."""


def fails(error: type[BaseException]) -> Callable[..., None]:
    def failing(*args: object, **kwargs: object) -> None:
        raise error("this step fails")

    return failing


STEPS = {
    "the watchdog": (Watchdog, "__init__"),
    "the registry": (ReducerRegistry, "__init__"),
    "the environment": ("onex.wiring.engine", "environment"),
    "the limits": ("onex.wiring.engine", "limits_of"),
    "the engine": (ReducerPatternEngine, "__init__"),
    "the start": (ReducerPatternEngine, "start"),
    "the relay's start": ("onex.engine.relay.IntentRelay", "start"),
    "the inbox's start": ("onex.engine.inbox.Inbox", "start"),
}


def ours() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("onex")}


@pytest.mark.parametrize("error", [Broken, Stopped, asyncio.CancelledError], ids=lambda one: one.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: type[BaseException]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    where, name = STEPS[step]

    async def story() -> None:
        before = ours()
        with monkeypatch.context() as patch:
            if isinstance(where, str):
                patch.setattr(f"{where}.{name}", fails(error))
            else:
                patch.setattr(where, name, fails(error))
            with pytest.raises(error):
                await onex.open(url, ORDERS)
        async with await onex.open(url, ORDERS) as engine:
            await engine.submit("orders:1", "cancel")
        while ours() - before:
            await asyncio.sleep(0.005)

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(bounded())


def test_a_store_that_is_owned_is_left_to_its_owner(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")

    async def story() -> None:
        async with await onex.open(url, ORDERS) as engine:
            with pytest.raises(OwnershipLost, match="runs on"):
                await onex.open(f"sqlite:///{tmp_path}/link.db", ORDERS)
            await engine.submit("orders:1", "cancel")

    asyncio.run(story())


def test_workers_are_ended_though_the_store_cannot_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def ended(pool: WorkerPool, grace_s: float = 0.0) -> None:
        closed.append("workers")

    async def story() -> None:
        engine = await onex.open(f"sqlite:///{tmp_path}/store.db", ORDERS)
        engine.workers = WorkerPool(ForkedWorkers("onex.worker:perform"), max_workers=1)
        monkeypatch.setattr(WorkerPool, "close", ended)
        monkeypatch.setattr("onex.engine.dispatch.ReducerService.close", fails(Broken))
        with pytest.raises(Broken):
            await engine.close()
        assert closed == ["workers"]

    asyncio.run(story())


def test_an_idle_engine_whose_store_is_taken_away_ends_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def story() -> None:
        engine = await onex.open(f"sqlite:///{path}", ORDERS)
        await engine.submit("orders:1", "cancel")
        os.unlink(path)
        async with asyncio.timeout(20):
            while engine.service.closed is None:
                await asyncio.sleep(0.01)
        for asked in (engine.submit("orders:2", "cancel"), engine.wait("orders:2")):
            with pytest.raises(StoreReplaced, match="nothing more is answered as durable"):
                await asked
        await engine.close()
        with pytest.raises(StoreReplaced, match="is still there"):  # it may be all that is left of the store
            await onex.open(f"sqlite:///{path}", ORDERS)
        for left in ("-wal", "-shm"):
            path.with_name(f"{path.name}{left}").unlink(missing_ok=True)
        async with await onex.open(f"sqlite:///{path}", ORDERS) as again:
            await again.submit("orders:2", "cancel")

    asyncio.run(story())
