"""The PostgreSQL store beyond the one suite: lost connections, lost answers, other schemas, refusals of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from uuid import UUID

import asyncpg
import pytest

from onex.adapters.postgres.address import Address, InvalidPostgresUrl
from onex.adapters.postgres.errors import (
    ConnectionLost,
    SerializationFailed,
    ServerRefused,
    ServerUnreachable,
    StandbyOnly,
    StoreTimeout,
    StoreTooOld,
    translated,
)
from onex.adapters.postgres.link import Connection, Link
from onex.adapters.postgres.revisions import NEWEST
from onex.adapters.postgres.store import PostgresStore
from onex.adapters.store_errors import DiskFull, NotAStore, StoreMissing, StoreReadOnly, StoreTooNew
from onex.kernel.errors import CommitUnknown, FencedError, OnexError, ValidationError
from onex.ports import Applied, Conflict, Position
from onex.testing.conformance.owner import A, B, Owner, row
from tests.servers.postgres_server import PostgresServer

START = Position(0, 0)
NAMES = count(1)


class Place:
    """A schema of its own, and a connection that does to its sessions what an administrator or a failure does."""

    def __init__(self, address: Address, admin: Connection) -> None:
        self.address, self.admin = address, admin
        self.opened: list[PostgresStore] = []

    async def open(self, *, read_only: bool = False) -> PostgresStore:
        store = await PostgresStore.open(self.address, read_only=read_only)
        self.opened.append(store)
        return store

    async def owner(self) -> Owner:
        return await Owner.of(await self.open())

    async def end_sessions(self) -> None:
        """Ends every session of ONEX, as a server does that is shut down. Returns when their owners could know."""
        await self.admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'onex'"
        )
        links = [link for store in self.opened for link in links_of(store)]
        while any(link.current for link in links):
            await asyncio.sleep(0.01)


def links_of(store: PostgresStore) -> list[Link]:
    return [store._link, *([store._writer.link] if store._writer else [])]


@pytest.fixture
def at(postgres: PostgresServer) -> Callable[[Callable[[Place], Awaitable[None]]], None]:
    def run(body: Callable[[Place], Awaitable[None]]) -> None:
        async def whole() -> None:
            address = Address.parse(f"{postgres.url(f'adapter{next(NAMES)}')}&shards=1")
            admin = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
            place = Place(address, admin)
            try:
                async with asyncio.timeout(60):
                    await body(place)
            finally:
                for store in place.opened:
                    await store.close()
                await admin.close()

        asyncio.run(whole())

    return run


At = Callable[[Callable[[Place], Awaitable[None]]], None]


def test_an_owner_whose_connection_was_lost_goes_on_under_the_same_fence(at: At) -> None:
    async def body(place: Place) -> None:
        owner, other = await place.owner(), await place.open()
        await owner.apply(A, row("one"))
        await place.end_sessions()
        assert (await owner.apply(A, row("two"))).first == Position(0, 2)
        assert await other.own("other") == {}

    at(body)


def test_an_owner_that_another_replaced_while_its_connection_was_lost_is_fenced(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        await place.end_sessions()
        # what another machine does: the local file is not there, and the lock is free
        await place.admin.execute("update shards set fence = fence + 1, owner = 'another machine'")
        with pytest.raises(FencedError):
            await owner.apply(A, row("two"))
        with pytest.raises(FencedError):
            await owner.apply(A, row("two"))
        assert len(await (await place.open()).log(START, 10)) == 1

    at(body)


def test_reads_find_a_new_connection_by_themselves(at: At) -> None:
    async def body(place: Place) -> None:
        owner, reader = await place.owner(), await place.open(read_only=True)
        await owner.apply(A, row("one"))
        assert A in await reader.load([A])
        await place.end_sessions()
        assert A in await reader.load([A])
        assert [entry.version for entry in await owner.store.log(START, 10)] == [1]

    at(body)


class Deaf:
    """In place of a connection: sends ``commit``, and the answer is lost. ``then`` says what the server does about it."""

    def __init__(self, real: Connection, *, sent: bool) -> None:
        self._real, self._sent = real, sent

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    async def execute(self, query: str, *values: object) -> str:
        if query != "commit":
            return await self._real.execute(query, *values)
        if self._sent:
            await self._real.execute(query)
        self._real.terminate()
        raise ConnectionResetError("the answer was lost")


@pytest.mark.parametrize("sent", [True, False], ids=["it was committed", "it was not"])
def test_a_commit_whose_answer_is_lost_is_unknown_until_it_is_read_again(
    at: At, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        writer = owner.store._writer  # type: ignore[attr-defined]
        deaf = Deaf(writer.link._connection, sent=sent)
        change = owner.change(A, row("two"))
        with monkeypatch.context() as patch:
            patch.setattr(writer.link, "_connection", deaf)
            with pytest.raises(CommitUnknown):
                await owner.commit(change)
        found = await owner.store.history(A, 0, 10)
        assert [entry.row.kind for entry in found] == (["do_one", "do_two"] if sent else ["do_one"])
        (again,) = await owner.commit(change)
        assert isinstance(again, Conflict if sent else Applied)
        assert [entry.version for entry in await owner.store.log(START, 10)] == [1, 2]

    at(body)


def test_a_session_that_still_holds_the_lock_of_its_owner_is_ended(at: At) -> None:
    """The network is cut, and the server has not noticed: its session lives, perhaps in the middle of a commit."""

    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        link = owner.store._writer.link  # type: ignore[attr-defined]
        stuck, link._connection = link._connection, None
        await stuck.execute("begin")
        await stuck.execute("update shards set n = n + 7")
        assert (await owner.apply(A, row("two"))).first == Position(0, 2)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await stuck.execute("commit")
        stuck.terminate()

    at(body)


def test_a_server_that_was_killed_is_found_again(postgres: PostgresServer, at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        await asyncio.to_thread(postgres.stop)
        with pytest.raises(ConnectionLost):
            await owner.apply(A, row("two"))
        with pytest.raises(ConnectionLost):
            await owner.store.load([A])
        with pytest.raises(ServerUnreachable):
            await place.open()
        await asyncio.to_thread(postgres.start)
        assert (await owner.apply(A, row("two"))).first == Position(0, 2)
        assert (await owner.stored(A)).version == 2

    at(body)


def test_a_server_that_takes_reads_only_is_told_and_tried_again(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        connection = owner.store._writer.link.current  # type: ignore[attr-defined]
        await connection.execute("set session characteristics as transaction read only")
        with pytest.raises(StandbyOnly):
            await owner.apply(A, row("two"))
        assert (await owner.apply(A, row("two"))).first == Position(0, 2)

    at(body)


def test_a_store_opened_for_reading_writes_nothing(at: At) -> None:
    async def body(place: Place) -> None:
        with pytest.raises(StoreMissing):
            await place.open(read_only=True)
        with pytest.raises(StoreMissing):
            await PostgresStore.open(place.address, create=False)
        owner = await place.owner()
        await owner.apply(A, row("one"))
        reader = await place.open(read_only=True)
        with pytest.raises(StoreReadOnly):
            await reader.send(b"{}", 1)
        assert await reader.inbox(0, 10) == []

    at(body)


def test_another_number_of_the_schema_is_refused(at: At) -> None:
    async def body(place: Place) -> None:
        await (await place.open()).close()
        for number, error in ((f"{NEWEST + 1:04}", StoreTooNew), ("0000", StoreTooOld)):
            await place.admin.execute("update alembic_version set version_num = $1", number)
            for read_only in (True, False):
                with pytest.raises(error):
                    await place.open(read_only=read_only)

    at(body)


def test_tables_of_somebody_else_are_left_alone(at: At) -> None:
    async def body(place: Place) -> None:
        await place.admin.execute(f"create schema {place.address.schema}; create table outbox(theirs text)")
        with pytest.raises(NotAStore):
            await place.open()
        assert await place.admin.fetchval("select count(*) from information_schema.tables where table_schema = $1",
                                          place.address.schema) == 1  # fmt: skip

    at(body)


def test_several_processes_may_make_the_store_at_once(at: At) -> None:
    async def body(place: Place) -> None:
        stores = await asyncio.gather(*(place.open() for _ in range(4)))
        assert sorted([len(await store.own("one of four")) for store in stores]) == [0, 0, 0, 1]

    at(body)


def test_tickets_are_seen_in_their_order_by_whoever_reads_while_others_send(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        senders = [await place.open() for _ in range(4)]
        seen: list[int] = []

        async def read() -> None:
            while len(seen) < 80:
                seen.extend(one.ticket for one in await owner.store.inbox(seen[-1] if seen else 0, 100))

        async def send(sender: PostgresStore) -> None:
            for _ in range(10):
                await sender.send_all([b"{}", b"{}"], 1)

        await asyncio.gather(read(), *map(send, senders))
        assert len(seen) == len(set(seen)) == 80

    at(body)


def test_text_that_the_server_cannot_hold_is_refused_and_nothing_is_lost(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"))
        with pytest.raises(ValidationError):
            await owner.apply(A, row("two")._replace(issuer="a\x00b"))
        with pytest.raises(ValidationError):
            await owner.apply(B, row("two", issued_us=1 << 70))
        assert (await owner.apply(A, row("two"), held="what was raised: \x00")).first == Position(0, 2)
        assert (await owner.stored(A)).held == "what was raised: \\x00"

    at(body)


def test_a_cancelled_caller_withdraws_no_commit(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        task = asyncio.ensure_future(owner.commit(owner.change(A, row("one"))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await owner.store.close()
        assert len(await (await place.open()).log(START, 10)) == 1

    at(body)


def test_the_views_show_states_as_json_and_dedup_by_key(at: At) -> None:
    async def body(place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("one"), state=b'{"total": 3}')
        assert await place.admin.fetchval("select (state->>'total')::int from workflow_state_json") == 3
        seen = await place.admin.fetchrow("select workflow_key, version, action_id from action_dedup_log")
        assert seen is not None
        assert tuple(seen) == ("orders:a", 1, UUID(bytes=row("one").action_id))

    at(body)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (asyncpg.SerializationError("could not serialize"), SerializationFailed),
        (asyncpg.DeadlockDetectedError("deadlock"), SerializationFailed),
        (asyncpg.DiskFullError("no space left"), DiskFull),
        (asyncpg.QueryCanceledError("statement timeout"), StoreTimeout),
        (asyncpg.LockNotAvailableError("lock timeout"), StoreTimeout),
        (TimeoutError(), StoreTimeout),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute"), StandbyOnly),
        (asyncpg.IdleInTransactionSessionTimeoutError("terminating"), ConnectionLost),
        (asyncpg.AdminShutdownError("terminating"), ConnectionLost),
        (asyncpg.TooManyConnectionsError("too many"), ConnectionLost),
        (ConnectionRefusedError(111, "refused"), ConnectionLost),
        (asyncpg.InsufficientPrivilegeError("permission denied"), StoreReadOnly),
        (asyncpg.UndefinedTableError("no table"), StoreMissing),
        (asyncpg.InvalidPasswordError("wrong"), ServerRefused),
        (asyncpg.InvalidCatalogNameError("no database"), ServerRefused),
    ],
    ids=lambda one: one.__class__.__name__ if isinstance(one, BaseException) else None,
)
def test_each_failure_of_the_server_has_a_name(raised: Exception, expected: type[OnexError]) -> None:
    found = translated(raised, "postgres://h/d")
    assert type(found) is expected
    assert "postgres://h/d" in found.message


@pytest.mark.parametrize(
    ("url", "shown", "schema"),
    [
        ("postgres://u:secret@h:5433/shop", "postgres://u@h:5433/shop", "onex"),
        ("postgres://u:p@a:5433,b,[::1]:7/shop", "postgres://u@a:5433,b,[::1]:7/shop", "onex"),
        ("postgresql://h/shop?schema=test_1&sslmode=require", "postgresql://h/shop?schema=test_1", "test_1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str, schema: str) -> None:
    address = Address.parse(url)
    assert (address.shown, address.schema) == (shown, schema)
    assert "schema" not in address.dsn


@pytest.mark.parametrize(
    "url",
    [
        "postgres://h", "postgres://h/", "postgres://h:x/d", "postgres://h/d?schema=Bad-Name",
        "postgres://h/d?schema=pg_catalog", "postgres://h/d?shards=0", "postgres://h/d?shards=1025",
        "postgres://h/d?shards=many",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidPostgresUrl):
        Address.parse(url)


def test_a_store_is_known_by_where_it_is_and_not_by_who_asks() -> None:
    first, second = (Address.parse(f"postgres://{who}@h/d") for who in ("a:b", "c"))
    assert first.digest == second.digest != Address.parse("postgres://h/d?schema=other").digest
    assert first.lock_key("owner") != first.lock_key("inbox")
