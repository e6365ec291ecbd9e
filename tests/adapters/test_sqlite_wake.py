"""The owner is woken by every send, whatever the disk does; closing and opening end, whatever hangs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from onex.adapters.sqlite import store as sqlite
from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.errors import StoreReplaced
from onex.adapters.sqlite.location import wal_path
from onex.adapters.sqlite.store import SqliteStore
from onex.kernel.errors import TemporaryDatabaseError
from onex.testing.conformance.owner import A, Owner, row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(40):
            await body()

    asyncio.run(bounded())


def age(path: Path) -> None:
    """The WAL as it looks when its commit became visible long after it was written: its time says nothing any more."""
    os.utime(wal_path(path), ns=(1, 1))


def test_every_send_wakes_the_owner_though_the_wal_tells_nothing(path: Path) -> None:
    async def body() -> None:
        store, sender = await SqliteStore.open(path), await SqliteStore.open(path)
        await store.own("owner")
        age(path)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.woken()
        taken = 0
        for _ in range(50):
            ticket = await sender.send(b"{}", 1)
            age(path)
            await store.woken()
            taken = max(one.ticket for one in await store.inbox(taken, 100))
            assert taken == ticket
        await sender.close()
        await store.close()

    run(body)


def test_a_send_whose_commit_is_slow_is_not_signed_before_it_can_be_seen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sign is the last thing: who follows it finds the row."""
    core, owner = SqliteCore(path), SqliteCore(path)
    owner.own("owner")
    seen: list[int] = []
    token = owner.wake_token()

    def looking(lock: Path) -> None:
        assert owner.wake_token() == token
        seen.append(len(owner.inbox(0, 10)))

    monkeypatch.setattr("onex.adapters.sqlite.core.leave_wake_token", looking)
    core.send_all([b"{}"], 1)
    assert seen == [1]
    core.close()
    owner.close()


def test_a_sender_that_may_not_leave_a_sign_wakes_by_the_wal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onex.adapters.sqlite.core.leave_wake_token", lambda lock: None)

    async def body() -> None:
        store, sender = await SqliteStore.open(path), await SqliteStore.open(path)
        await store.own("owner")
        await sender.send(b"{}", 1)
        await store.woken()
        await sender.close()
        await store.close()

    run(body)


def test_an_owner_looks_after_a_while_though_no_send_woke_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal can be lost: the inbox then waits for this look, and not for ever."""
    monkeypatch.setattr(sqlite, "LOOK_S", 0.1)

    async def body() -> None:
        store = await SqliteStore.open(path)
        await store.own("owner")
        await store.woken()
        await store.close()

    run(body)


def test_an_idle_owner_notices_that_its_store_was_taken_away(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        await store.own("owner")
        os.unlink(path)
        with pytest.raises(StoreReplaced):
            while True:
                await store.woken()
        await store.close()

    run(body)


def test_close_ends_though_another_writer_holds_the_store(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path, wait_ms=300)
        owner = await Owner.of(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        waiting = asyncio.create_task(owner.apply(A, row("one")))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(TemporaryDatabaseError):
            await waiting
        other.execute("rollback")
        other.close()
        again = await SqliteStore.open(path)
        assert await again.own("next")
        await again.close()

    run(body)


def test_close_leaves_a_call_that_hangs_behind_and_frees_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "CLOSE_S", 0.2)
    goes_on = threading.Event()

    async def body() -> None:
        store = await SqliteStore.open(path)
        await store.own("owner")
        hanging = asyncio.create_task(store._writes.call(lambda core: goes_on.wait()))
        await asyncio.sleep(0)
        await store.close()
        again = await SqliteStore.open(path)
        assert await again.own("next")
        goes_on.set()
        await hanging
        await again.close()

    run(body)


def test_who_stops_waiting_for_a_close_does_not_stop_it(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        await store.own("owner")
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await store.close()
        again = await SqliteStore.open(path)
        assert await again.own("next")
        await again.close()

    run(body)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("onex-sqlite")]


@pytest.mark.parametrize("turns", [1, 2, 5, 50])
def test_who_stops_waiting_for_an_open_leaves_nothing_open(path: Path, turns: int) -> None:
    async def body() -> None:
        opening = asyncio.create_task(SqliteStore.open(path))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        opening.cancel()
        (came,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(came, SqliteStore):
            await came.close()
        while threads():
            await asyncio.sleep(0.005)

    run(body)
