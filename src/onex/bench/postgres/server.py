"""A server that is measured: a bench fills schemas of its own there, and drops them. Nothing else in the database is touched."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from pydantic import JsonValue

from ...adapters.postgres.address import Address
from ...adapters.postgres.link import Connection, Link

_NUMBERS: Final = count(1)
LOOK_S: Final = 0.02
_SESSIONS: Final = """select pid, query_start from pg_stat_activity
  where application_name = 'onex' and datname = current_database() and pid <> pg_backend_pid()"""
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


async def queries_seen(url: str, seconds: float) -> int:
    """How many queries others of ONEX begin on this server in so many seconds.

    The server's own counters are brought up to date late, so what each session does is looked at fifty times a second.
    """
    seen: set[tuple[int, object]] = set()

    async def look(connection: Connection) -> None:
        begun, known = time.monotonic(), set(await connection.fetch(_SESSIONS))
        while time.monotonic() - begun < seconds:
            await asyncio.sleep(LOOK_S)
            seen.update(tuple(row) for row in await connection.fetch(_SESSIONS) if row not in known)

    link = Link(Address.parse(url), read_only=True)
    try:
        await link.use(look)
    finally:
        await link.close()
    return len(seen)


async def server_facts(url: str) -> dict[str, JsonValue]:
    """What the server is set to: a figure means nothing without ``fsync`` and ``synchronous_commit``."""

    async def ask(connection: Connection) -> dict[str, JsonValue]:
        return {name: await connection.fetchval("select current_setting($1)", name) for name in _ASKED}

    link = Link(Address.parse(url), read_only=True)
    try:
        return await link.use(ask)
    finally:
        await link.close()
