"""The SQLite store as processes meet it: files that are no stores, other writers, other owners, and the WAL."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from onex.adapters.sqlite.store import SqliteStore
from onex.adapters.store_errors import NotAStore, StoreMissing, StoreReadOnly, StoreTooNew
from onex.kernel.errors import DatabaseConnectionError, EngineClosed, StateConsistencyError
from onex.ports import InboxAnswer, Position
from onex.testing.conformance.owner import A, B, Owner, row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


async def made(path: Path) -> None:
    store = await SqliteStore.open(path)
    owner = await Owner.of(store)
    await owner.apply(A, row("a1"))
    await store.close()


async def opening(path: Path, *, read_only: bool = False) -> None:
    await (await SqliteStore.open(path, read_only=read_only)).close()


def test_a_clean_close_leaves_one_file_and_the_owners_lock(path: Path) -> None:
    run(lambda: made(path))
    assert sorted(one.name for one in path.parent.iterdir()) == ["store.db", "store.db-owner"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"the folder .*nowhere of the store does not exist"):
        run(lambda: opening(tmp_path / "nowhere" / "store.db"))


def test_reading_makes_no_store(path: Path) -> None:
    with pytest.raises(StoreMissing, match="there is no store at"):
        run(lambda: opening(path, read_only=True))
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"a letter to a friend\n" * 1000])
def test_another_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(NotAStore):
        run(lambda: opening(path))
    assert path.read_bytes() == content


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DatabaseConnectionError):
        run(lambda: opening(path))


def test_another_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("create table meta(name, value)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(NotAStore, match="application id 0"):
        run(lambda: opening(path))
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path: Path) -> None:
    run(lambda: made(path))
    with sqlite3.connect(path) as other:
        other.execute("update meta set value = '99' where name = 'schema_version'")
    other.close()
    with pytest.raises(StoreTooNew, match="schema 99; this ONEX knows up to 5"):
        run(lambda: opening(path))


def test_damage_is_told_as_damage(path: Path) -> None:
    run(lambda: made(path))
    with path.open("r+b") as file:
        file.seek(16384)
        file.write(b"\xff" * (path.stat().st_size - 16384))

    async def read() -> None:
        store = await SqliteStore.open(path, read_only=True)
        try:
            await store.load([A])
        finally:
            await store.close()

    with pytest.raises(StateConsistencyError, match="is damaged"):
        run(read)


def test_a_handle_for_reading_never_writes(path: Path) -> None:
    async def body() -> None:
        await made(path)
        store = await SqliteStore.open(path, read_only=True)
        assert [entry.row.kind for entry in await store.log(Position(0, 0), 10)] == ["do_a1"]
        with pytest.raises(StoreReadOnly, match="reading only"):
            await store.send(b"{}", 1)
        with pytest.raises(StoreReadOnly):
            await store.own("reader")
        await store.close()

    run(body)


def test_a_closed_store_says_so(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        await store.close()
        with pytest.raises(EngineClosed, match="was closed here"):
            await store.load([A])
        with pytest.raises(EngineClosed):
            await store.send(b"{}", 1)

    run(body)


def test_the_names_of_a_path_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "50% of a?b#c é.db"
    run(lambda: made(path))
    assert path.exists()


def test_many_processes_make_one_store(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from onex.adapters.sqlite.core import SqliteCore\n"
        "core = SqliteCore(Path(sys.argv[1])); print(core.send_all([b'x'], 1)[0]); core.close()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert sorted(int(child.communicate(timeout=30)[0]) for child in children) == [1, 2, 3, 4]
    assert sorted(one.name for one in path.parent.iterdir()) == ["store.db"]


def test_an_owner_that_dies_frees_its_store(path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from onex.adapters.sqlite.core import SqliteCore\n"
        "core = SqliteCore(Path(sys.argv[1])); print(core.own('child')[0], flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    fence = int(child.stdout.readline())

    async def body() -> None:
        store = await SqliteStore.open(path)
        assert await store.own("parent") == {}
        child.kill()
        child.wait()
        assert await store.own("parent") == {0: fence + 1}
        await store.close()

    try:
        run(body)
    finally:
        child.kill()
        child.communicate()


def test_the_owners_own_commits_do_not_wake_it(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        other = await SqliteStore.open(path)
        woken = asyncio.create_task(store.woken())
        for number in range(20):
            await owner.apply(A, row(f"a{number}"))
            await asyncio.sleep(0.01)
        assert not woken.done()
        await other.send(b"{}", 1)
        await woken
        for one in (store, other):
            await one.close()

    run(body)


def test_an_idle_store_is_asked_nothing(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.apply(A, row("a1"))
        asked = 0
        ask = store.changed_elsewhere

        async def counted() -> bool:
            nonlocal asked
            asked += 1
            return await ask()

        store.changed_elsewhere = counted  # type: ignore[method-assign]  # counts the queries of woken
        woken = asyncio.create_task(store.woken())
        await asyncio.sleep(0.2)  # the file's times settle
        before = asked
        await asyncio.sleep(0.3)
        assert asked == before
        woken.cancel()
        await store.close()

    run(body)


def test_the_wal_stays_bounded_under_writing_without_a_pause(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        sizes = []
        for number in range(120):
            await owner.apply(A, row(f"a{number}"), state=bytes([number]) * 1_000_000)
            sizes.append(path.with_name("store.db-wal").stat().st_size)
        assert max(sizes) < 64 << 20
        await store.close()
        assert not path.with_name("store.db-wal").exists()

    run(body)


def test_the_wal_is_emptied_when_the_owner_leaves_others_behind(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        other = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.apply(A, row("a1"))
        await store.close()
        assert path.with_name("store.db-wal").stat().st_size == 0
        assert (await other.load([A]))[A].version == 1
        await other.close()

    run(body)


def test_a_reader_never_waits_behind_a_commit(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.apply(A, row("a1"))
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("begin immediate")  # the writer waits for its turn
            writing = asyncio.create_task(owner.apply(B, row("b1")))
            assert (await store.load([A]))[A].version == 1
            assert not writing.done()
            other.execute("rollback")
        other.close()
        await writing
        await store.close()

    run(body)


def test_another_process_submits_while_the_owner_writes_without_a_pause(path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from onex.adapters.sqlite.core import SqliteCore\n"
        "core = SqliteCore(Path(sys.argv[1])); told = []\n"
        "for number in range(10):\n"
        "    (ticket,) = core.send_all([b'%d' % number], 1)\n"
        "    while (answer := core.answers([ticket]).get(ticket)) is None: time.sleep(0.001)\n"
        "    told.append(answer.decode())\n"
        "print(*told); core.close()"
    )

    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)

    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        number = 0
        while child.poll() is None:
            answers = tuple(InboxAnswer(one.ticket, b"told " + one.body, 1) for one in await store.inbox(0, 10))
            await owner.commit(owner.change(A, row(f"a{number}")), answers=answers)
            number += 1
        assert child.communicate()[0].split("told ")[1:] == [f"{one} " for one in range(9)] + ["9\n"]
        await store.close()

    try:
        run(body)
    finally:
        child.kill()
