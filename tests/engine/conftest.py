"""Engines over every embedded store, opened and closed for a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.adapters.sqlite.store import SqliteStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.intent import EnumDelivery
from onex.ports import Env
from tests.engine.jobs import Worker, registry

ENV = Env("0", "2", "3", "", "")


class OneStore:
    """One store and the engines a test opens on it, one after the other."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.worker = Worker()
        self.tables = Tables()

    async def store(self) -> MemoryStore | SqliteStore:
        if self.kind == "memory":
            return MemoryStore(self.tables)
        return await SqliteStore.open(self.folder / "store.db")

    @asynccontextmanager
    async def engine(
        self,
        *,
        limits: Limits | None = None,
        digest: bytes = b"1",
        delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE,
        reducers: ReducerRegistry | None = None,
    ) -> AsyncIterator[ReducerPatternEngine]:
        store = await self.store()
        table = reducers or registry(self.worker, digest, delivery)
        engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, limits=limits, check_all=True)
        async with asyncio.timeout(20):
            try:
                await engine.start("test")
                yield engine
            finally:
                await engine.close()


@pytest.fixture(params=["memory", "sqlite"])
def one_store(request: pytest.FixtureRequest, tmp_path: Path) -> OneStore:
    return OneStore(request.param, tmp_path)
