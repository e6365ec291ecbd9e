"""The sql effect on a SQLite file that is locked, missing, an engine's own, or given up on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

import onex
from onex.effects import sql_sqlite
from onex.effects.sql_sqlite import SqliteDatabase
from onex.kernel.errors import EffectFailed

INSERT = 'insert into "entries" ("id") values ($1)'
APP = """
from typing import Literal

from onex import State, workflow


class One(State):
    status: Literal["a", "b"] = "a"


one = workflow("one", One)
one.move("go", "a -> b")
"""
COUNT = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000000) select count(*) from n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = sqlite3.connect(tmp_path / "ledger.db")
    made.execute("create table entries (id text primary key)")
    made.close()
    return tmp_path / "ledger.db"


def test_a_file_that_another_writer_has_locked_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_sqlite, "BUSY_S", 0.01)

    async def body() -> None:
        database, other = SqliteDatabase(path), sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(EffectFailed) as raised:
            await database.write(INSERT, ["a"])
        assert (raised.value.reason, raised.value.retry) == ("rolled_back", True)
        other.execute("rollback")
        assert (await database.write(INSERT, ["a"])).changed == 1
        other.close()
        await database.close()

    asyncio.run(body())


def test_the_store_of_an_engine_is_refused_by_whatever_name(tmp_path: Path) -> None:
    async def body() -> None:
        store = tmp_path / "orders.db"
        app = tmp_path / "one.py"
        app.write_text(APP)
        async with await onex.open(f"sqlite:///{store}", app):
            pass
        (tmp_path / "link.db").symlink_to(store)
        (tmp_path / "hard.db").hardlink_to(store)
        for name in ("orders.db", "link.db", "hard.db"):
            database = SqliteDatabase(tmp_path / name)
            with pytest.raises(EffectFailed) as raised:
                await database.write("delete from meta", [])
            assert raised.value.reason == "engine_store"
            await database.close()

    asyncio.run(body())


def test_a_call_that_is_given_up_stops_and_leaves_the_thread_free(path: Path) -> None:
    async def body() -> None:
        database = SqliteDatabase(path)
        await database.write(INSERT, ["a"])
        begun = asyncio.Event()
        connection = database._connection
        assert connection is not None
        loop = asyncio.get_running_loop()

        def runs() -> int:
            loop.call_soon_threadsafe(begun.set)
            return 0

        connection.set_progress_handler(runs, 1000)
        long = asyncio.ensure_future(database.read(COUNT, [], 1))
        await begun.wait()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        assert (await database.write(INSERT, ["b"])).changed == 1
        with pytest.raises(EffectFailed) as raised:
            await database.write(INSERT, [2**70])
        assert raised.value.reason == "value_refused"
        await database.close()

    asyncio.run(body())
