"""Workers on one PostgreSQL store, with real processes and real failures: killed, stopped past its lease, cut in a commit."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Self

import asyncpg
import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.errors import ConnectionLost, OtherShards
from onex.adapters.postgres.integrity import damage_in
from onex.adapters.postgres.link import Connection
from onex.adapters.postgres.store import PostgresStore
from onex.kernel.errors import FencedError
from onex.kernel.membership import Worker
from onex.ports import Applied, Position
from onex.testing.conformance.leases import LONG_S, Member
from onex.testing.conformance.owner import CODE, ENV, Owner, row
from onex.testing.conformance.sharding import key_in
from tests.laws.tree import ROOT
from tests.servers.postgres_server import PostgresServer

NAMES = count(1)


class Process:
    """A worker in a process of its own (``sharing_worker``)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, name: str, lease_s: float, shards: str) -> Self:
        words = [sys.executable, "-m", "tests.adapters.sharing_worker", url, name, str(lease_s), shards]
        one = cls(
            await asyncio.create_subprocess_exec(
                *words, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        )
        assert await one.said() == "took"
        return one

    async def said(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    async def ask(self, line: str) -> str:
        self.tell(line)
        return await self.said()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class Place:
    def __init__(self, url: str, admin: Connection) -> None:
        self.url, self.admin = url, admin
        self.opened: list[PostgresStore] = []
        self.started: list[Process] = []

    async def open(self) -> PostgresStore:
        store = await PostgresStore.open(Address.parse(self.url))
        self.opened.append(store)
        return store

    async def member(self, name: str, *shards: int, lease_s: float = LONG_S) -> Member:
        store = await self.open()
        await store.join(Worker(name, lease_s))
        member = Member(store, name, *await store.intern(CODE, ENV))
        await member.take(*shards)
        return member

    async def process(self, name: str, shards: str, lease_s: float = 0.5) -> Process:
        process = await Process.start(self.url, name, lease_s, shards)
        self.started.append(process)
        return process


async def dead(looker: Member, name: str) -> None:
    """Returns when the lease of that worker has run out, by the server's clock."""
    while name in await looker.live():
        await asyncio.sleep(0.02)


At = Callable[[Callable[[Place], Awaitable[None]]], None]


@pytest.fixture
def at(postgres: PostgresServer) -> At:
    def run(body: Callable[[Place], Awaitable[None]]) -> None:
        async def whole() -> None:
            url = f"{postgres.url(f'sharing{next(NAMES)}')}&shards=4"
            address = Address.parse(url)
            admin = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
            place = Place(url, admin)
            try:
                async with asyncio.timeout(60):
                    await body(place)
            finally:
                for process in place.started:
                    await process.end()
                for store in place.opened:
                    await store.close()
                await admin.close()

        asyncio.run(whole())

    return run


def test_a_worker_stopped_past_its_lease_commits_nothing_when_it_goes_on(at: At) -> None:
    async def body(place: Place) -> None:
        other = await place.member("other")
        process = await place.process("stopped", "1,2")
        assert await process.ask("a") == "committed 1"
        process.signal(signal.SIGSTOP)
        process.tell("b")
        await dead(other, "stopped")
        assert sorted(await other.take(1)) == [1]
        process.signal(signal.SIGCONT)
        assert await process.said() == "fenced [1]"
        assert [entry.row.kind for entry in await other.store.log(Position(1, 0), 10)] == ["do_a"]

    at(body)


def test_a_worker_stopped_in_the_middle_of_a_commit_does_not_keep_its_shards(at: At) -> None:
    async def body(place: Place) -> None:
        other = await place.member("other")
        process = await place.process("stopped", "1,2")
        assert await process.ask("begin") == "holds"
        process.signal(signal.SIGSTOP)
        await dead(other, "stopped")
        assert sorted(await other.take(1, 2)) == [1, 2]
        assert (await other.apply(key_in(other.store, 1), row("a"))).first == Position(1, 1)
        process.signal(signal.SIGCONT)
        assert await process.ask("b") in ("fenced [1, 2]", "ConnectionLost")

    at(body)


def test_what_a_killed_worker_had_is_taken_and_goes_on_where_it_ended(at: At) -> None:
    async def body(place: Place) -> None:
        other = await place.member("other", 3)
        process = await place.process("killed", "1,2")
        assert [await process.ask(name) for name in "abc"] == ["committed 1", "committed 2", "committed 3"]
        await process.end()
        await dead(other, "killed")
        assert sorted(await other.take(0, 1, 2)) == [0, 1, 2]
        key = key_in(other.store, 1)
        stored = await other.stored(key)
        other.seen[key] = stored.instance, stored.version
        assert (await other.apply(key, row("d"))).first == Position(1, 4)

    at(body)


def test_a_worker_whose_connection_was_cut_in_a_commit_goes_on_with_what_it_still_has(at: At) -> None:
    """The network is cut, and the server has not noticed: its session lives, in the middle of a commit."""

    async def body(place: Place) -> None:
        one, two = await place.member("one", 0, 1), await place.member("two")
        for shard in (0, 1):
            await one.apply(key_in(one.store, shard), row("a"))
        link = one.store._ownership.link  # type: ignore[attr-defined]
        stuck, link._connection = link._connection, None
        await stuck.execute("begin")
        await stuck.execute("update shards set n = n + 7 where owner = 'one'")
        assert (await one.apply(key_in(one.store, 0), row("b"))).first == Position(0, 2)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await stuck.execute("commit")
        stuck.terminate()
        assert await two.owners() == {0: "one", 1: "one"}

    at(body)


def test_shards_that_were_taken_while_the_connection_was_lost_are_lost_and_the_others_go_on(at: At) -> None:
    async def body(place: Place) -> None:
        one, two = await place.member("one", 0, 1, lease_s=0.2), await place.member("two")
        await dead(two, "one")
        await two.take(1)
        await place.admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'onex' and pid = any($1)",
            [one.store._ownership._session[0]],  # type: ignore[attr-defined]
        )
        change = one.change(key_in(one.store, 0), row("a"))
        only = {0: one.taken[0]}
        while True:
            try:
                (applied,) = await one.commit(change, fences=only)
                break
            except ConnectionLost:  # it is noticed at the next use, or before it
                continue
        assert isinstance(applied, Applied)
        with pytest.raises(FencedError) as raised:
            await one.commit(one.change(key_in(one.store, 1), row("a")))
        assert raised.value.shards == (1,)
        assert sorted(one.store._ownership.fences) == [0, 1]  # type: ignore[attr-defined]
        assert await one.owners() == {0: "one", 1: "two"}
        assert sorted(one.store._ownership.fences) == [0]  # type: ignore[attr-defined]

    at(body)


def test_a_beat_does_not_wait_for_a_commit(at: At) -> None:
    async def body(place: Place) -> None:
        one, two = await place.member("one", 0), await place.member("two", 1)
        change = one.change(key_in(one.store, 0), row("a"))
        async with place.admin.transaction():
            await place.admin.execute("select 1 from shards where shard = 0 for update")
            commit = asyncio.ensure_future(one.commit(change))
            assert await one.live() == ["one", "two"]
            assert not commit.done()
        (applied,) = await commit
        assert isinstance(applied, Applied)
        assert await two.owners() == {0: "one", 1: "two"}

    at(body)


def test_an_idle_worker_asks_once_a_beat_and_nothing_between(at: At) -> None:
    async def body(place: Place) -> None:
        one = await place.member("one", 0)
        await one.leases.beat()
        links = (one.store._link, one.store._ownership.link, one.store._ownership._beats)  # type: ignore[attr-defined]
        asked: list[str] = []
        for link in links:
            link.current.add_query_logger(lambda record: asked.append(record.query))
        for _ in range(5):
            await one.leases.beat()
        await asyncio.sleep(0)  # loggers are called in the next turn of the loop
        assert len(asked) == 5

    at(body)


def test_a_worker_is_not_woken_by_what_is_sent_to_others(at: At) -> None:
    async def body(place: Place) -> None:
        one, sender = await place.member("one", 0, 2), await place.open()
        await one.store.woken()  # begins to listen
        channel = one.store._sent  # type: ignore[attr-defined]
        before = channel.told
        await sender.send(b"{}", 1, 1)
        await sender.send_all([b"{}"] * 2, 1, [3, 2])  # told in this order
        await one.store.woken()
        assert channel.told == before + 1

    at(body)


def test_several_that_take_at_once_have_each_shard_once(at: At) -> None:
    async def body(place: Place) -> None:
        members = [await place.member(f"w{number}") for number in range(4)]
        taken = await asyncio.gather(*(member.take(0, 1, 2, 3) for member in members))
        assert sorted(shard for one in taken for shard in one) == [0, 1, 2, 3]

    at(body)


def test_a_shard_whose_take_was_not_answered_is_taken_again_by_its_owner(at: At) -> None:
    async def body(place: Place) -> None:
        one = await place.member("one")
        await place.admin.execute("update shards set fence = fence + 1, owner = 'one' where shard = 2")
        assert await one.owners() == {2: "one"}
        assert sorted(await one.take(2)) == [2]
        await one.apply(key_in(one.store, 2), row("a"))

    at(body)


def test_who_left_may_own_the_whole_store_and_join_again(at: At) -> None:
    async def body(place: Place) -> None:
        one = await place.member("one", 0)
        await one.leases.leave()
        owner = await Owner.of(one.store)
        assert sorted(owner.fences) == [0, 1, 2, 3]
        await one.leases.leave()  # of one that has not joined: nothing
        await owner.apply(key_in(one.store, 1), row("a"))
        assert await (await place.open()).own("other") == {}

    at(body)


def test_workers_that_are_long_dead_are_forgotten(at: At) -> None:
    async def body(place: Place) -> None:
        await place.member("old", 1)
        await place.member("idle")
        await place.admin.execute(
            "update workers set lease_s = 1, heard = clock_timestamp() - interval '100 s' where id = 'old'"
        )
        await place.member("new")
        assert [row[0] for row in await place.admin.fetch("select id from workers order by id")] == ["idle", "new"]

    at(body)


def test_the_logs_of_all_shards_end_where_their_positions_end(at: At) -> None:
    async def body(place: Place) -> None:
        one = await place.member("one", 0, 1, 2)
        for shard in (1, 2):
            await one.apply(key_in(one.store, shard), row("a"), row("b"))

        async def ends() -> list[str]:
            found = await one.store._link.use(damage_in)  # type: ignore[attr-defined]
            return [damage.what for damage in found if "positions" in damage.what]

        assert await ends() == []
        await place.admin.execute("delete from log where n = (select max(n) from log)")
        assert await ends() == ["the log of shard 2 ends at 1, and 2 positions were given"]

    at(body)


def test_the_record_of_what_a_dead_worker_judged_is_found_by_the_next_one_of_this_machine(at: At) -> None:
    async def body(place: Place) -> None:
        one, two = await place.member("one"), await place.member("two")
        for member in (one, two):
            member.store.judging(f"by {member.name}".encode())
        assert await one.store.judged() == await two.store.judged() == b""
        one.store.drop()  # type: ignore[attr-defined]
        three = await place.member("three")
        assert await three.store.judged() == b"by one"

    at(body)


def test_a_store_keeps_the_number_of_shards_it_was_made_with(at: At, postgres: PostgresServer) -> None:
    async def body(place: Place) -> None:
        assert (await place.open()).shards == 4
        without = place.url.replace("&shards=4", "")
        for read_only in (False, True):
            store = await PostgresStore.open(Address.parse(without), read_only=read_only)
            assert store.shards == 4
            await store.close()
            with pytest.raises(OtherShards, match="made with 4 shards"):
                await PostgresStore.open(Address.parse(f"{without}&shards=8"), read_only=read_only)

    at(body)
