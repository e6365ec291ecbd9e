"""The PostgreSQL store keeps every promise of both suites, on a real server, and on this machine's own where there is one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.testing.conformance import AnySharedStore, AnyStore, ShardConformance, StoreConformance
from onex.testing.conformance.commits import Commits
from onex.testing.conformance.outbox import Outbox
from tests.servers.postgres_server import PostgresServer


class OnPostgres:
    """How these suites open a store: a schema for each place, made with ``shards``."""

    server: ClassVar[PostgresServer]
    shards: ClassVar[int]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_server(cls, postgres: PostgresServer) -> None:
        cls.server = postgres

    async def opened(self, place: Path, rejections_kept: int) -> PostgresStore:
        schema = f"s{hashlib.blake2b(str(place).encode(), digest_size=8).hexdigest()}"
        url = f"{self.server.url(schema)}&shards={self.shards}"
        return await PostgresStore.open(Address.parse(url), rejections_kept=rejections_kept)


class TestPostgresStore(OnPostgres, StoreConformance):
    shards = 1

    async def open(self, place: Path) -> AnyStore:
        return await self.opened(place, self.rejections_kept)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, PostgresStore)
        store.drop()


class TestPostgresShards(OnPostgres, ShardConformance):
    shards = 4

    async def open_shared(self, place: Path) -> AnySharedStore:
        return await self.opened(place, self.rejections_kept)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, PostgresStore)
        store.drop()


class TestPostgresManyShards(TestPostgresShards):
    shards = 64


class OnInstalledPostgres(OnPostgres):
    """The same on the PostgreSQL that this machine has of its own."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_server(cls, installed_postgres: PostgresServer) -> None:
        cls.server = installed_postgres


class TestInstalledPostgresWrites(OnInstalledPostgres, Commits, Outbox):
    """A selection for each run: what a commit writes, and what delivery reads."""

    shards = 1

    async def open(self, place: Path) -> AnyStore:
        return await self.opened(place, self.rejections_kept)


@pytest.mark.long
class TestInstalledPostgresStore(OnInstalledPostgres, TestPostgresStore): ...


@pytest.mark.long
class TestInstalledPostgresShards(OnInstalledPostgres, TestPostgresShards): ...
