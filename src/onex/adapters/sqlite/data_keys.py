"""The table of wrapped data keys in a SQLite store: one row for each owner.

Rows are appended in the order of ``id``, so a page that is full is left as it is, and no cell is moved to another page. The
index holds owners only. So a wrapped key stands at one place of the file, and nowhere else once that place was overwritten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from ...kernel.data_key import WrappedKey

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
