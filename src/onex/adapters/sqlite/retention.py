"""Cutting the log of a SQLite store, inside a transaction that ``core`` opens. What is asked and removed: ``retention_sql``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ...ports import Cut
from ..retention_sql import CUTTABLE, DROP_BLOB, KEEP_CURRENT, REMOVE, UNNAMED
from ..row_checksum import kept_checksum
from .commit import sweep

_CUTTABLE: Final = CUTTABLE.format(empty="x''")
_KEEP_CURRENT: Final = KEEP_CURRENT.format(no="0")


def cut(cursor: sqlite3.Cursor, cuts: Sequence[Cut], at_us: int, *, dry: bool) -> list[bool]:
    return [_cut(cursor, one, at_us, dry=dry) for one in cuts]


def _cut(cursor: sqlite3.Cursor, one: Cut, at_us: int, *, dry: bool) -> bool:
    found = cursor.execute(_CUTTABLE, (one.to, *one.key, one.was)).fetchone()
    if found is None or dry:
        return found is not None
    instance, n, version, state = found
    if version == one.to:
        cursor.execute(_KEEP_CURRENT, (at_us, kept_checksum(state), instance))
    values = {"instance": instance, "to": one.to, "n": n}
    for statement, names in REMOVE:
        cursor.execute(statement, [values[name] for name in names])
    return True


def unnamed_blobs(cursor: sqlite3.Cursor, after: bytes, before_us: int, limit: int) -> list[tuple[bytes, int]]:
    return cursor.execute(UNNAMED, (after, before_us, limit)).fetchall()


def drop_blobs(cursor: sqlite3.Cursor, digests: Sequence[bytes]) -> int:
    cursor.executemany(DROP_BLOB, [(digest,) for digest in digests])
    return cursor.rowcount


def expire(cursor: sqlite3.Cursor, at_us: int) -> int:
    """How many rows were removed."""
    before = cursor.connection.total_changes
    sweep(cursor, at_us)
    return cursor.connection.total_changes - before
