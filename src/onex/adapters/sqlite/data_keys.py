"""The table of wrapped data keys in a SQLite store: one row for each owner.

Rows are appended in the order of ``id``, so a page that is full is left as it is, and no cell is moved to another page. The
index holds owners only. So a wrapped key stands at one place of the file, and nowhere else once that place was overwritten.

A connection that writes to an encrypted store overwrites what it deletes (``secure_delete``). After an erasure the WAL, which may
hold the page as it was, is copied into the file and cut to nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from ...codec import ErasedRows, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import ERASED, WrappedKey
from ..erase_sql import DROP_BLOB, ERASE, INSTANCE, KEPT_PROJECTION, OWN_BLOBS

TABLE: Final = """
create table data_keys(
  id integer primary key, owner text not null unique, master text not null, wrapped blob not null,
  plain_until integer not null, erased_us integer not null);
"""
_ADD: Final = "into data_keys(owner, master, wrapped, plain_until, erased_us) values(?, ?, ?, ?, ?)"
_THERE: Final = "select 1 from sqlite_master where type = 'table' and name = 'data_keys'"
_READ: Final = """select owner, master, wrapped, plain_until, erased_us from data_keys
  where owner in (select value from json_each(?))"""


def keys_of(connection: sqlite3.Connection, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
    """Nothing in a store of an older schema, which a reader leaves as it is."""
    if connection.execute(_THERE).fetchone() is None:
        return {}
    return {row[0]: WrappedKey(*row) for row in connection.execute(_READ, (json.dumps(list(owners)),))}


def write_keys(cursor: sqlite3.Cursor, keys: Sequence[WrappedKey]) -> None:
    """Of owners that have none. Raises sqlite3.IntegrityError for one that has: what was encrypted with it would be lost."""
    cursor.executemany(f"insert {_ADD}", keys)


def add_keys(cursor: sqlite3.Cursor, keys: Sequence[WrappedKey]) -> None:
    """An owner that has a key keeps it."""
    cursor.executemany(f"insert or ignore {_ADD}", keys)


def keys_under_others(connection: sqlite3.Connection, master: str, after: str, limit: int) -> list[WrappedKey]:
    found = """select owner, master, wrapped, plain_until, erased_us from data_keys
      where master <> ? and erased_us = 0 and owner > ? order by owner limit ?"""
    return [WrappedKey(*row) for row in connection.execute(found, (master, after, limit))]


def rewrap(cursor: sqlite3.Cursor, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
    cursor.executemany(
        "update data_keys set master = ?, wrapped = ? where owner = ? and wrapped = ?",
        [(new.master, new.wrapped, new.owner, old.wrapped) for old, new in pairs],
    )
    return cursor.rowcount


def overwrite_deleted(connection: sqlite3.Connection) -> None:
    """From now on, where the store has keys."""
    if connection.execute("select 1 from data_keys limit 1").fetchone() is not None:
        connection.execute("pragma secure_delete = on").fetchall()


def erase_rows(cursor: sqlite3.Cursor, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
    """See ``KeyTables.erase``."""
    found = cursor.execute(INSTANCE, key).fetchone()
    if found is None:
        return None
    blobs = [digest for (digest,) in cursor.execute(OWN_BLOBS, found).fetchall()]
    values: dict[str, object] = {
        "by": by, "at_us": at_us, "owner": f"{key[0]}:{key[1]}", "why": ERASED, "instance": found[0], "type": key[0], "id": key[1],
        "kept": KEPT_PROJECTION,
    }  # fmt: skip
    intents = 0
    for sql, names in ERASE:
        cursor.execute(sql.format(empty="x''"), [values[name] for name in names])
        intents += cursor.rowcount if " outbox " in sql else 0
    for digest in blobs:
        named: dict[str, object] = {"digest": digest, "blob": blob_owner(digest)}
        for sql, names in DROP_BLOB:
            cursor.execute(sql, [named[name] for name in names])
    return ErasedRows(intents, len(blobs))
