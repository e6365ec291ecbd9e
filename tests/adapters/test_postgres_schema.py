"""The schema of a PostgreSQL store: its revisions up and down by Alembic, and that these make what `open` makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import asyncpg
import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.errors import StoreTooOld
from onex.adapters.postgres.link import Connection
from onex.adapters.postgres.revisions import NEWEST, REVISIONS
from onex.adapters.postgres.store import PostgresStore
from onex.adapters.postgres.upgrade import move_schema
from onex.adapters.store_errors import StoreMissing
from onex.kernel.errors import OwnershipLost
from onex.testing.conformance.owner import A, Owner, row
from tests.servers.postgres_server import PostgresServer

NAMES = count(1)
DUMP = {
    "columns": """select table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default,
        is_identity, identity_generation, is_generated, generation_expression, character_maximum_length
        from information_schema.columns where table_schema = $1""",
    "indexes": "select tablename, indexname, replace(indexdef, $1 || '.', '') from pg_indexes where schemaname = $1",
    "constraints": """select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = $1::regnamespace""",
    "views": "select viewname, replace(definition, $1 || '.', '') from pg_views where schemaname = $1",
    "options": "select relname, relkind::text, reloptions from pg_class where relnamespace = $1::regnamespace",
    "others": """select proname from pg_proc where pronamespace = $1::regnamespace union all
        select tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = $1::regnamespace""",
}
Body = Callable[[Address, Connection], Awaitable[None]]


async def dump(admin: Connection, schema: str) -> dict[str, list[str]]:
    """All that a schema consists of, as the server's own catalogue tells it."""
    return {what: sorted(str(tuple(one)) for one in await admin.fetch(query, schema)) for what, query in DUMP.items()}


@pytest.fixture
def at(postgres: PostgresServer) -> Callable[[Body], None]:
    def run(body: Body) -> None:
        async def whole() -> None:
            address = Address.parse(postgres.url(f"schema{next(NAMES)}"))
            admin = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
            try:
                async with asyncio.timeout(60):
                    await body(address, admin)
            finally:
                await admin.close()

        asyncio.run(whole())

    return run


At = Callable[[Body], None]


async def made(address: Address) -> None:
    await (await PostgresStore.open(address)).close()


def test_alembic_makes_what_open_makes(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        await made(address)
        by_open = await dump(admin, address.schema)
        await move_schema(address, 0)
        await move_schema(address)
        assert await dump(admin, address.schema) == by_open
        assert all(by_open[what] for what in ("columns", "indexes", "constraints", "views", "options"))

    at(body)


def test_each_revision_goes_down_to_what_was_before_it(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        await made(address)
        await move_schema(address, 0)
        seen = [await dump(admin, address.schema)]
        for number in range(1, NEWEST + 1):
            await move_schema(address, number)
            seen.append(await dump(admin, address.schema))
        assert [one["columns"] for one in seen].count(seen[-1]["columns"]) == 1
        for number in reversed(range(NEWEST)):
            await move_schema(address, number)
            assert await dump(admin, address.schema) == seen[number]

    at(body)


def test_a_store_whose_tables_were_made_by_alembic_is_used(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        await made(address)
        await move_schema(address, 0)
        await move_schema(address)
        store = await PostgresStore.open(address._replace(shards=4))
        try:
            assert store.shards == 4
            assert (await (await Owner.of(store)).apply(A, row("one"))).first.n == 1
        finally:
            await store.close()

    at(body)


def test_the_newest_schema_is_left_as_it_is_with_all_that_is_in_it(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        store = await PostgresStore.open(address)
        await (await Owner.of(store)).apply(A, row("one"))
        await store.close()
        await move_schema(address)
        assert await admin.fetchval("select count(*) from log") == 1

    at(body)


def test_an_older_schema_is_refused_with_the_command_that_mends_it(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        await made(address)
        await admin.execute("update alembic_version set version_num = '0000'")
        with pytest.raises(StoreTooOld, match="onex store upgrade"):
            await made(address)

    at(body)


def test_no_schema_is_moved_under_an_engine(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        store = await PostgresStore.open(address)
        try:
            await store.own("engine")
            with pytest.raises(OwnershipLost, match="stop it"):
                await move_schema(address)
        finally:
            await store.close()
        await move_schema(address)

    at(body)


def test_where_no_store_is_there_is_nothing_to_move(at: At) -> None:
    async def body(address: Address, admin: Connection) -> None:
        with pytest.raises(StoreMissing):
            await move_schema(address)

    at(body)


def test_revisions_are_numbered_without_gap() -> None:
    assert [one.revision for one in REVISIONS] == [f"{number:04}" for number in range(1, NEWEST + 1)]
    before: list[str | None] = [None, *(one.revision for one in REVISIONS[:-1])]
    assert [one.down_revision for one in REVISIONS] == before
