"""The SQLite core when something goes wrong in the middle, and what its tables show to people who ask in SQL."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.errors import translated
from onex.adapters.store_errors import DiskFull, StoreBusy, StoreReadOnly
from onex.kernel.errors import CommitUnknown, FencedError
from onex.ports import Applied, Commit, Conflict, KeyChange, NewBlob, NewIntent, Note, Pointer, Position, Rejection
from onex.testing.conformance.owner import CODE, ENV, A, B, action, row


class Power(BaseException):
    """What the probe raises: no code expects it."""


class Desk:
    """A core and its owner's view; ``fail_at`` names the point where the next commit loses power."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fail_at = ""
        self.core = SqliteCore(path, wait_ms=50, probe=self.probe)
        self.fences = self.core.own("tester")
        self.code_id, self.env_id = self.core.intern(CODE, ENV)

    def probe(self, point: str) -> None:
        if point == self.fail_at:
            self.fail_at = ""
            raise Power(point)

    def change(self, name: str, instance: int | None = None, based_on: int = 0, size: int = 10) -> KeyChange:
        rows = (row(name, NewIntent(0, 2)),)
        state = b"s" * size
        return KeyChange(
            A, instance, based_on, rows, state, 1, b"h", "open", False, self.code_id, self.env_id
        )  # fmt: skip

    def commit(self, *changes: KeyChange) -> list[Applied | Conflict]:
        return list(self.core.commit(Commit(self.fences, changes)))

    def positions(self) -> list[int]:
        return [entry.position.n for entry in self.core.log(Position(0, 0), 100)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "store.db")
    yield made
    made.core.close()


def test_power_lost_before_the_commit_leaves_nothing(desk: Desk) -> None:
    desk.fail_at = "before_commit"
    with pytest.raises(Power):
        desk.commit(desk.change("a1"))
    assert desk.positions() == []
    assert desk.commit(desk.change("a1")) == [Applied(1, Position(0, 1))]


def test_power_lost_after_the_commit_leaves_all_of_it(desk: Desk) -> None:
    desk.fail_at = "after_commit"
    with pytest.raises(Power):
        desk.commit(desk.change("a1"))
    assert desk.commit(desk.change("a1")) == [Conflict(1, frozenset({action("a1")}), False)]
    assert desk.positions() == [1]


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_a_core_that_is_dropped_frees_the_store_to_the_next(desk: Desk, point: str) -> None:
    desk.fail_at = point
    with pytest.raises(Power):
        desk.commit(desk.change("a1"))
    desk.core.drop()
    again = Desk(desk.path)
    assert again.fences[0] == desk.fences[0] + 1
    assert len(again.positions()) == (point == "after_commit")
    again.core.close()


