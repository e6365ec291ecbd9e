"""A store that somebody took away, while those who have it open go on: nobody begins another one under its name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.errors import StoreReplaced


@pytest.mark.parametrize("folded", [False, True], ids=["what it holds in its WAL", "an empty WAL"])
def test_no_store_is_begun_beside_the_wal_of_one_that_was_taken_away(folded: bool, tmp_path: Path) -> None:
    """Its readers and writers share WAL and index by name: the new file's pages would be written into the old one."""
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    client = SqliteCore(path)
    client.send_all([b"{}"], 1)
    if folded:
        other = sqlite3.connect(path)
        other.execute("pragma wal_checkpoint(truncate)").fetchall()
        other.close()
    path.rename(away)
    with pytest.raises(StoreReplaced, match=r"store\.db is gone, and its store\.db-(wal|shm) is still there"):
        SqliteCore(path)
    assert not path.exists()
    away.rename(path)
    again = SqliteCore(path)
    assert again.own("me") and [row.body for row in again.inbox(0, 9)] == [b"{}"]
    assert sqlite3.connect(path).execute("pragma integrity_check").fetchall() == [("ok",)]
    again.close()
    client.close()


@pytest.mark.parametrize("left", ["-wal", "-shm"])
def test_who_removed_a_store_is_told_what_to_move_away_to_begin_anew(left: str, tmp_path: Path) -> None:
    path, beside = tmp_path / "store.db", tmp_path / f"store.db{left}"
    beside.write_bytes(b"of another")
    with pytest.raises(StoreReplaced, match=f"move store.db{left} away"):
        SqliteCore(path)
    beside.unlink()
    SqliteCore(path).close()
    assert path.exists()
