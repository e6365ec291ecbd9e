"""Whatever a payload holds, the database is as it was but for the one row, which reads back equal; and no payload names a table."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from onex.contracts.model.target_sql import ModelSqlCall, ModelSqlTable, ModelSqlTarget
from onex.effects.sql import SqlEffect
from onex.kernel.action import Payload
from tests.effects.calls import context, intent
from tests.servers.postgres_server import PostgresServer


class Note(Payload):
    id: str
    text: str


class NoteKey(Payload):
    id: str


PIECES = (
    "'", '"', "''", "\\'", "`", ";", "--", "/*", "*/", "#", "$1", "$$", "$tag$", ":id", "?", "?1", "%s",
    "%(id)s", "{id}", "\\", "\\x27",
    " or 1=1", " and 1=2", " union select * from secrets", "; drop table notes", "'; drop table notes; --",
    "') ; delete from notes; --",
    "' or '1'='1", '" or ""="', "admin'--", "1); select pg_sleep(9); --",
    "' || (select text from secrets) || '", "'||pg_sleep(9)--",
    "; attach database '/tmp/x' as y", "; pragma writable_schema=1", "load_extension('x')",
    "waitfor delay '0:0:9'", "benchmark(1e9,1)",
    "; copy notes to program 'id'", "lo_import('/etc/passwd')", "current_user", "null", "NULL", "\ufeff",
    "\u2019", "\uff07", "\u02bc",
    "\r\n", "\t", "\x1b[2J", "\x7f", "\u202e", "é", "é", "𝔘", "👩‍👩‍👧", "ᐁ" * 5, "x" * 2000, " ", "select",
    "returning", "on conflict do nothing",
)  # fmt: skip
NAMES = (
    "notes; drop table notes", 'notes"', "notes--", "Notes", "1notes", "", "a" * 64, "no tes", "notes\u0000",
    "nötes", "notes)", "secrets.notes", "*",
    "notes\n", "$notes", "notes'", "public.notes", "n@tes", "notes/**/", "..",
)  # fmt: skip


def hostile(count: int) -> list[str]:
    drawn = random.Random(6)
    single = list(PIECES)
    return single + ["".join(drawn.choices(PIECES, k=drawn.randint(2, 5))) for _ in range(count - len(single))]


TABLES = "create table notes (id text primary key, text text not null); create table secrets (text text not null);"
QUERY = "select id, text from notes where text = :text and id = :id"
CALLS = {
    "insert": ModelSqlCall.model_validate({"operation": "insert", "table": "notes"}),
    "upsert": ModelSqlCall.model_validate({"operation": "upsert", "table": "notes"}),
    "update": ModelSqlCall.model_validate({"operation": "update", "table": "notes"}),
    "delete": ModelSqlCall.model_validate({"operation": "delete", "table": "notes"}),
    "find": ModelSqlCall.model_validate({"operation": "query", "query": QUERY}),
}  # fmt: skip


async def attack(url: str, values: list[str]) -> None:
    target = ModelSqlTarget.model_validate(
        {"url": url, "tables": {"notes": {"columns": ("id", "text"), "key": ("id",)}}}
    )
    effect = SqlEffect("notes", target, CALLS, lambda one: Note if one.name == "find" else None, context())
    for n, value in enumerate(values):
        note = Note(id=value, text=value)
        for operation in (("insert",), ("upsert",), ("insert", "update"))[n % 3]:
            await effect.execute(intent(operation, note))
        assert (await effect.execute(intent("find", note))).value == note
        await effect.execute(intent("delete", NoteKey(id=value)))
    await effect.close()


def test_500_hostile_values_change_nothing_in_sqlite(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # a disk would have to write 1,200 commits
    path = (memory if memory.is_dir() else tmp_path) / f"notes-{os.getpid()}.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        TABLES + "insert into notes values ('kept', 'as it was'); insert into secrets values ('canary');"
    )
    before = list(connection.iterdump())
    asyncio.run(attack(f"sqlite:///{path}", hostile(500)))
    assert list(connection.iterdump()) == before
    connection.close()
    path.unlink()


def test_500_hostile_values_change_nothing_in_postgresql(postgres: PostgresServer) -> None:
    server = f"postgres://postgres@127.0.0.1:{postgres.port}"

    async def body() -> None:
        admin = await asyncpg.connect(f"{server}/postgres")
        await admin.execute("drop database if exists effects_hostile with (force)")
        await admin.execute("create database effects_hostile")
        connection = await asyncpg.connect(f"{server}/effects_hostile")
        await connection.execute(TABLES)
        await connection.execute(
            "insert into notes values ('kept', 'as it was'); insert into secrets values ('canary')"
        )

        async def seen() -> list[tuple[Any, ...]]:
            tables = await connection.fetch(
                "select table_schema, table_name from information_schema.tables order by 1, 2"
            )
            rows = await connection.fetch(
                "select 'n', id, text from notes union all select 's', '', text from secrets order by 1"
            )
            return [tuple(one) for one in (*tables, *rows)]

        before = await seen()
        await attack(f"{server}/effects_hostile", hostile(500))
        assert await seen() == before
        await connection.close()
        await admin.execute("drop database effects_hostile with (force)")
        await admin.close()

    asyncio.run(body())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_plain_identifier_is_refused_when_the_contract_is_read(name: str) -> None:
    table = {"columns": ["id"], "key": ["id"]}
    for block in (
        lambda: ModelSqlTable.model_validate_json(f'{{"columns": ["id", {json.dumps(name)}], "key": ["id"]}}'),
        lambda: ModelSqlTable.model_validate_json(f'{{"columns": ["id"], "key": [{json.dumps(name)}]}}'),
        lambda: ModelSqlTarget.model_validate({"url": "sqlite:///a.db", "tables": {name: table}}),
        lambda: ModelSqlTarget.model_validate({"url": "sqlite:///a.db", "tables": {}, "dedup_table": name}),
        lambda: ModelSqlCall.model_validate({"operation": "insert", "table": name}),
    ):
        with pytest.raises(ValidationError):
            block()
