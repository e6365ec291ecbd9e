"""Where one code ends and the next begins, and what of a stored history may change by a byte without being seen."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from onex.adapters.sqlite.store import SqliteStore
from onex.engine.fold import SNAPSHOT_EVERY
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import WorkflowKey
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, Segment
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Start, Worker, registry

EQUAL, MISMATCH = EnumReplayVerdict.EQUAL, EnumReplayVerdict.MISMATCH
OTHER_EQUAL, NOT_AT_HAND = EnumReplayVerdict.OTHER_CODE_EQUAL, EnumReplayVerdict.CODE_NOT_AT_HAND
K = WorkflowKey("job", "1")
NOBODY = ReducerRegistry()
Value = int | str | bytes | None


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def replayed(store: Path, now: bytes = b"1", *older: bytes, registry_: ReducerRegistry | None = None) -> list[Segment]:
    """Every segment of the store, under the code ``now`` and what stands beside it."""

    async def go() -> list[Segment]:
        reader = await SqliteStore.open(store, read_only=True)
        try:
            before = [workflow for digest in older for workflow in registry(Worker(), digest).workflows]
            replay = Replay(reader, registry(Worker(), now) if registry_ is None else registry_, before)
            return [segment async for segment in replay.all()]
        finally:
            await reader.close()

    return asyncio.run(go())


def told(segments: list[Segment]) -> list[tuple[int, int, EnumReplayVerdict]]:
    return [(segment.first, segment.last, segment.verdict) for segment in segments]


@contextmanager
def changing(store: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(store)) as db:
        yield db
        db.commit()


@pytest.fixture
def one_store(tmp_path: Path) -> OneStore:
    return OneStore("sqlite", tmp_path)


@pytest.fixture
def three_codes(one_store: OneStore) -> Path:
    """Versions 1 to 3 under code 1, 4 and 5 under code 2, 6 under code 1 again."""

    async def go() -> None:
        for digest, amounts in ((b"1", (1, 2, 3)), (b"2", (4, 5)), (b"1", (6,))):
            async with one_store.engine(digest=digest) as engine:
                await engine.submit_many([(K, "add", Add(amount=amount)) for amount in amounts])

    run(go())
    return one_store.folder / "store.db"


# --- code that changes in the middle ----------------------------------------------------------------------------------


def test_each_segment_is_checked_under_its_own_code(three_codes: Path) -> None:
    assert told(replayed(three_codes, b"1", b"2")) == [(1, 3, EQUAL), (4, 5, EQUAL), (6, 6, EQUAL)]
    assert told(replayed(three_codes, b"1")) == [(1, 3, EQUAL), (4, 5, OTHER_EQUAL), (6, 6, EQUAL)]
    assert told(replayed(three_codes, b"3")) == [(1, 3, OTHER_EQUAL), (4, 5, OTHER_EQUAL), (6, 6, OTHER_EQUAL)]
    assert told(replayed(three_codes, registry_=NOBODY)) == [
        (1, 3, NOT_AT_HAND),
        (4, 5, NOT_AT_HAND),
        (6, 6, NOT_AT_HAND),
    ]


def test_the_same_code_in_another_environment_is_one_segment(one_store: OneStore) -> None:
    async def go() -> None:
        for _ in range(2):
            async with one_store.engine() as engine:
                await engine.submit(K, "add", Add())

    run(go())
    store = one_store.folder / "store.db"
    with changing(store) as db:
        db.execute("insert into envs select id + 1, 'newer', pydantic, python, tzdata, git_revision from envs")
        db.execute("update log set env_id = 2 where version = 2")
    assert told(replayed(store)) == [(1, 2, EQUAL)]


def test_without_the_state_at_the_change_neither_side_is_proved(three_codes: Path) -> None:
    with changing(three_codes) as db:
        db.execute("delete from snapshots where version = 3")
    segments = replayed(three_codes, b"1", b"2")
    assert told(segments) == [(1, 3, MISMATCH), (4, 5, MISMATCH), (6, 6, EQUAL)]
    assert "no state is kept at version 3" in segments[0].reason
    assert "no state is kept at version 3" in segments[1].reason


@pytest.mark.parametrize("older", [(b"2",), ()], ids=["its code at hand", "its code gone"])
def test_a_damaged_state_at_the_change_is_seen_from_both_sides(three_codes: Path, older: tuple[bytes, ...]) -> None:
    with changing(three_codes) as db:
        db.execute("update snapshots set state = cast(replace(cast(state as text), '15', '16') as blob)")
    assert told(replayed(three_codes, b"1", *older)) == [(1, 3, EQUAL), (4, 5, MISMATCH), (6, 6, MISMATCH)]


def test_a_damaged_state_is_seen_though_no_code_is_at_hand(three_codes: Path) -> None:
    with changing(three_codes) as db:
        db.execute(
            "update snapshots set state = cast(replace(cast(state as text), '6', '7') as blob) where version = 3"
        )
        db.execute("update workflow_state set state = cast(replace(cast(state as text), '21', '22') as blob)")
    segments = replayed(three_codes, registry_=NOBODY)
    assert told(segments) == [(1, 3, MISMATCH), (4, 5, NOT_AT_HAND), (6, 6, MISMATCH)]
    assert "not what was hashed" in segments[0].reason


@pytest.mark.parametrize("column", ["state_hash", "code_id", "state_schema"])
def test_a_snapshot_that_names_another_origin_is_seen(three_codes: Path, column: str) -> None:
    with changing(three_codes) as db:
        flip(db, "snapshots", column, "version = 3", 1)
    assert told(replayed(three_codes, b"1", b"2"))[0] == (1, 3, MISMATCH)


def test_a_snapshot_nothing_starts_from_is_held_against_the_log(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            for _ in range(2):
                await engine.submit_many([(K, "add", Add())] * (SNAPSHOT_EVERY // 2 + 10))

    run(go())
    store = one_store.folder / "store.db"
    assert told(replayed(store)) == [(1, SNAPSHOT_EVERY + 20, EQUAL)]
    with changing(store) as db:
        changed = db.execute("update snapshots set state = cast(replace(cast(state as text), '10', '11') as blob)")
        assert changed.rowcount == 1
    assert told(replayed(store)) == [(1, SNAPSHOT_EVERY + 20, MISMATCH)]


# --- history that is cut, moved or relabelled -------------------------------------------------------------------------


def test_a_log_that_ends_before_its_state_is_a_mismatch(three_codes: Path) -> None:
    with changing(three_codes) as db:
        db.execute("delete from log where version = 6")
    assert [segment.verdict for segment in replayed(three_codes, b"1", b"2")][-1] is MISMATCH


def test_a_state_without_any_log_is_a_mismatch(three_codes: Path) -> None:
    with changing(three_codes) as db:
        db.execute("delete from log")
    assert told(replayed(three_codes)) == [(1, 6, MISMATCH)]


def test_one_damaged_instance_does_not_hide_the_verdicts_of_others(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit_many([(f"job:{n}", "add", Add()) for n in range(1, 4) for _ in range(3)])

    run(go())
    store = one_store.folder / "store.db"
    with changing(store) as db:
        db.execute("delete from log where version = 2 and instance = 2")
    assert [segment.verdict for segment in replayed(store)] == [EQUAL, MISMATCH, EQUAL]


def test_histories_that_were_exchanged_are_seen_though_their_reducer_never_asks_for_the_key(
    one_store: OneStore,
) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit_many([("job:1", "add", Add()), ("job:2", "add", Add())])

    run(go())
    store = one_store.folder / "store.db"
    with changing(store) as db:
        db.execute("update workflow_state set instance_id = 'x' where instance = 1")
        db.execute("update workflow_state set instance_id = '1' where instance = 2")
        db.execute("update workflow_state set instance_id = '2' where instance = 1")
    assert [segment.verdict for segment in replayed(store)] == [MISMATCH, MISMATCH]


def test_rows_of_an_absent_code_are_sealed_at_the_end_of_their_segment_only(one_store: OneStore) -> None:
    """What lies before the last batch can be proved by folding alone: it is unverified, and never called equal."""

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add(amount=1))
            await engine.submit(K, "add", Add(amount=2))

    run(go())
    store = one_store.folder / "store.db"
    with changing(store) as db:
        flip(db, "log", "payload", "version = 1", 1)
    assert told(replayed(store, registry_=NOBODY)) == [(1, 2, NOT_AT_HAND)]
    with changing(store) as db:
        flip(db, "log", "payload", "version = 2", 1)
    assert told(replayed(store, registry_=NOBODY)) == [(1, 2, MISMATCH)]


# --- one byte of one row ----------------------------------------------------------------------------------------------


class Flipped(NamedTuple):
    """What a replay says of a store after one bit of one column was turned."""

    verdicts: frozenset[EnumReplayVerdict]
    error: str = ""


CHECKSUM = {"checksum": "replay folds instead; onex verify makes it again (test_verify.py)"}
UNSEEN = {
    "log": CHECKSUM
    | {
        "prev": "an index: histories longer than 256 rows are walked along it, and a break is then an error",
        "env_id": "recorded and named, and no bytes depend on it (promise 30)",
    },
    "workflow_state": CHECKSUM
    | {
        "epoch": "counts commands under a lease, and the log does not name leases",
        "failures": "of refused actions, which leave no log row",
        "held": "of refused actions, which leave no log row",
        "lease_id": "granted, not applied",
        "lease_until_us": "granted, not applied",
        "updated_us": "of the commit, for people",
        "began_us": "of the first commit, for people",
    },
    "snapshots": CHECKSUM | {"at_us": "of the commit, for people"},
    "codes": {
        "contract_version": "a label: the digest is taken over the contract, its version included",
    },
}
FAR = 64
"""Integers are turned at this bit, so that no key collides with a neighbour."""


def flip(db: sqlite3.Connection, table: str, column: str, where: str, bit: int) -> bool:
    """Turns one bit of a value in the middle of it. False when there is nothing to turn."""
    ((rowid, value, kind),) = db.execute(f"select rowid, {column}, typeof({column}) from {table} where {where}")
    turned: Value
    if column == "terminal" and value:
        bit = 1  # any number but 0 is true
    if kind == "integer":
        turned = value ^ (FAR if bit == 1 and column in ("n", "instance", "version", "id") else bit)
        db.execute(f"update {table} set {column} = ? where rowid = ?", (turned, rowid))
        return True
    data = bytearray(value.encode() if kind == "text" else value or b"")
    if not data:
        return False
    data[len(data) // 2] ^= bit
    db.execute(f"update {table} set {column} = cast(? as {kind}) where rowid = ?", (bytes(data), rowid))
    return True


def after_flip(pristine: Path, table: str, column: str, where: str, bit: int) -> Flipped | None:
    place = pristine.with_name("flipped")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    store = place / "store.db"
    shutil.copyfile(pristine, store)
    with changing(store) as db:
        if not flip(db, table, column, where, bit):
            return None
    try:
        return Flipped(frozenset(segment.verdict for segment in replayed(store, b"2", b"1")))
    except Exception as error:
        return Flipped(frozenset(), f"{type(error).__module__}.{type(error).__name__}")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two codes, batches of one row and of several, intents, an outcome with a cause, issuer and correlation."""
    one_store = OneStore("sqlite", tmp_path_factory.mktemp("pristine"))

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit_many([(K, "add", Add(amount=n)) for n in (1, 2, 3)])
        async with one_store.engine(digest=b"2") as engine:
            first, cause = UUID(int=7 << 64 | 1 << 63), UUID(int=9)
            await engine.submit(K, "add", Add(), issuer="somebody", correlation_id=first, cause=cause)
            await engine.submit(K, "start", Start(text="hello"))
            await engine.wait(K)

    run(go())
    store = one_store.folder / "store.db"
    assert told(replayed(store, b"2", b"1")) == [(1, 3, EQUAL), (4, 6, EQUAL)]
    with changing(store) as db:  # everything into the file that is copied
        db.execute("update workflow_state set held = 'why', lease_id = x'0102'")
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
    return store


