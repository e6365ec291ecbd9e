"""The sql effect on a real PostgreSQL that ends connections, transactions and rights at the worst moments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.contracts.model.target_sql import ModelSqlCall, ModelSqlTarget
from onex.effects.sql import SqlEffect
from onex.effects.sql_database import make_dedup_table
from onex.kernel.action import Payload
from onex.kernel.errors import EffectFailed, EffectUnknown
from tests.chaos.proxy import Proxy
from tests.effects.calls import context, intent, told_by
from tests.servers.postgres_server import PostgresServer

DATABASE = "effects_faults"
BEFORE = "create trigger slow before insert on entries for each row execute function slowly()"
AT_COMMIT = (
    "create constraint trigger slow after insert on entries deferrable initially deferred "
    "for each row execute function slowly()"
)
TABLES = f"""
create table entries (id text primary key, cents bigint not null);
{make_dedup_table("done_once")};
create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3), 'slowly'; return new; end $$;
create function conflicting() returns trigger language plpgsql as
  $$ begin raise exception 'could not serialize access' using errcode = '40001'; end $$;
"""
CALLS: Mapping[str, dict[str, Any]] = {
    "insert": {"operation": "insert", "table": "entries"},
    "spy": {"operation": "query", "query": "select * from log where true or :id = ''"},
    "forge": {"operation": "insert", "table": "log"},
}


class Entry(Payload):
    id: str
    cents: int


class EntryKey(Payload):
    id: str


class Server:
    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, user: str = "postgres", port: int = 0, more: str = "") -> str:
        return f"postgres://{user}@127.0.0.1:{port or self.port}/{DATABASE}{more}"

    async def run(self, sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url())
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def until_it_sleeps(self) -> int:
        """The process of the connection whose trigger runs now."""
        while True:
            found = await self.run(
                "select pid from pg_stat_activity where wait_event = 'PgSleep' and application_name = 'onex-effect'"
            )
            if found:
                return int(found[0][0])
            await asyncio.sleep(0.005)

    def effect(self, url: str | dict[str, str] = "", **more: Any) -> SqlEffect:
        table = {"columns": ("id", "cents"), "key": ("id",)}
        target = ModelSqlTarget.model_validate(
            {"url": url or self.url(), "tables": {"entries": table, "log": table}, **more}
        )
        calls = {name: ModelSqlCall.model_validate(call) for name, call in CALLS.items()}
        return SqlEffect("ledger", target, calls, lambda _: None, context())


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[Server]:
    async def admin(*statements: str) -> None:
        connection = await asyncpg.connect(f"postgres://postgres@127.0.0.1:{postgres.port}/postgres")
        for one in statements:
            await connection.execute(one)
        await connection.close()

    async def make() -> None:
        await admin(f"drop database if exists {DATABASE} with (force)", f"create database {DATABASE}")
        connection = await asyncpg.connect(Server(postgres.port).url())
        await connection.execute(TABLES)
        await connection.close()

    asyncio.run(make())
    yield Server(postgres.port)
    asyncio.run(admin(f"drop database {DATABASE} with (force)"))


ENTRY = Entry(id="a", cents=5)


def test_a_connection_that_ends_before_commit_is_surely_not_done_with_a_dedup_table_and_unknown_without(
    server: Server,
) -> None:
    async def body() -> None:
        await server.run(BEFORE)
        told: type[EffectFailed | EffectUnknown]
        for told, more in ((EffectFailed, {"dedup_table": "done_once"}), (EffectUnknown, {})):
            effect = server.effect(**more)
            calling = asyncio.ensure_future(told_by(effect, intent("insert", ENTRY)))
            await server.run(f"select pg_terminate_backend({await server.until_it_sleeps()})")
            error = await calling
            assert (type(error), error.reason, error.retry) == (told, "connection_lost", True)
            assert await server.run("select id from entries") == []
            await effect.execute(intent("insert", ENTRY))  # the next try connects anew
            assert await server.run("delete from entries returning id") == [("a",)]
            await effect.close()

    asyncio.run(body())


def test_an_answer_to_commit_that_is_lost_is_unknown_and_the_same_key_is_not_written_again(server: Server) -> None:
    async def body() -> None:
        await server.run(AT_COMMIT)
        with Proxy(server.port) as proxy:
            effect = server.effect(server.url(port=proxy.port), dedup_table="done_once")
            calling = asyncio.ensure_future(effect.execute(intent("insert", ENTRY)))
            await server.until_it_sleeps()
            proxy.cut()
            with pytest.raises(EffectUnknown):
                await calling
            await effect.execute(intent("insert", ENTRY))  # it waits for the first, which did commit
            assert await server.run("select id, cents from entries") == [("a", 5)]
            await effect.close()

    asyncio.run(body())


def test_what_the_server_rolled_back_for_others_is_tried_again(server: Server) -> None:
    async def body() -> None:
        await server.run("create trigger busy before insert on entries for each row execute function conflicting()")
        for more in ({}, {"dedup_table": "done_once"}):
            effect = server.effect(**more)
            with pytest.raises(EffectFailed) as raised:
                await effect.execute(intent("insert", ENTRY))
            assert (raised.value.reason, raised.value.retry) == ("rolled_back", True)
            await effect.close()
        assert await server.run("select idempotency_key from done_once") == []

    asyncio.run(body())


def test_the_role_of_an_effect_reads_and_writes_no_table_of_the_engine(server: Server) -> None:
    async def body() -> None:
        address = Address.parse(server.url(more="?schema=engine"))
        await (await PostgresStore.open(address)).close()
        await server.run("drop role if exists effect_user")
        await server.run("create role effect_user login")
        await server.run("grant select, insert, update, delete on entries to effect_user")
        effect = server.effect(server.url("effect_user", more="?search_path=engine,public"))
        for name, payload in (("spy", EntryKey(id="")), ("forge", ENTRY)):
            with pytest.raises(EffectFailed) as raised:
                await effect.execute(intent(name, payload))
            assert raised.value.reason in ("not_allowed", "statement_refused")  # the schema is not even seen
        connection = await asyncpg.connect(server.url("effect_user"))
        tables = await server.run("select table_name from information_schema.tables where table_schema = 'engine'")
        assert {"log", "outbox"} <= {name for (name,) in tables}
        for (name,) in tables:
            for sql in (f"select * from engine.{name}", f"delete from engine.{name}", f"drop table engine.{name}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(sql)
        await connection.close()
        await effect.execute(intent("insert", ENTRY))
        await effect.close()
        await server.run("drop owned by effect_user")
        await server.run("drop role effect_user")

    asyncio.run(body())


def test_an_address_that_changes_is_used_from_the_next_call_on(server: Server, tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "url").write_text(server.url("nobody_here"))
        effect = server.effect({"file": str(tmp_path / "url")})
        with pytest.raises(EffectFailed) as raised:
            await effect.execute(intent("insert", ENTRY))
        assert (raised.value.reason, raised.value.retry) == ("not_allowed", False)
        (tmp_path / "url").write_text(server.url())
        await effect.execute(intent("insert", ENTRY))
        await effect.close()

    asyncio.run(body())
