"""Both embedded stores keep every promise of the one suite."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.adapters.sqlite.store import SqliteStore
from onex.testing.conformance import AnySharedStore, AnyStore, ShardConformance, StoreConformance


class TestMemoryStore(StoreConformance):
    persistent: ClassVar[bool] = False
    tables: ClassVar[dict[Path, Tables]] = {}

    async def open(self, place: Path) -> AnyStore:
        tables = self.tables.setdefault(place, Tables())  # as with a file, handles of one place share what is stored
        return MemoryStore(tables, rejections_kept=self.rejections_kept)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, MemoryStore)
        store.drop()


class TestMemoryShards(ShardConformance):
    persistent: ClassVar[bool] = False
    tables: ClassVar[dict[Path, Tables]] = {}
    now_s: ClassVar[float] = 0.0

    async def open_shared(self, place: Path) -> AnySharedStore:
        tables = self.tables.setdefault(place, Tables(shards=4))
        return MemoryStore(tables, rejections_kept=self.rejections_kept, now_s=lambda: TestMemoryShards.now_s)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, MemoryStore)
        store.drop()

    async def time_passes(self, store: AnySharedStore) -> None:
        TestMemoryShards.now_s += 0.1


class TestSqliteStore(StoreConformance):
    async def open(self, place: Path) -> AnyStore:
        return await SqliteStore.open(place / "store.db", rejections_kept=self.rejections_kept)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, SqliteStore)
        await store.drop()
