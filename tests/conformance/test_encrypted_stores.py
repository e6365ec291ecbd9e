"""Every store keeps every promise with encryption on, too. On PostgreSQL a selection: what is encrypted and read."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from onex.adapters.codec.sealed_store import SealedStore
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.adapters.postgres.store import PostgresStore
from onex.adapters.sqlite.store import SqliteStore
from onex.testing.conformance import AnySharedStore, AnyStore, ShardConformance
from onex.testing.conformance.attempts import KeptAttempts
from onex.testing.conformance.commits import Commits
from onex.testing.conformance.outbox import Outbox
from onex.testing.conformance.ownership import Ownership
from onex.testing.conformance.projecting import Projecting
from onex.testing.conformance.reading import Reading
from onex.testing.conformance.refusals import Refusals
from onex.testing.conformance.retaining import Retaining
from tests.conformance.encrypted import sealed, sealed_shared
from tests.conformance.test_postgres import OnPostgres


class EncryptedConformance(Ownership, Commits, Outbox, KeptAttempts, Refusals, Reading, Projecting, Retaining):
    """All of ``StoreConformance`` but the keys, which an encrypted store makes itself."""


class TestEncryptedMemoryStore(EncryptedConformance):
    persistent: ClassVar[bool] = False
    tables: ClassVar[dict[Path, Tables]] = {}

    async def open(self, place: Path) -> AnyStore:
        return sealed(MemoryStore(self.tables.setdefault(place, Tables()), rejections_kept=self.rejections_kept))

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, SealedStore)
        assert isinstance(store.inner, MemoryStore)
        store.inner.drop()


class TestEncryptedMemoryShards(ShardConformance):
    persistent: ClassVar[bool] = False
    tables: ClassVar[dict[Path, Tables]] = {}
    now_s: ClassVar[float] = 0.0

    async def open_shared(self, place: Path) -> AnySharedStore:
        tables = self.tables.setdefault(place, Tables(shards=4))
        clock = lambda: TestEncryptedMemoryShards.now_s  # noqa: E731 - one value, read when it is asked for
        return sealed_shared(MemoryStore(tables, rejections_kept=self.rejections_kept, now_s=clock))

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, SealedStore)
        assert isinstance(store.inner, MemoryStore)
        store.inner.drop()

    async def time_passes(self, store: AnySharedStore) -> None:
        TestEncryptedMemoryShards.now_s += 0.1


class TestEncryptedSqliteStore(EncryptedConformance):
    async def open(self, place: Path) -> AnyStore:
        return sealed(await SqliteStore.open(place / "store.db", rejections_kept=self.rejections_kept))

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, SealedStore)
        assert isinstance(store.inner, SqliteStore)
        await store.inner.drop()


@pytest.mark.long  # the wrapper is the same one as over SQLite and memory
class TestEncryptedPostgresStore(OnPostgres, Commits, Outbox, Refusals, Reading, Projecting):
    shards = 1

    async def open(self, place: Path) -> AnyStore:
        return sealed(await self.opened(place, self.rejections_kept))

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, SealedStore)
        assert isinstance(store.inner, PostgresStore)
        store.inner.drop()
