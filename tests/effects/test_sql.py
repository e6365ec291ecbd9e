"""One suite for the sql effect on a real SQLite file and a real PostgreSQL: what is written, read, refused and remembered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import BaseModel

from onex.contracts.model.target_sql import ModelSqlCall, ModelSqlTarget
from onex.effects.sql import SqlEffect
from onex.effects.sql_database import make_dedup_table
from onex.kernel.action import Payload
from onex.kernel.errors import EffectFailed
from tests.effects.calls import HandClock, context, intent
from tests.servers.postgres_server import PostgresServer


class Line(Payload):
    sku: str
    count: int


class Entry(Payload):
    id: str
    cents: int
    price: Decimal | None = None
    at: datetime | None = None
    tag: UUID | None = None
    lines: list[Line] | None = None
    paid: bool | None = None


class EntryKey(Payload):
    id: str


class NewCents(Payload):
    id: str
    cents: int


class Booked(Payload):
    rows: int
    id: str
    cents: int


class AtLeast(Payload):
    cents: int


class Found(Payload):
    rows: list[Entry]


TABLES = """
create table entries (id {text} primary key, cents bigint not null check (cents >= 0), price {numeric}, at {time},
                      tag {uuid}, lines {json}, paid {bool});
"""
SQLITE = {"text": "text", "numeric": "text", "time": "text", "uuid": "text", "json": "text", "bool": "integer"}
POSTGRES = {
    "text": "text",
    "numeric": "numeric",
    "time": "timestamptz",
    "uuid": "uuid",
    "json": "jsonb",
    "bool": "boolean",
}
COLUMNS = ("id", "cents", "price", "at", "tag", "lines", "paid")
CALLS: Mapping[str, tuple[dict[str, Any], type[BaseModel] | None]] = {
    "insert": ({"operation": "insert", "table": "entries"}, None),
    "book": ({"operation": "upsert", "table": "entries"}, Booked),
    "change": ({"operation": "update", "table": "entries"}, Booked),
    "remove": ({"operation": "delete", "table": "entries"}, None),
    "find": ({"operation": "query", "query": "select * from entries where id = :id"}, Entry),
    "find_all": (
        {"operation": "query", "query": "select * from entries where cents >= :cents order by id", "cache": {"ttl_ms": 500}},
        Found,
    ),
    "sneak": ({"operation": "query", "query": "with one as (select 1) delete from entries where id = :id returning id"}, EntryKey),
    "nowhere": ({"operation": "insert", "table": "absent"}, None),
}  # fmt: skip
ENTRY = Entry(
    id="e-1",
    cents=1250,
    price=Decimal("12.50"),
    at=datetime(2026, 7, 30, 12, 0, 0, 123456, UTC),
    tag=UUID(int=7),
    lines=[Line(sku="a'\"; --", count=2)],
    paid=True,
)


class Place:
    """A database, and how a test looks into it without the effect."""

    def __init__(self, url: str, rows: Callable[[str], Awaitable[Sequence[tuple[Any, ...]]]]) -> None:
        self.url, self.rows = url, rows

    def effect(self, clock: HandClock | None = None, **more: Any) -> SqlEffect:
        tables = {"entries": {"columns": COLUMNS, "key": ("id",)}, "absent": {"columns": COLUMNS, "key": ("id",)}}
        target = ModelSqlTarget.model_validate({"url": self.url, "tables": tables, **more})
        calls = {name: ModelSqlCall.model_validate(call) for name, (call, _) in CALLS.items()}
        return SqlEffect("ledger", target, calls, lambda one: CALLS[one.name][1], context(clock))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        with sqlite3.connect(path) as made:
            made.executescript(TABLES.format(**SQLITE) + make_dedup_table("done_once") + ";")
        made.close()

        async def look(sql: str) -> list[tuple[Any, ...]]:
            connection = sqlite3.connect(path)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()

        yield Place(f"sqlite:///{path}", look)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    dsn = f"postgres://postgres@127.0.0.1:{server.port}/effects_sql"

    async def admin(*statements: str) -> None:
        connection = await asyncpg.connect(f"postgres://postgres@127.0.0.1:{server.port}/postgres")
        for one in statements:
            await connection.execute(one)
        await connection.close()

    async def look_there(sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn)
        rows = [tuple(row) for row in await connection.fetch(sql)]
        await connection.close()
        return rows

    async def make() -> None:
        await admin("drop database if exists effects_sql with (force)", "create database effects_sql")
        connection = await asyncpg.connect(dsn)
        await connection.execute(TABLES.format(**POSTGRES) + make_dedup_table("done_once"))
        await connection.close()

    asyncio.run(make())
    yield Place(dsn, look_there)
    asyncio.run(admin("drop database effects_sql with (force)"))


async def refusal(effect: SqlEffect, name: str, payload: BaseModel, key: str = "one") -> EffectFailed:
    with pytest.raises(EffectFailed) as raised:
        await effect.execute(intent(name, payload, key))
    return raised.value


def test_a_row_comes_back_as_it_was_written(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        assert (await effect.execute(intent("insert", ENTRY))).value is not None
        assert (await effect.execute(intent("find", EntryKey(id="e-1")))).value == ENTRY
        found = (await effect.execute(intent("find_all", AtLeast(cents=0)))).value
        assert found == Found(rows=[ENTRY])
        await effect.close()

    asyncio.run(body())


def test_upsert_update_and_delete_come_to_the_same_end_twice(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        for _ in range(2):
            done = await effect.execute(intent("book", NewCents(id="a", cents=5)))
            assert done.value == Booked(rows=1, id="a", cents=5)
        for _ in range(2):
            changed = await effect.execute(intent("change", NewCents(id="a", cents=9)))
            assert changed.value == Booked(rows=1, id="a", cents=9)
        assert (await refusal(effect, "change", NewCents(id="b", cents=9))).reason == "no_such_row"
        for _ in range(2):
            await effect.execute(intent("remove", EntryKey(id="a")))
        assert await place.rows("select id from entries") == []
        await effect.close()

    asyncio.run(body())


def test_without_a_dedup_table_a_second_insert_is_told_that_the_row_is_there(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        await effect.execute(intent("insert", ENTRY))
        told = await refusal(effect, "insert", ENTRY.model_copy(update={"cents": 1}))
        assert (told.reason, told.retry) == ("already_there", False)
        assert await place.rows("select cents from entries") == [(1250,)]
        await effect.close()

    asyncio.run(body())


def test_with_a_dedup_table_one_key_is_written_once_and_answered_the_same(place: Place) -> None:
    async def body() -> None:
        effect = place.effect(dedup_table="done_once")
        first = [await effect.execute(intent("book", NewCents(id="a", cents=5), "k1")) for _ in range(2)]
        await effect.execute(intent("book", NewCents(id="a", cents=7), "k2"))
        again = await effect.execute(intent("book", NewCents(id="a", cents=5), "k1"))
        assert [one.value for one in (*first, again)] == [Booked(rows=1, id="a", cents=5)] * 3
        assert await place.rows("select cents from entries") == [(7,)]
        assert (await refusal(effect, "book", NewCents(id="a", cents=6), "k1")).reason == "key_used"
        await asyncio.gather(*(effect.execute(intent("insert", ENTRY, "k3")) for _ in range(5)))
        assert len(await place.rows("select id from entries where id = 'e-1'")) == 1
        await effect.close()

    asyncio.run(body())


def test_what_is_refused_leaves_no_key_behind(place: Place) -> None:
    async def body() -> None:
        effect = place.effect(dedup_table="done_once")
        assert (await refusal(effect, "book", NewCents(id="a", cents=-1), "k1")).reason == "constraint"
        assert (await refusal(effect, "nowhere", NewCents(id="a", cents=1), "k2")).reason == "statement_refused"
        assert await place.rows("select * from done_once") == []
        missing = place.effect(dedup_table="not_made")
        told = await refusal(missing, "book", NewCents(id="a", cents=1))
        assert "create table not_made" in told.message
        await missing.close()
        await effect.close()

    asyncio.run(body())


def test_a_value_that_does_not_fit_its_column_is_told_without_the_value(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        told = await refusal(effect, "insert", ENTRY.model_copy(update={"cents": 2**80}))
        assert (told.reason, told.retry) == ("value_refused", False)
        assert str(2**80) not in told.message
        await effect.close()

    asyncio.run(body())


def test_a_query_cannot_write_and_names_what_it_does_not_find(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        await effect.execute(intent("insert", ENTRY))
        with pytest.raises(EffectFailed):
            await effect.execute(intent("sneak", EntryKey(id="e-1")))
        assert len(await place.rows("select id from entries")) == 1
        assert (await refusal(effect, "find", EntryKey(id="none"))).reason == "no_such_row"
        await effect.execute(intent("change", NewCents(id="e-1", cents=3)))  # a write after a query
        await effect.close()

    asyncio.run(body())


def test_an_answer_is_kept_as_long_as_the_contract_says(place: Place) -> None:
    async def body() -> None:
        clock = HandClock()
        effect = place.effect(clock)
        await effect.execute(intent("insert", ENTRY))
        seen = []
        for at_s in (0.0, 0.4, 0.2):
            clock.now_s += at_s
            seen.append((await effect.execute(intent("find_all", AtLeast(cents=1)))).value)
            await effect.execute(intent("change", NewCents(id="e-1", cents=3)))
        cents = [one.rows[0].cents for one in seen if isinstance(one, Found)]
        assert cents == [1250, 1250, 3]
        await effect.close()

    asyncio.run(body())


def test_a_database_that_is_not_there_is_told_as_surely_not_done(place: Place, tmp_path: Path) -> None:
    async def body() -> None:
        url = (
            "postgres://nobody:canary-secret@127.0.0.1:1/none"
            if "postgres" in place.url
            else f"sqlite:///{tmp_path}/none.db"
        )
        effect = Place(url, place.rows).effect()
        told = await refusal(effect, "insert", ENTRY)
        assert (told.reason, told.retry) == ("unreachable", True)
        assert "canary-secret" not in told.message
        await effect.close()

    asyncio.run(body())
