"""An engine in memory whose clock moves when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import WorkflowKey
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Worker, registry

K = WorkflowKey("job", "1")
ONE = Add(amount=1)


class HandClock(SystemClock):
    """Its time moves when the test says so; it sleeps until then."""

    def __init__(self) -> None:
        self.at_us = 1_000_000_000
        self._moved = asyncio.Event()

    def now_us(self) -> int:
        return self.at_us

    async def sleep(self, seconds: float) -> None:
        until_us = self.at_us + int(seconds * 1_000_000)
        while self.at_us < until_us:
            await self._moved.wait()

    def forward(self, seconds: float) -> None:
        self.at_us += int(seconds * 1_000_000)
        self._moved.set()
        self._moved = asyncio.Event()


def hushed(worker: Worker) -> ReducerRegistry:
    """Jobs whose ``shout`` needs no lease."""
    (workflow,) = registry(worker).workflows
    return ReducerRegistry((replace(workflow, unleased=frozenset({"shout"})),))


@asynccontextmanager
async def by_hand(tables: Tables | None = None) -> AsyncIterator[tuple[ReducerPatternEngine, HandClock]]:
    store, clock = MemoryStore(tables), HandClock()
    engine = ReducerPatternEngine(store, store, hushed(Worker()), clock, UuidV7(), ENV, check_all=True)
    async with asyncio.timeout(20), await engine.start("test"):
        yield engine, clock
