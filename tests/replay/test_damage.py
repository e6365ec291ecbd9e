"""A store that was damaged says so: of which instance, in words; and its other rows are read as before."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.sqlite.read import SqliteReads
from onex.adapters.sqlite.store import SqliteStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ValidationError
from onex.ports import EnumOutboxState, Position
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, ReplayResult
from onex.testing.conformance.owner import ENV
from onex.wiring.recorded import RunSource
from tests.engine.jobs import Add, Start, Worker, registry

Value = int | float | str | bytes | None
SHORT, LONG, DONE = WorkflowKey("job", "short"), WorkflowKey("job", "long"), WorkflowKey("job", "done")
FREE = {
    "due_us",
    "attempt",
    "fence",
    "crashes",
    "error",
    "result",
    "updated_us",
    "began_us",
    "lease_until_us",
    "failures",
    "held",
    "epoch",
}
"""Columns of which only the type says whether they are right: any other value could have been written."""


async def written(path: Path) -> None:
    """An instance that ended, one with three actions and an intent, one that is longer than what is sorted at once."""
    store = await SqliteStore.open(path)
    async with await ReducerPatternEngine(store, store, registry(Worker()), SystemClock(), UuidV7(), ENV).start(
        "tester"
    ) as engine:
        await engine.submit(DONE, "start", Start(text="quick"))
        await engine.wait(DONE)
        for _ in range(300):
            await engine.submit(LONG, "add", Add())
        await engine.submit(LONG, "wake_me", Add(amount=3600))
        await engine.submit(SHORT, "add", Add(amount=3))
        await engine.submit(SHORT, "start", Start(text="slow"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "store.db"
    asyncio.run(written(path))
    with sqlite3.connect(path) as loose:  # as a disk's damage, which asks no constraint
        loose.execute("pragma writable_schema = on")
        loose.execute("update sqlite_master set sql = replace(sql, ' not null', '') where type = 'table'")
    loose.close()
    return path


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(kept, tmp_path / "store.db"))


def replayed(path: Path) -> ReplayResult:
    async def walk() -> ReplayResult:
        async with RunSource(store_url=f"sqlite:///{path}").opened() as run:
            replay = Replay(run, registry(Worker()), (), run.redacted_since, run.damaged)
            async for _ in replay.all():
                pass
            return replay.result

    return asyncio.run(walk())


def others(value: Value) -> Iterator[Value]:
    """A bit of it turned, then values of every other type."""
    if isinstance(value, int):
        yield value ^ 1
        yield value ^ 1 << 8
    elif isinstance(value, str):
        yield f"{value}x"
        yield b"\xff"
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"x"
        yield value[:-1]
    yield from (one for one in (None, "téxt", 1.5, b"\xff\x01") if type(one) is not type(value))


def cases(kept: Path, table: str, where: str) -> Iterator[tuple[str, Value]]:
    with sqlite3.connect(kept) as reading:
        found = reading.execute(f"select * from {table} where {where}")
        names = [one[0] for one in found.description]
        row = dict(zip(names, found.fetchone(), strict=True))
    reading.close()
    row.pop("workflow_key", None)
    row.pop("checksum", None)  # replay folds; onex verify makes it again (test_verify.py)
    for name, value in row.items():
        for other in others(value):
            same = other == value or (value is None and name == "cause")
            kept_as_text = isinstance(value, str) and isinstance(other, float)
            free = name in FREE and (type(other) is type(value) or kept_as_text)
            if not same and not free:
                yield name, other


def turned(kept: Path, path: Path, change: str, *values: Value) -> bool:
    shutil.copyfile(kept, path)
    with sqlite3.connect(path) as other:
        try:
            changed = other.execute(change, values).rowcount
        except sqlite3.IntegrityError:
            changed = 0  # what a key cannot be
    other.close()
    return changed > 0


ROWS = [
    pytest.param("log", "n = 2", marks=pytest.mark.long),
    pytest.param(
        "log", "n = (select position from workflow_state where instance_id = 'short')", marks=pytest.mark.long
    ),
    ("log", "instance = (select instance from workflow_state where instance_id = 'long') and version = 290"),
    pytest.param("workflow_state", "instance_id = 'short'", marks=pytest.mark.long),
    pytest.param("outbox", "timer = 'alarm'", marks=pytest.mark.long),
    ("outbox", "timer = ''"),
]


@pytest.mark.parametrize(("table", "where"), ROWS)
def test_whatever_is_turned_in_a_row_is_seen_by_replay_and_never_called_equal(
    kept: Path, path: Path, table: str, where: str
) -> None:
    unseen = []
    for name, value in cases(kept, table, where):
        if turned(kept, path, f"update {table} set {name} = ? where {where}", value):
            result = replayed(path)
            if not result.mismatches and not result.damage:
                unseen.append((name, value))
    # an intent may wait with another priority or a recorded start: nothing stored says otherwise
    assert [one for one in unseen if one[0] not in {"priority", "started"}] == []


def test_a_whole_store_says_nothing_against_itself(path: Path) -> None:
    result = replayed(path)
    assert (result.by_verdict, result.damage) == ({EnumReplayVerdict.EQUAL: 3}, [])


def test_damage_is_told_of_its_instance_and_the_others_are_equal(kept: Path, path: Path) -> None:
    assert turned(kept, path, "update log set issued_us = 'then' where n = 2")
    result = replayed(path)
    assert [(str(one.key), one.verdict) for one in result.bad] == [("job:done", EnumReplayVerdict.MISMATCH)]
    assert "wrong type" in result.bad[0].reason
    assert result.by_verdict[EnumReplayVerdict.EQUAL] == 2


def test_a_row_that_was_moved_to_another_instance_is_missed_where_it_was(kept: Path, path: Path) -> None:
    move = "update log set instance = (select instance from workflow_state where instance_id = 'short') where n = 200"
    assert turned(kept, path, move)
    assert {str(one.key) for one in replayed(path).bad} == {"job:long", "job:short"}


def test_an_index_that_does_not_match_its_table_is_damage(kept: Path, path: Path) -> None:
    """Dedup asks the index: replay alone would find every byte right."""
    with sqlite3.connect(kept) as reading:
        (action_id,) = reading.execute("select action_id from log where n = 2").fetchone()
    reading.close()
    shutil.copyfile(kept, path)
    raw = bytearray(path.read_bytes())
    first = raw.find(action_id)
    second = raw.find(action_id, first + 1)
    assert first >= 0 and second >= 0  # in the table and in the index
    raw[first] ^= 1
    path.write_bytes(raw)
    result = replayed(path)
    assert result.damage and "SQLite says" in result.damage[0]


# --- the rows beside a damaged one -----------------------------------------------------------------------------------------


def reading(path: Path, ask: Callable[[SqliteReads], object]) -> object:
    reads = SqliteReads(path)
    try:
        return ask(reads)
    finally:
        reads.close()


@pytest.mark.parametrize(
    "change", ["intents = null", "intents = 5", "action_id = 'x'", "version = 'x'", "instance = 77"]
)
def test_an_intent_whose_log_row_is_damaged_is_read_without_it_and_the_others_as_before(
    kept: Path, path: Path, change: str
) -> None:
    assert turned(kept, path, f"update log set {change} where n = (select n from outbox where timer = '')")
    rows = reading(path, lambda reads: reads.outbox(tuple(EnumOutboxState), None, None, 10))
    before = reading(kept, lambda reads: reads.outbox(tuple(EnumOutboxState), None, None, 10))
    assert isinstance(rows, list) and isinstance(before, list)
    assert [row.pointer for row in rows] == [row.pointer for row in before]
    assert [row == old for row, old in zip(rows, before, strict=True)] == [True, False]
    assert rows[1].intents == b""


def test_an_instance_whose_row_is_damaged_is_held_and_its_neighbour_is_not(kept: Path, path: Path) -> None:
    assert turned(kept, path, "update workflow_state set version = 'many' where instance_id = 'long'")
    found = reading(path, lambda reads: reads.load([LONG, SHORT]))
    assert isinstance(found, dict)
    assert found[LONG].held.startswith("damaged")
    assert found[SHORT].held == ""


def test_text_that_is_none_is_read_with_its_bytes_replaced(kept: Path, path: Path) -> None:
    assert turned(kept, path, "update log set issuer = cast(x'ff41' as text) where n = 2")
    entries = reading(path, lambda reads: reads.log(Position(0, 0), 10))
    assert isinstance(entries, list)
    assert [entry.position.n for entry in entries] == list(range(1, 11))
    assert entries[1].row.issuer == "\ufffdA"


def test_an_inbox_row_that_holds_no_bytes_reads_as_one_without_a_body(kept: Path, path: Path) -> None:
    assert turned(kept, path, "insert into inbox(body, at_us) values ('{}', 1), (5, 1), (x'7b7d', 1)")
    rows = reading(path, lambda reads: reads.inbox(0, 10))
    assert isinstance(rows, list)
    assert [row.body for row in rows] == [b"", b"", b"{}"]


def test_a_number_or_a_text_that_no_store_can_hold_is_refused_by_name(path: Path) -> None:
    with pytest.raises(ValidationError, match="64 bits"):
        reading(path, lambda reads: reads.log(Position(0, 0), 2**63))
    with pytest.raises(ValidationError, match="must be Unicode"):
        reading(path, lambda reads: reads.load([WorkflowKey("job", "\ud800")]))
