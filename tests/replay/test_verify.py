"""One byte of one stored value is turned, and ``verify`` says so without any code of the app: a thousand of a thousand.

``COVERED`` and ``FREE`` name each column of each table: who adds one says here what covers it, or why nothing needs to.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import pytest
from blake3 import blake3

from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.replay.verify import VerifyResult, verify
from onex.wiring.recorded import RunSource
from tests.cli.conftest import Commands, commands, orders, place  # noqa: F401 - fixtures
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Start

K, LONG = WorkflowKey("job", "1"), WorkflowKey("job", "long")
SUM = {"checksum"}
COVERED: Final = {
    "log": {
        "n", "instance", "version", "prev", "action_id", "kind", "payload", "payload_schema", "issued_us", "correlation",
        "cause", "issuer", "body_hash", "intents", "status", "code_id", "env_id", "state_hash",
    } | SUM,
    "workflow_state": {
        "instance", "workflow_type", "instance_id", "version", "epoch", "status", "terminal", "state_schema", "state_hash",
        "code_id", "position", "last_us", "state", "cut",
    } | SUM,
    "snapshots": {"instance", "version", "state_schema", "code_id", "state_hash", "state"} | SUM,
    "outbox": {"n", "ordinal", "instance", "timer", "due_us", "state"},
    "blobs": {"digest", "size", "data"},
    "codes": {"id", "workflow_type", "state_schema", "digest"},
    "envs": {"id"},
    "shards": {"n"},
}  # fmt: skip
FREE: Final = {
    "workflow_state": "failures held lease_id lease_until_us updated_us",  # moved by single statements; nothing recorded tells
    "snapshots": "at_us",
    "outbox": "priority attempt fence started crashes result error",  # what delivery knows beside the log
    "blobs": "media_type at_us",
    "blob_refs": "n digest",  # it only keeps a blob from being collected
    "attempts": "id instance n ordinal attempt began_us ended_us outcome code message trace",  # for people
    "codes": "contract_version",  # a label: the digest is taken over the contract, its version included
    "envs": "onex pydantic python tzdata git_revision",  # recorded and named; no bytes depend on them
    "shards": "shard fence owner",
    "meta": "name value",
    "rejections": "id key action_id code message body times first_us last_us trace",
    "inbox": "ticket body at_us answer answered_us",
    "workflow_projection": "name workflow_type instance_id version tag last_action fields",  # made of the log: build it again
    "projection_watermarks": "name shard n",
    "data_keys": "id owner master wrapped plain_until erased_us",  # a wrong one opens nothing, and reading says so
    "search": "instance spec n1 n2 n3 n4 n5 n6 n7 n8 t1 t2 t3 t4 t5 t6 t7 t8",  # made of the state
    "search_specs": "id workflow_type fields filled",
}
FREE["workflow_state"] += " began_us"  # of the first commit, for people


async def written(one_store: OneStore) -> None:
    """Two codes, batches of one row and of many, intents, a timer, an outcome, a state kept at a change of code."""
    async with one_store.engine() as engine:
        await engine.submit_many([(K, "add", Add(amount=n)) for n in (1, 2, 3)])
        for n in range(30):
            await engine.submit(LONG, "add", Add(amount=n + 100))
    async with one_store.engine(digest=b"2") as engine:
        first, cause = UUID(int=7 << 64 | 1 << 63), UUID(int=9)
        await engine.submit(K, "add", Add(), issuer="somebody", correlation_id=first, cause=cause)
        await engine.submit(LONG, "wake_me", Add(amount=3600))
        await engine.submit("job:2", "start", Start(text="quick"))
        await engine.wait(WorkflowKey("job", "2"))
        await engine.submit("job:3", "start", Start(text="quick"))
        await engine.wait(WorkflowKey("job", "3"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    one_store = OneStore("sqlite", tmp_path_factory.mktemp("verified"))
    asyncio.run(written(one_store))
    path = one_store.folder / "store.db"
    data = b"a page of a hundred bytes" * 4
    with closing(sqlite3.connect(path)) as db:
        digest = blake3(data).digest()
        db.execute("insert into blobs values(?, 'text/plain', ?, 1, ?)", (digest, len(data), data))
        db.execute("insert into blob_refs values(2, ?)", (digest,))
        db.execute(
            "insert into attempts(instance, n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace)"
            " select instance, n, 0, 1, 1, 2, 'failed', 'no', '', '' from log where intents <> x'' limit 1"
        )
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
        # as a disk's damage, which asks no constraint
        db.execute("pragma writable_schema = on")
        db.execute("update sqlite_master set sql = replace(sql, ' not null', '') where type = 'table'")
        db.commit()
    assert verified(path).findings == 0
    return path


def verified(path: Path) -> VerifyResult:
    async def go() -> VerifyResult:
        async with RunSource(store_url=f"sqlite:///{path}").opened() as run:
            return await verify(run)

    return asyncio.run(go())


def is_seen(path: Path) -> bool:
    try:
        return verified(path).findings > 0
    except OnexError:
        return True  # it cannot even be read: exit code 3


def turned(value: int | str | bytes, chance: Random) -> int | bytes | None:
    """The value with one byte changed; text as bytes. None: it has no byte."""
    raw = bytearray(value.to_bytes(8, "big", signed=True) if isinstance(value, int) else _bytes(value))
    if not raw:
        return None
    raw[chance.randrange(len(raw))] ^= chance.randrange(1, 256)
    return int.from_bytes(raw, "big", signed=True) if isinstance(value, int) else bytes(raw)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def flips(db: sqlite3.Connection, count: int, chance: Random) -> Iterator[str]:
    """Makes one change after the other, each committed, and takes it back when the next is asked for."""
    done = 0
    while done < count:
        table = chance.choice([*COVERED, "log", "log", "workflow_state", "snapshots"])
        column = chance.choice(sorted(COVERED[table]))
        where = (
            "fence = 0" if (table, column) == ("outbox", "due_us") else "1"
        )  # a try moved it, and nothing says from where
        names = [one[1] for one in db.execute(f"pragma table_info({table})")]
        rows = db.execute(f"select {', '.join(names)} from {table} where {where}").fetchall()
        row = dict(zip(names, chance.choice(rows), strict=True)) if rows else {}
        value = row.get(column)
        other = None if value is None else turned(value, chance)
        if other is None:
            continue
        key = " and ".join(f"{name} is ?" for name in names)
        kind = "text" if isinstance(value, str) else "blob" if isinstance(value, bytes) else "integer"
        try:
            cursor = db.execute(
                f"update {table} set {column} = cast(? as {kind}) where {key}", (other, *(row[name] for name in names))
            )
        except (sqlite3.IntegrityError, sqlite3.OperationalError):
            db.rollback()  # what a key cannot be
            continue
        assert cursor.rowcount == 1
        db.commit()
        done += 1
        yield f"{table}.{column} of {key}: {value!r} became {other!r}"
        after = [row[name] if name != column else other for name in names]
        back = " and ".join(f"cast({name} as blob) is cast(? as blob)" for name in names)
        assert db.execute(f"update {table} set {column} = ? where {back}", (value, *after)).rowcount == 1
        db.commit()


def unseen_flips(kept: Path, tmp_path: Path, count: int) -> list[str]:
    path = Path(shutil.copyfile(kept, tmp_path / "store.db"))
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return [flip for flip in flips(db, count, Random(20261129)) if not is_seen(path)]


def test_every_flipped_byte_is_found(kept: Path, tmp_path: Path) -> None:
    assert unseen_flips(kept, tmp_path, 60) == []


@pytest.mark.long
def test_a_thousand_flipped_bytes_of_a_thousand_are_found(kept: Path, tmp_path: Path) -> None:
    assert unseen_flips(kept, tmp_path, 1000) == []


def test_every_column_is_covered_or_says_why_not(kept: Path) -> None:
    with closing(sqlite3.connect(kept)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_schema where type = 'table'")]
        found = {
            (table, column)
            for table in tables
            if not table.startswith("sqlite_")
            for _, column, *_ in db.execute(f"pragma table_info({table})")
        }
    listed = {(table, column) for table, columns in COVERED.items() for column in columns}
    free = {(table, column) for table, columns in FREE.items() for column in columns.split()}
    assert (found, listed & free) == (listed | free, set())


ORPHANS = [
    ("delete from log where n = 5", "positions were given"),
    ("delete from log where n = 5", "has more or fewer rows in the log than versions"),
    ("delete from outbox; insert into outbox(n, ordinal, instance, priority, due_us, timer) values(999, 0, 1, 2, 0, '')",
     "names a row of the log that is not there"),
    ("update outbox set due_us = due_us + 1", "is due at another time than its row of the log says"),
    ("insert into outbox select n + 1, ordinal, instance, priority, due_us, timer, state, 0, 0, 0, 0, x'', '' from outbox",
     "is one of two timers of that name"),
    ("insert into snapshots select 77, 1, 1, 1, x'', 0, x'7b7d', 0", "is of an instance, or a version, that is not there"),
    ("insert into blob_refs values(999, x'00')", "is of a row of the log that is not there"),
    ("update attempts set n = 999", "is of an intent whose row of the log is not there"),
    ("update blobs set size = 3", "bytes, and is listed with 3"),
    ("insert into projection_watermarks values('late', 0, 999)", "projection 'late' has read shard 0 up to 999"),
    ("update workflow_state set terminal = 0, checksum = 0 where instance_id = '2'", "ends some instances in status"),
    ("update workflow_state set state = cast(replace(cast(state as text), '0', '1') as blob), checksum = 0",
     "the stored state, or its last batch, is not what was hashed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), ORPHANS)
def test_what_contradicts_itself_is_told_in_words(kept: Path, tmp_path: Path, change: str, told: str) -> None:
    path = Path(shutil.copyfile(kept, tmp_path / "store.db"))
    with closing(sqlite3.connect(path)) as db:
        db.executescript(change)
    said = [one.what for one in verified(path).found]
    assert any(told in one for one in said), said


def test_rows_of_an_older_onex_have_no_checksum_and_are_counted(kept: Path, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(kept, tmp_path / "store.db"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("update log set checksum = 0 where n <= 3")
        db.commit()
    result = verified(path)
    assert (result.findings, result.without) == (0, 3)


def test_a_flipped_byte_of_the_file_is_found_where_it_is_a_value_and_never_in_an_empty_page(
    kept: Path, tmp_path: Path
) -> None:
    """SQLite itself sees no byte of a value: ``integrity_check`` compares pages, and indexes with tables."""
    path = tmp_path / "store.db"
    whole, chance = kept.read_bytes(), Random(5)
    with closing(sqlite3.connect(kept)) as db:
        payloads = [bytes(one) for (one,) in db.execute("select payload from log where length(payload) > 10")]
    for payload in payloads[:6]:
        raw = bytearray(whole)
        raw[raw.find(payload) + chance.randrange(len(payload))] ^= 1
        path.write_bytes(raw)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        assert is_seen(path)


def test_the_command_says_what_to_do_next(commands: Commands, orders: Path) -> None:  # noqa: F811 - the fixtures
    told = commands("verify")
    assert (told.code, "whole" in told.out) == (0, True)
    with closing(sqlite3.connect("store.db")) as db:
        db.execute("update log set payload = cast(replace(cast(payload as text), 'tea', 'tee') as blob)")
        db.commit()
    told = commands("verify")
    assert told.code == 1
    assert "its checksum differs. Next: restore a backup (onex restore)" in told.out
    row = commands("verify", "--json").row
    assert (row["ok"], row["without_checksum"]) == (False, 0)
    assert commands("verify", "--store", "sqlite:///nowhere.db").code == 3
    assert commands("verify", "--store", "sqlite:///store.db", "--from", "x").code == 2
