"""A store is saved while its engine commits, and a restored one goes on: nothing of the backup is lost or done twice."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

import onex
from onex.adapters.sqlite.backup import RAISED
from onex.adapters.sqlite.errors import NotABackup, StoreIsBackup, StoreTaken
from onex.kernel.errors import StateConsistencyError
from onex.replay.verify import verify
from onex.wiring.backup import BackupByServer, back_up_store, restore_store
from onex.wiring.recorded import RunSource
from tests.cli.conftest import ITEMS, ORDERS, STORE, Commands, commands, orders, place  # noqa: F401 - fixtures

ORDER = {"items": ITEMS}


async def whole(url: str) -> int:
    async with RunSource(store_url=url).opened() as run:
        result = await verify(run)
        assert result.findings == 0, result.found
        return result.actions


def fence_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("select fence from shards").fetchone()[0])


def test_a_backup_beside_commits_is_one_moment_and_a_restored_store_goes_on(place: Path) -> None:  # noqa: F811 - the fixture
    async def go() -> None:
        stepping, committed = threading.Event(), threading.Event()

        def on_pages(done: int, total: int) -> None:
            stepping.set()
            assert committed.wait(60)

        async with await onex.open(STORE, ORDERS) as engine:
            first = [await engine.submit(f"orders:{n}", "place", ORDER, action_id=UUID(int=n)) for n in range(1, 6)]
            await engine.idle()
            async with asyncio.TaskGroup() as tasks:
                saving = tasks.create_task(asyncio.to_thread(back_up_store, STORE, place / "shop.backup", on_pages))
                await asyncio.to_thread(stepping.wait, 60)
                late = await engine.submit(
                    "orders:late", "place", ORDER, action_id=UUID(int=99)
                )  # the writer is not stopped
                await engine.idle()
                committed.set()
            assert (saving.result().instances, late.duplicate) == (5, False)
        actions = await whole(f"sqlite:///{place / 'shop.backup'}")
        assert (actions, await whole(STORE)) == (saving.result().actions, actions + 3)

        with pytest.raises(StoreIsBackup):
            await onex.open(f"sqlite:///{place / 'shop.backup'}", ORDERS)
        restored = restore_store(place / "shop.backup", "sqlite:///new.db")
        assert (restored.instances, restored.last_us > 0) == (5, True)
        assert fence_of(place / "new.db") == fence_of(place / "store.db") + RAISED
        async with await onex.open("sqlite:///new.db", ORDERS) as engine:
            again = await engine.submit("orders:1", "place", ORDER, action_id=UUID(int=1))
            assert (again.duplicate, again.position) == (True, first[0].position)
            sent = await engine.submit("orders:late", "place", ORDER, action_id=UUID(int=99))
            assert (sent.duplicate, sent.version) == (False, 1)
            await engine.wait("orders:late", until="shipped")
        assert await whole("sqlite:///new.db") == actions + 3

    asyncio.run(go())


def test_what_exists_is_never_replaced_and_what_is_no_backup_is_not_restored(orders: Path, place: Path) -> None:  # noqa: F811
    (place / "taken").write_text("mine")
    with pytest.raises(StoreTaken):
        back_up_store(STORE, place / "taken")
    with pytest.raises(NotABackup):
        restore_store(place / "store.db", "sqlite:///new.db")
    back_up_store(STORE, place / "one.backup")
    with pytest.raises(StoreTaken):
        restore_store(place / "one.backup", STORE)
    with pytest.raises(BackupByServer, match="pg_dump"):
        back_up_store("postgres://db.example/shop", place / "two.backup")
    left = {one.name for one in place.iterdir()} - {"taken", "one.backup", "out", "store.db", "store.db-owner"}
    assert {name for name in left if "import" in name} == set()


def test_a_damaged_backup_is_refused_unless_it_is_all_there_is(orders: Path, place: Path) -> None:  # noqa: F811
    back_up_store(STORE, place / "one.backup")
    with closing(sqlite3.connect(place / "one.backup")) as db:
        db.execute("update log set version = 7 where n = 1")
        db.commit()
    with pytest.raises(StateConsistencyError, match="nothing was restored"):
        restore_store(place / "one.backup", "sqlite:///new.db")
    assert not (place / "new.db").exists()
    assert restore_store(place / "one.backup", "sqlite:///new.db", damaged_too=True).instances > 0


def test_the_commands_say_what_is_held_and_what_is_to_be_sent_again(commands: Commands, orders: Path) -> None:  # noqa: F811
    told = commands("backup", "one.backup")
    assert (told.code, "one.backup holds 2 instances" in told.out) == (0, True)
    told = commands("restore", "one.backup", "--store", "sqlite:///new.db")
    assert (told.code, "what was acknowledged later is not in it" in told.err) == (0, True)
    assert commands("verify", "--store", "sqlite:///new.db").code == 0
    assert commands("restore", "one.backup", "--store", "sqlite:///new.db").code == 3
    assert commands("backup", "two.backup", "--json").row["actions"] == commands("verify", "--json").row["actions"]
