"""The sql effect on a SQLite file that is locked, missing, an engine's own, or given up on."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import onex
from onex.effects import sql_sqlite
from onex.effects.sql_database import make_dedup_table
from onex.effects.sql_sqlite import SqliteDatabase
from onex.kernel.errors import EffectFailed
from tests.effects.booking_child import book
from tests.laws.tree import ROOT

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


def test_a_row_is_written_once_though_its_writer_is_killed_again_and_again(path: Path) -> None:
    made = sqlite3.connect(path)
    made.executescript(f"create table lines (id integer); {make_dedup_table('done_once')};")
    for kill_after in (1, 5, 9):
        words = [sys.executable, "-m", "tests.effects.booking_child", str(path), "100000"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as child:
            assert child.stdout is not None
            for _ in range(kill_after):
                child.stdout.readline()
            child.send_signal(signal.SIGKILL)
    done = int(made.execute("select count(*) from done_once").fetchone()[0])
    asyncio.run(book(path, done + 10))
    assert made.execute("select id from lines order by id").fetchall() == [(n,) for n in range(done + 10)]
    made.close()
