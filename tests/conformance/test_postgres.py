"""The PostgreSQL store keeps every promise of the one suite, on a real server."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.testing.conformance import AnyStore, StoreConformance
from tests.servers.postgres_server import PostgresServer


class TestPostgresStore(StoreConformance):
    server: ClassVar[PostgresServer]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_server(cls, postgres: PostgresServer) -> None:
        cls.server = postgres

    async def open(self, place: Path) -> AnyStore:
        schema = f"s{hashlib.blake2b(str(place).encode(), digest_size=8).hexdigest()}"
        return await PostgresStore.open(Address.parse(self.server.url(schema)), rejections_kept=self.rejections_kept)

    async def crash(self, store: AnyStore) -> None:
        assert isinstance(store, PostgresStore)
        store.drop()
