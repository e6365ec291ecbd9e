"""A store of the schema before: who may write brings it to today's, who may only read reads it as it is."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from onex.adapters.sqlite.schema import SCHEMA_VERSION
from onex.adapters.sqlite.store import SqliteStore
from onex.ports import Attempt, EnumAttempt, NewIntent, Pointer, Rejection
from onex.testing.conformance.owner import A, Owner, action, row

ONE = Attempt(Pointer(0, 1, 0), 1, 5, 9, EnumAttempt.FAILED, "too_poor", "no", "bank.py:3 in charge")
REFUSED = Rejection(str(A), action("no"), "reducer_failed", "it raised", b"{}", 7)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store with a row of each kind that schema 1 had, taken back to that schema."""
    path = tmp_path / "store.db"

    async def make() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.commit(owner.change(A, row("a1", NewIntent(0, 2))), rejections=(REFUSED,), at_us=7)
        await store.close()

    asyncio.run(make())
    with sqlite3.connect(path) as database:
        for what in ("view instance_search", "view search_fields", "table search", "table search_specs"):
            database.execute(f"drop {what}")
        database.execute("alter table workflow_state drop column began_us")
        database.execute("drop table attempts")
        database.execute("drop table data_keys")
        database.execute("alter table rejections drop column trace")
        for table in ("log", "snapshots", "workflow_state"):
            database.execute(f"alter table {table} drop column checksum")
        database.execute("alter table workflow_state drop column cut")
        database.execute("update meta set value = '1' where name = 'schema_version'")
    database.close()
    return path


def schema_of(path: Path) -> tuple[int, set[str]]:
    database = sqlite3.connect(path)
    (version,) = database.execute("select value from meta where name = 'schema_version'").fetchone()
    found = {name for (name,) in database.execute("select name from sqlite_schema where name like 'attempts%'")}
    database.close()
    return int(version), found


def test_who_only_reads_reads_an_older_store_and_changes_nothing(old: Path) -> None:
    async def read() -> None:
        store = await SqliteStore.open(old, read_only=True)
        try:
            assert await store.attempts(A, 10) == []
            (refused,) = await store.rejections(None, None, 0, 10)
            assert (refused.message, refused.trace) == ("it raised", "")
        finally:
            await store.close()

    asyncio.run(read())
    assert schema_of(old) == (1, set())


def test_an_owner_brings_an_older_store_up_and_loses_nothing(old: Path) -> None:
    async def go_on() -> None:
        store = await SqliteStore.open(old)
        owner = await Owner.of(store)
        owner.seen[A] = (await owner.stored(A)).instance, 1
        await owner.apply(A, row("a2"))
        await owner.commit(attempts=(ONE,), rejections=(REFUSED._replace(trace="orders.py:9 in place"),), at_us=9)
        assert [one.version for one in await store.history(A, 0, 10)] == [1, 2]
        assert await store.attempts(A, 10) == [ONE]
        assert [(one.times, one.trace) for one in await store.rejections(None, None, 0, 10)] == [
            (2, "orders.py:9 in place")
        ]
        await store.close()

    asyncio.run(go_on())
    assert schema_of(old)[0] == SCHEMA_VERSION
    assert schema_of(old)[1] >= {"attempts", "attempts_ended"}


def test_one_that_sends_while_another_reads_brings_it_up_beneath_the_reader(old: Path) -> None:
    async def both() -> None:
        reader, sender = await SqliteStore.open(old, read_only=True), await SqliteStore.open(old)
        try:
            await sender.send(b"{}", 1)
            assert (await reader.load([A]))[A].version == 1
            assert [one.trace for one in await reader.rejections(None, None, 0, 10)] == [""]
        finally:
            await sender.close()
            await reader.close()

    asyncio.run(both())


def test_a_store_that_was_made_and_one_that_was_brought_up_have_the_same_tables(old: Path, tmp_path: Path) -> None:
    async def open_both() -> None:
        for path in (old, tmp_path / "new.db"):
            await (await SqliteStore.open(path)).close()

    def columns(path: Path) -> set[tuple[str, str]]:
        database = sqlite3.connect(path)
        found = set(
            database.execute(
                "select m.name, i.name from sqlite_schema m join pragma_table_info(m.name) i where m.type = 'table'"
            ).fetchall()
        )
        database.close()
        return found

    asyncio.run(open_both())
    assert columns(old) == columns(tmp_path / "new.db")
