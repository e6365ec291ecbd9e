"""One file, one owner, by whatever name; and a store that is not where it was is lost, before anything more is answered."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from onex.adapters.sqlite import location
from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.errors import StoreLinked, StoreReplaced
from onex.adapters.sqlite.location import check_mount, real_path
from onex.adapters.sqlite.schema import create
from onex.adapters.sqlite.store import SqliteStore
from onex.adapters.store_errors import NotAStore
from onex.kernel.errors import CommitUnknown, DatabaseConnectionError
from onex.ports import Commit, KeyChange, Position
from onex.testing.conformance.owner import CODE, ENV, A, B, Owner, row

CODES = (CODE, ENV)


def commit_of(fences: Mapping[int, int], *changes: KeyChange) -> Commit:
    return Commit(fences, changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "store.db"


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await body()

    asyncio.run(bounded())


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def content(path: Path) -> bytes:
    return path.read_bytes()


def die(core: SqliteCore) -> None:
    """As a kill does: the WAL stays as it was."""
    wal, kept = f"{core.path}-wal", f"{core.path}-kept"
    os.link(wal, kept)
    held = content(Path(wal))
    core.drop()
    os.rename(kept, wal)
    Path(wal).write_bytes(held)


# --- one name -----------------------------------------------------------------------------------------------------------


def by_a_link_to_the_file(path: Path) -> Path:
    link = path.parent.parent / "current.db"
    link.symlink_to(path)
    return link


def by_a_link_to_a_link(path: Path) -> Path:
    link = path.parent.parent / "newest.db"
    link.symlink_to(by_a_link_to_the_file(path))
    return link


def by_a_link_to_the_folder(path: Path) -> Path:
    (path.parent.parent / "current").symlink_to(path.parent)
    return path.parent.parent / "current" / path.name


def by_the_folder_above(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


def by_a_relative_path(path: Path) -> Path:
    return Path(os.path.relpath(path))


NAMES = [by_a_link_to_the_file, by_a_link_to_a_link, by_a_link_to_the_folder, by_the_folder_above, by_a_relative_path]


@pytest.mark.parametrize("named", NAMES, ids=lambda one: one.__name__)
def test_a_store_has_one_owner_by_whatever_name(path: Path, named: Callable[[Path], Path]) -> None:
    async def body() -> None:
        first, other = await SqliteStore.open(path), await SqliteStore.open(named(path))
        owner = await Owner.of(first)
        assert await other.own("other") == {}
        await owner.apply(A, row("one"))
        assert [entry.row.kind for entry in await other.log(Position(0, 0), 10)] == ["do_one"]
        await first.close()
        await other.close()
        assert names(path) == ["store.db", "store.db-owner"]

    run(body)


def test_a_link_to_nothing_yet_makes_the_store_where_it_leads(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(by_a_link_to_the_file(path))
        assert await store.own("owner")
        await store.close()
        assert names(path) == [path.name, f"{path.name}-owner"]

    run(body)


def test_a_store_stays_the_one_it_was_when_the_working_directory_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        monkeypatch.chdir(path.parent)
        store = await SqliteStore.open(Path(path.name))
        sender = await SqliteStore.open(Path(path.name))
        monkeypatch.chdir("/")
        owner = await Owner.of(store)
        await owner.apply(A, row("one"))
        await sender.send(b"{}", 1)
        async with asyncio.timeout(4):
            await store.woken()
        await sender.close()
        await store.close()

    run(body)


def test_a_file_with_two_names_is_refused_by_each_of_them(path: Path) -> None:
    create(path)
    other = path.parent.parent / "second.db"
    os.link(path, other)
    for name in (path, other):
        for read_only in (True, False):
            with pytest.raises(StoreLinked, match="2 names"):
                asyncio.run(SqliteStore.open(name, read_only=read_only))
    other.unlink()
    SqliteCore(path).close()


def test_a_second_name_given_after_opening_is_refused_when_the_store_is_taken(path: Path) -> None:
    core = SqliteCore(path)
    os.link(path, path.parent.parent / "second.db")
    with pytest.raises(StoreLinked):
        core.own("owner")
    (path.parent.parent / "second.db").unlink()
    assert core.own("owner")
    core.close()


def test_a_file_that_is_mounted_by_itself_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = path.parent / "mountinfo"
    mounts.write_text(f"36 35 98:0 /a /data rw - ext4 /dev/root rw\n37 35 98:0 /b {path} rw - ext4 /dev/root rw\n")
    monkeypatch.setattr(location, "MOUNTS", mounts)
    with pytest.raises(StoreLinked, match="Mount the whole folder"):
        check_mount(path)
    check_mount(path.with_name("beside.db"))


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a socket", "a device"])
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_file_is_refused_at_once_and_by_name(path: Path, kind: str, read_only: bool) -> None:
    listening = socket.socket(socket.AF_UNIX)
    match kind:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a socket":
            listening.bind(str(path))
        case "a device":
            path.symlink_to("/dev/null")
    with listening, pytest.raises(NotAStore, match=f"is {kind}"):
        asyncio.run(SqliteStore.open(path, read_only=read_only))


def test_a_path_that_leads_nowhere_is_refused_by_name(path: Path) -> None:
    path.symlink_to(path)
    for nowhere in (path, Path("a\0b"), Path("n" * 300), path / "below"):
        with pytest.raises(DatabaseConnectionError):
            real_path(nowhere)
            asyncio.run(SqliteStore.open(nowhere))


# --- makers -------------------------------------------------------------------------------------------------------------


def test_what_killed_makers_left_is_removed_by_the_next(path: Path) -> None:
    left = ("store.db.4711.new", "store.db.4711.new-wal", "store.db.new", "store.db.new-journal")
    kept = ("store.db.bak", "store.db.new.txt", "other.db.12.new", f"store.db.{os.getpid()}.import")
    dead = "store.db.4194305.import"  # beyond any process number
    for name in (*left, *kept, dead):
        (path.parent / name).touch()
    create(path)
    assert sorted(one.name for one in path.parent.iterdir()) == sorted(["store.db", *kept])


def test_of_many_makers_one_makes_and_all_go_on(path: Path) -> None:
    async def body() -> None:
        stores = await asyncio.gather(*(SqliteStore.open(path) for _ in range(8)))
        owned = [bool(await store.own("owner")) for store in stores]
        assert owned.count(True) == 1
        for store in stores:
            await store.close()

    run(body)


# --- still there ----------------------------------------------------------------------------------------------------------


def remove_all(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()


def remove_the_file(path: Path) -> None:
    path.unlink()


def remove_the_wal(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def replace_the_wal(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"")
    other.replace(f"{path}-wal")


def remove_the_lock(path: Path) -> None:
    Path(f"{path}-owner").unlink()


def move_the_file(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def put_a_copy_in_place(path: Path) -> None:
    backup(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


def put_a_new_store_in_place(path: Path) -> None:
    create(path.with_name("new.db"))
    path.with_name("new.db").replace(path)


def cut_the_file(path: Path) -> None:
    os.truncate(path, 0)


def link_to_another(path: Path) -> None:
    create(path.with_name("new.db"))
    path.unlink()
    path.symlink_to(path.with_name("new.db"))


def backup(path: Path, to: Path) -> None:
    source, copy = sqlite3.connect(path), sqlite3.connect(to)
    source.backup(copy)
    source.close()
    copy.close()


FAULTS = [
    remove_all, remove_the_file, remove_the_wal, replace_the_wal, remove_the_lock, move_the_file, move_the_folder,
    remove_the_folder, put_a_copy_in_place, put_a_new_store_in_place, cut_the_file, link_to_another,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_a_store_that_is_not_where_it_was_answers_nothing_more(path: Path, fault: Callable[[Path], None]) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.apply(A, row("one"))
        await asyncio.sleep(0.2)  # the WAL is folded back into the file
        fault(path)
        for name in ("two", "three"):
            with pytest.raises(StoreReplaced):
                await owner.apply(B, row(name))
        await store.close()

    run(body)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_a_fault_in_the_middle_of_a_commit_is_seen_before_it_is_answered(
    path: Path, fault: Callable[[Path], None]
) -> None:
    faults: list[Callable[[Path], None]] = []

    def probe(point: str) -> None:
        if point == "before_commit" and faults:
            faults.pop()(path)

    async def body() -> None:
        core = SqliteCore(path, probe=probe)
        fences = core.own("owner")
        store = await SqliteStore.open(path)  # to build changes with
        owner = Owner(store, fences, *core.intern(*CODES))
        change = owner.change(A, row("one"))
        core.commit(commit_of(fences, change))
        core._connection.execute("pragma wal_checkpoint(passive)").fetchall()
        core.check_files()
        faults.append(fault)
        owner.seen[A] = (1, 1)
        with pytest.raises((StoreReplaced, CommitUnknown)):
            core.commit(commit_of(fences, owner.change(A, row("two"))))
        core.close()
        await store.close()

    run(body)


def test_a_reader_does_not_read_for_ever_what_was_taken_away(path: Path) -> None:
    async def body() -> None:
        create(path)
        reader = await SqliteStore.open(path, read_only=True)
        assert await reader.log(Position(0, 0), 10) == []
        put_a_new_store_in_place(path)
        with pytest.raises(StoreReplaced):
            await reader.log(Position(0, 0), 10)
        await reader.close()

    run(body)


def test_a_backup_put_in_place_is_whole_after_the_owner_has_ended(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        await owner.apply(A, row("one"))
        backup(path, path.with_name("copy.db"))
        for number in range(20):
            await owner.apply(A, row(f"later{number}"))
        path.with_name("copy.db").replace(path)
        with pytest.raises(StoreReplaced):
            await owner.apply(B, row("into the void"))
        await store.close()
        again = await SqliteStore.open(path)
        assert [entry.row.kind for entry in await again.log(Position(0, 0), 50)] == ["do_one"]
        await again.close()
        assert sqlite3.connect(path).execute("pragma integrity_check").fetchall() == [("ok",)]

    run(body)


@pytest.mark.parametrize("alive", [True, False])
def test_the_wal_of_the_file_before_is_not_written_over_a_backup(path: Path, alive: bool) -> None:
    """With the old owner alive and idle, or dead without an end: SQLite would take its WAL for the new file's."""

    async def body() -> None:
        create(path)
        shutil.copyfile(path, path.with_name("copy.db"))
        core = SqliteCore(path)
        fences = core.own("owner")
        store = await SqliteStore.open(path)
        owner = Owner(store, fences, *core.intern(*CODES))
        core.commit(commit_of(fences, owner.change(A, row("one"))))
        await store.close()
        if not alive:
            die(core)
        path.with_name("copy.db").replace(path)
        before = content(path)
        for read_only in (True, False):
            with pytest.raises(StoreReplaced, match=r"move store\.db-wal"):
                await SqliteStore.open(path, read_only=read_only)
        assert content(path) == before
        core.close()

    run(body)


def test_a_store_that_was_vacuumed_goes_on(path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(path)
        owner = await Owner.of(store)
        for number in range(40):
            await owner.apply(A, row(f"a{number}", issued_us=number))
        await asyncio.sleep(0.2)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("create table ballast as select randomblob(4000000) as b")
        other.execute("pragma wal_checkpoint(truncate)")
        await owner.apply(A, row("one"))
        other.execute("drop table ballast")
        other.execute("vacuum")
        other.execute("pragma wal_checkpoint(truncate)")
        other.close()
        await owner.apply(A, row("two"))
        await store.close()

    run(body)


def test_an_older_copy_written_into_the_same_file_is_told_by_its_fence_or_its_log(path: Path) -> None:
    for statement, told in (("fence = fence - 1", "fence is 0"), ("n = n - 1", "log ends at 0")):

        async def body(statement: str = statement, told: str = told) -> None:
            store = await SqliteStore.open(path)
            owner = await Owner.of(store)
            await owner.apply(A, row("one"))
            with sqlite3.connect(path) as other:
                other.execute(f"update shards set {statement}")
            other.close()
            with pytest.raises(StoreReplaced, match=told):
                await owner.apply(B, row("two"))
            await store.close()
            remove_the_file(path)

        run(body)
