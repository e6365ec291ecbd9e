"""The roles of a PostgreSQL store: an engine needs the rights on its tables and no more, an application sees views only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import asyncpg
import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.revisions import NEWEST
from onex.adapters.postgres.roles import VIEWS, apply_roles
from onex.adapters.postgres.store import PostgresStore
from onex.cli.main import main
from onex.kernel.membership import Worker
from onex.ports import NewIntent, Position, Rejection
from onex.testing.conformance.leases import LONG_S, Member
from onex.testing.conformance.owner import CODE, ENV, A, Owner, action, row
from onex.testing.conformance.sharding import key_in
from tests.servers.postgres_server import PostgresServer

USERS = {"engine_user": "onex_engine", "app_user": "onex_app"}


@pytest.fixture
def owner_url(postgres: PostgresServer) -> Iterator[str]:
    """A store made by a superuser, and two users who are none."""
    url = f"{postgres.url('with_roles')}&shards=4"

    async def make() -> None:
        await (await PostgresStore.open(Address.parse(url))).close()
        await apply_roles(Address.parse(url))
        await apply_roles(Address.parse(url))
        admin = await asyncpg.connect(Address.parse(url).dsn)
        for user, role in USERS.items():
            await admin.execute(f"create role {user} login in role {role}")
        await admin.close()

    async def remove() -> None:
        admin = await asyncpg.connect(Address.parse(url).dsn)
        await admin.execute("drop schema with_roles cascade")
        for role in (*USERS, *USERS.values()):
            await admin.execute(f"drop role {role}")
        await admin.close()

    asyncio.run(make())
    yield url
    asyncio.run(remove())


def as_user(url: str, user: str) -> Address:
    return Address.parse(url.replace("postgres@", f"{user}@"))


def test_an_engine_needs_no_more_than_its_role(owner_url: str) -> None:
    async def body() -> None:
        address = as_user(owner_url, "engine_user")
        store = await PostgresStore.open(address)
        owner = await Owner.of(store)
        await owner.apply(key_in(store, 1), row("one", NewIntent(0, 2)), state=b"{}")
        await owner.commit(rejections=(Rejection("k", action("no"), "refused", "no", b"", 1),), at_us=10**15)
        await store.send(b"{}", 1, 2)
        assert await store.project("p", 0, 0, 1, [])
        await store.close()
        await _takes_over_from_one_that_is_stuck(address)

    asyncio.run(asyncio.wait_for(body(), 60))


async def _takes_over_from_one_that_is_stuck(address: Address) -> None:
    stuck, store = await PostgresStore.open(address), await PostgresStore.open(address)
    await stuck.join(Worker("stuck", 0.2))
    await stuck.take([1])
    connection = stuck._ownership.link.current
    assert connection is not None
    await connection.execute("begin")
    await connection.execute("update shards set n = n where shard = 1")
    await store.join(Worker("next", LONG_S))
    member = Member(store, "next", *await store.intern(CODE, ENV))
    while "stuck" in await member.live():
        await asyncio.sleep(0.02)
    assert sorted(await member.take(1)) == [1]
    assert len(await store.log(Position(1, 0), 10)) == 1
    await store.close()
    await stuck.close()


def test_an_engine_may_not_change_the_tables(owner_url: str) -> None:
    async def body() -> None:
        connection = await asyncpg.connect(as_user(owner_url, "engine_user").dsn)
        for statement in (
            "drop table with_roles.log",
            "alter table with_roles.log add x text",
            "create table with_roles.x(y text)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()

    asyncio.run(body())


def test_an_application_reads_the_views_and_nothing_else(owner_url: str) -> None:
    async def body() -> None:
        store = await PostgresStore.open(as_user(owner_url, "engine_user"))
        await (await Owner.of(store)).apply(A, row("one"), state=b'{"total": 3}')
        await store.close()
        admin = await asyncpg.connect(Address.parse(owner_url).dsn)
        names = await admin.fetch(
            "select relname from pg_class where relnamespace = 'with_roles'::regnamespace and relkind in ('r', 'v')"
        )
        await admin.close()
        connection = await asyncpg.connect(as_user(owner_url, "app_user").dsn)
        seen = await connection.fetchrow(
            "select workflow_key, state->>'total', provenance->>'contract_version' from with_roles.workflow_state_json"
        )
        assert seen is not None
        assert tuple(seen) == ("orders:a", "3", "1.0.0")
        closed = sorted(row[0] for row in names if row[0] not in VIEWS)
        assert {"log", "outbox", "inbox", "workflow_state", "shards", "workers"} <= set(closed)
        for name in closed:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select * from with_roles.{name}")
        for name in VIEWS:
            await connection.fetch(f"select * from with_roles.{name}")
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(f"delete from with_roles.{name}")
        await connection.close()

    asyncio.run(body())


def test_the_command_prints_the_statements_that_it_applies(owner_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "roles", "--store", owner_url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["applied"], len(told["statements"])) == (False, 7)
    assert main(["store", "roles", "--apply", "--store", owner_url]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one};" for one in told["statements"]]


def test_the_command_upgrades_and_says_so(owner_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "upgrade", "--store", owner_url]) == 0
    assert f"has schema {NEWEST}, the newest" in capsys.readouterr().out
    assert main(["store", "upgrade", "--apply", "--store", owner_url]) == 2


@pytest.mark.parametrize("what", ["upgrade", "roles"])
def test_a_file_has_neither(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", what, "--store", "sqlite:///x.db"]) == 2
    assert "no store on a server" in capsys.readouterr().err
