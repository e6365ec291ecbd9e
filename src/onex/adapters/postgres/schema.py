"""Making a PostgreSQL store where there is none, and checking the one that is there: one schema of one database.

The tables are described by ``revisions`` alone. The number of the last one stands in Alembic's table ``alembic_version``. A store
with another number than the newest here is refused: StoreTooNew, StoreTooOld. How many shards it has stands in ``meta``.
"""

from __future__ import annotations

from typing import Final

from ..store_errors import NotAStore, StoreMissing, StoreTooNew
from .address import Address
from .errors import OtherShards, StoreTooOld
from .link import Connection
from .revisions import NEWEST, REVISIONS

SHARDS_DEFAULT: Final = 64
_VERSIONS: Final = """create table if not exists alembic_version(
  version_num varchar(32) not null, constraint alembic_version_pkc primary key(version_num))"""


async def check(connection: Connection, address: Address) -> int:
    """How many shards the store has. Raises StoreMissing, NotAStore, StoreTooNew, StoreTooOld, OtherShards, and what the
    driver raises."""
    found = await _version(connection, address)
    if found is None:
        raise StoreMissing(f"there is no store at {address.shown}; start an engine on it first", store=address.shown)
    _check_version(found, address)
    return _checked(await _shards(connection), address)


async def make(connection: Connection, address: Address) -> int:
    """Make the schema and its tables unless they are there; how many shards the store has. Of two processes that try at once,
    one makes them; both go on."""
    found = await _version(connection, address)
    if found is None:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", address.lock_key("schema"))
            found = await _version(connection, address)
            if found is None:
                await _fill(connection, address)
                found = NEWEST
    _check_version(found, address)
    shards = await _shards(connection)
    if not shards:
        async with connection.transaction():
            await _fill_shards(connection, address)
        shards = await _shards(connection)
    return _checked(shards, address)


async def _version(connection: Connection, address: Address) -> int | None:
    """The number of the schema. None: there are no tables of ours, and no others in their place."""
    names = {
        row[0]
        for row in await connection.fetch(
            "select table_name::text from information_schema.tables where table_schema = $1", address.schema
        )
    }
    if names <= {"alembic_version"}:  # where its tables were removed, Alembic's stays
        return None
    if {"meta", "shards", "workflow_state", "alembic_version"} <= names:
        text = await connection.fetchval("select version_num from alembic_version")
        if isinstance(text, str) and text.isdecimal():
            return int(text)
    raise NotAStore(
        f"the schema {address.schema} of {address.shown} holds other tables than a store's; name another: ?schema=NAME",
        store=address.shown,
    )


def _check_version(found: int, address: Address) -> None:
    shown = address.shown
    if found > NEWEST:
        raise StoreTooNew(
            f"{shown} has schema {found}; this ONEX knows up to {NEWEST}: use the newer one",
            store=shown,
            found=found,
            known=NEWEST,
        )
    if found < NEWEST:
        raise StoreTooOld(
            f"{shown} has schema {found}, and this ONEX works with {NEWEST}: stop its engines, then run"
            f" onex store upgrade --store '{shown}'",
            store=shown,
            found=found,
            known=NEWEST,
        )


async def _shards(connection: Connection) -> int:
    """0: they were not made yet."""
    return int(await connection.fetchval("select value from meta where name = 'shards'") or 0)


def _checked(found: int, address: Address) -> int:
    if address.shards not in (None, found):
        raise OtherShards(
            f"{address.shown} was made with {found} shards, and its URL asks for {address.shards}; leave shards= out",
            store=address.shown,
            found=found,
        )
    return found


async def _fill(connection: Connection, address: Address) -> None:
    await connection.execute(f'create schema if not exists "{address.schema}"')
    await connection.execute(_VERSIONS)
    for revision in REVISIONS:
        await connection.execute(revision.UP)
    await connection.execute("insert into alembic_version values($1)", REVISIONS[-1].revision)
    await _fill_shards(connection, address)


async def _fill_shards(connection: Connection, address: Address) -> None:
    shards = address.shards or SHARDS_DEFAULT
    await connection.execute("insert into meta values('shards', $1) on conflict do nothing", str(shards))
    await connection.execute(
        "insert into shards(shard) select generate_series(0, (select value from meta where name = 'shards')::bigint - 1)"
        " on conflict do nothing"
    )
