"""A server that is measured: a bench fills schemas of its own there, and drops them. Nothing else in the database is touched."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from pydantic import JsonValue

from ...adapters.postgres.address import Address
from ...adapters.postgres.link import Connection, Link

_NUMBERS: Final = count(1)
_ASKED: Final = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers",
    "synchronous_standby_names",
)  # fmt: skip


@asynccontextmanager
async def own_schema(url: str) -> AsyncIterator[Address]:
    """The address of a schema that is not there yet. It is dropped at the end, with all that is in it by then."""
    address = Address.parse(url)._replace(schema=f"onex_bench_{os.getpid()}_{next(_NUMBERS)}")
    try:
        yield address
    finally:
        link = Link(address)
        try:
            await link.use(lambda connection: connection.execute(f'drop schema if exists "{address.schema}" cascade'))
        finally:
            await link.close()


async def server_facts(url: str) -> dict[str, JsonValue]:
    """What the server is set to: a figure means nothing without ``fsync`` and ``synchronous_commit``."""

    async def ask(connection: Connection) -> dict[str, JsonValue]:
        return {name: await connection.fetchval("select current_setting($1)", name) for name in _ASKED}

    link = Link(Address.parse(url), read_only=True)
    try:
        return await link.use(ask)
    finally:
        await link.close()