ROWS = {
    "log": [f"version = {version}" for version in range(1, 7)],
    "workflow_state": ["instance = 1"],
    "snapshots": ["version = 3"],
    "codes": ["id = 1", "id = 2"],
}


def columns(store: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(store)) as db:
        return [name for _, name, *_ in db.execute(f"pragma table_info({table})")]


@pytest.mark.parametrize("table", ROWS)
def test_one_turned_bit_anywhere_is_seen_but_where_no_replay_depends_on_it(pristine: Path, table: str) -> None:
    """Seen: a verdict that is not ``equal`` alone, or a named error that refuses the store."""
    missed: set[str] = set()
    for column in columns(pristine, table):
        for where in ROWS[table]:
            for bit in (1, 0x80):
                said = after_flip(pristine, table, column, where, bit)
                if said is None:
                    continue
                assert not said.error or said.error.startswith("onex."), f"{table}.{column}: {said.error}"
                if said.verdicts == {EQUAL}:
                    missed.add(column)
    assert missed == set(UNSEEN[table])


@pytest.mark.parametrize(
    "column",
    ["action_id", "kind", "payload", "payload_schema", "issued_us", "correlation", "cause", "issuer", "body_hash",
     "intents", "status", "state_hash"],
)  # fmt: skip
def test_what_a_row_says_is_sealed_by_its_hash(pristine: Path, column: str) -> None:
    """Not merely noticed: each of these is a MISMATCH, in every row that has a value there."""
    said = [after_flip(pristine, "log", column, where, 1) for where in ROWS["log"]]
    assert {verdict for one in said if one for verdict in one.verdicts} >= {MISMATCH}
    assert all(MISMATCH in one.verdicts for one in said if one)