def test_a_core_that_is_closed_after_a_commit_that_failed_keeps_no_file_open(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    desk.fail_at = "before_commit"
    with pytest.raises(Power):
        desk.commit(desk.change("a2", 1, 1))
    desk.core.close()
    open_files = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert [one for one in open_files if one.startswith(str(desk.path))] == []


def test_a_full_disk_applies_nothing_and_passes(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    (pages,) = desk.core._connection.execute("pragma page_count").fetchone()
    desk.core._connection.execute(f"pragma max_page_count = {pages}").fetchall()
    with pytest.raises(DiskFull, match="free some space"):
        desk.commit(desk.change("a2", 1, 1, size=1_000_000))
    desk.core._connection.execute("pragma max_page_count = 1000000").fetchall()
    assert desk.positions() == [1]
    assert desk.commit(desk.change("a2", 1, 1, size=1_000_000)) == [Applied(1, Position(0, 2))]


def test_another_writer_that_stays_is_told_as_busy(desk: Desk) -> None:
    other = sqlite3.connect(desk.path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreBusy, match="held by another writer"):
        desk.commit(desk.change("a1"))
    other.execute("rollback")
    other.close()
    assert desk.commit(desk.change("a1")) == [Applied(1, Position(0, 1))]


def test_a_disk_that_fails_in_the_commit_leaves_it_unknown(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    wal = f"{desk.path}-wal"
    folder = Path("/proc/self/fd")
    (descriptor,) = [int(one.name) for one in folder.iterdir() if one.is_symlink() and str(one.readlink()) == wal]
    nowhere, real = os.open(desk.path.parent, os.O_RDONLY), os.dup(descriptor)
    os.dup2(nowhere, descriptor)  # writing to a folder fails
    try:
        with pytest.raises(CommitUnknown, match="send the same ids again"):
            desk.commit(desk.change("a2", 1, 1))
    finally:
        os.dup2(real, descriptor)
        os.close(real)
        os.close(nowhere)
    assert desk.commit(desk.change("a2", 1, 1)) == [Applied(1, Position(0, 2))]
    assert desk.positions() == [1, 2]


def test_a_fence_that_was_raised_elsewhere_stops_the_owner(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    other = sqlite3.connect(desk.path)
    other.execute("update shards set fence = fence + 1")
    other.commit()
    other.close()
    with pytest.raises(FencedError, match="another owner"):
        desk.commit(desk.change("a2", 1, 1))
    assert desk.positions() == [1]


def test_rows_added_behind_the_owners_back_are_met_as_a_conflict(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    other = sqlite3.connect(desk.path)
    other.execute("update workflow_state set version = 7 where instance = 1")
    other.commit()
    other.close()
    assert desk.commit(desk.change("a2", 1, 1)) == [Conflict(7, frozenset(), False)]


def test_positions_come_from_the_table_and_not_from_memory(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    other = sqlite3.connect(desk.path)
    other.execute("update shards set n = n + 5")
    other.commit()
    other.close()
    assert desk.commit(desk.change("a2", 1, 1)) == [Applied(1, Position(0, 7))]
    assert desk.commit(desk.change("a3", 1, 2)) == [Applied(1, Position(0, 8))]


def test_a_lease_granted_meanwhile_is_judged_in_the_transaction(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    other = sqlite3.connect(desk.path)
    other.execute("update workflow_state set lease_id = x'1234'")
    other.commit()
    other.close()
    assert desk.commit(desk.change("a2", 1, 1)) == [Conflict(1, frozenset(), True)]
    assert desk.commit(desk.change("a2", 1, 1)._replace(rows=(), failures=1)) == [Conflict(1, frozenset(), True)]
    leased = desk.change("a2", 1, 1)._replace(lease_seen=b"\x12\x34")
    assert desk.commit(leased) == [Applied(1, Position(0, 2))]
    assert desk.core.load([A])[A].lease_id == b"\x12\x34"


def test_a_connection_for_reading_is_refused_by_sqlite_itself(desk: Desk) -> None:
    reads = sqlite3.connect(f"file:{desk.path}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as raised:
        reads.execute("delete from log")
    assert isinstance(translated(raised.value, desk.path), StoreReadOnly)
    reads.close()


def test_every_pragma_that_durability_rests_on_is_set(desk: Desk) -> None:
    asked = ("journal_mode", "synchronous", "page_size", "busy_timeout")
    assert [desk.core._connection.execute(f"pragma {name}").fetchone()[0] for name in asked] == ["wal", 2, 16384, 50]


def test_the_tables_speak_json_to_people(desk: Desk) -> None:
    desk.commit(desk.change("a1")._replace(state=b'{"status":"open","total":3}'))
    desk.core.commit(
        Commit(desk.fences, (desk.change("b1")._replace(key=B, state=b"no json"),), at_us=1_700_000_000_000_000)
    )
    other = sqlite3.connect(desk.path)
    shown = other.execute(
        "select workflow_key, version, state, updated_at from workflow_state_json order by workflow_key"
    ).fetchall()
    assert json.loads(shown[0][2]) == {"status": "open", "total": 3}
    assert shown[1] == ("orders:b", 1, None, "2023-11-14T22:13:20.000Z")
    dedup = other.execute("select workflow_key, action_id, body_hash from action_dedup_log").fetchall()
    assert dedup[0] == ("orders:a", action("a1").hex(), b"body hash of a1".hex())
    other.close()


def test_blob_references_stand_with_their_rows(desk: Desk) -> None:
    change = desk.change("a1")._replace(rows=(row("a1"), row("a2")), row_blobs=((1, b"d" * 32),))
    desk.core.commit(Commit(desk.fences, (change,), (NewBlob(b"d" * 32, "text/plain", b"data"),), at_us=5))
    other = sqlite3.connect(desk.path)
    assert other.execute("select n, digest from blob_refs").fetchall() == [(2, b"d" * 32)]
    assert other.execute("select size, media_type, at_us from blobs").fetchall() == [(4, "text/plain", 5)]
    other.close()


def test_a_claim_carries_the_fence_of_its_owner(desk: Desk) -> None:
    desk.commit(desk.change("a1"))
    desk.core.commit(Commit(desk.fences, notes=(Note(Pointer(0, 1, 0), started=True),)))
    other = sqlite3.connect(desk.path)
    assert other.execute("select fence, started from outbox").fetchall() == [(desk.fences[0], 1)]
    other.close()


def test_refusals_are_counted_right_after_a_commit_that_failed(tmp_path: Path) -> None:
    core = SqliteCore(tmp_path / "store.db", rejections_kept=3)
    fences = core.own("tester")

    def refuse(*names: str, fence: int = fences[0]) -> None:
        refused = tuple(Rejection("k", action(name), "no", "", b"", at) for at, name in enumerate(names))
        core.commit(Commit({0: fence}, rejections=refused))

    refuse("1", "2")
    with pytest.raises(FencedError):
        refuse("3", "4", fence=0)
    refuse("3", "4", "5")
    assert len(core.rejections(None, None, 0, 10)) == 3
    core.commit(Commit(fences, at_us=8 * 24 * 3_600_000_000))
    assert core.rejections(None, None, 0, 10) == []
    refuse("6", "7", "8")
    assert len(core.rejections(None, None, 0, 10)) == 3
    core.close()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("select * from log where instance = ? and action_id = ?", 2),
        ("select n from log where instance = ? and version % 64 = 0 and version >= ? order by version limit 1", 2),
        ("select * from workflow_state where workflow_type = ? and instance_id = ?", 2),
        ("select timer, n from outbox where instance = ? and timer <> '' and state = 'waiting'", 1),
        ("select n from outbox where timer <> '' and state = 'waiting' and due_us < ?", 1),
        ("select * from inbox where answer is null and ticket > ? order by ticket limit ?", 2),
        ("delete from inbox where answer is not null and answered_us <= ?", 1),
        ("select id from rejections order by last_us, id limit ?", 1),
    ],
)
def test_no_frequent_question_scans_a_table(desk: Desk, statement: str, values: int) -> None:
    plan = desk.core._connection.execute(f"explain query plan {statement}", (0,) * values).fetchall()
    steps = [step[3] for step in plan]
    assert all("USING" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps
