"""Values of one instance of a SQLite store written again: encrypted, where they were plain. Rows keep places and versions."""

from __future__ import annotations

import sqlite3
from typing import Final

from ...codec import Sealing
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ..erase_sql import INSTANCE
from ..row_checksum import LOG_COLUMNS, STATE_COLUMNS, kept_checksum, log_checksum, state_checksum
from ..sql_rows import pointer_of
from .data_keys import add_keys

_LOG: Final = ", ".join("coalesce(cause, x'')" if name == "cause" else name for name in LOG_COLUMNS)
_PAYLOAD, _INTENTS, _BODY, _HASH = map(LOG_COLUMNS.index, ("payload", "intents", "body_hash", "state_hash"))
_STATE, _STATE_HASH = map(STATE_COLUMNS.index, ("state", "state_hash"))
_PUT_KEY: Final = """insert into data_keys(owner, master, wrapped, plain_until, erased_us) values(?, ?, ?, ?, ?)
  on conflict(owner) do update set master = excluded.master, wrapped = excluded.wrapped, plain_until = excluded.plain_until"""


def rewrite_rows(cursor: sqlite3.Cursor, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
    """See ``KeyTables.rewrite``."""
    (instance,) = cursor.execute(INSTANCE, key).fetchone()
    cursor.execute(_PUT_KEY, wrapped)
    for found in cursor.execute(f"select {_LOG} from log where instance = ?", (instance,)).fetchall():  # noqa: S608 - all ours
        row = list(found)
        row[_PAYLOAD], row[_INTENTS], row[_BODY], row[_HASH] = sealing.row(
            row[2], row[4], row[_PAYLOAD], row[_INTENTS], row[_BODY], row[_HASH]
        )
        cursor.execute(
            "update log set payload = ?, intents = ?, body_hash = ?, state_hash = ?, checksum = ? where n = ?",
            (row[_PAYLOAD], row[_INTENTS], row[_BODY], row[_HASH], log_checksum(row), row[0]),
        )
    columns = ", ".join(STATE_COLUMNS)
    row = list(cursor.execute(f"select {columns} from workflow_state where instance = ?", (instance,)).fetchone())  # noqa: S608 - all ours
    row[_STATE], row[_STATE_HASH] = sealing.state(row[3], row[_STATE], row[_STATE_HASH])
    cursor.execute(
        "update workflow_state set state = ?, state_hash = ?, checksum = ? where instance = ?",
        (row[_STATE], row[_STATE_HASH], state_checksum(row), instance),
    )
    kept = "select version, state, state_hash from snapshots where instance = ?"
    for version, state, state_hash in cursor.execute(kept, (instance,)).fetchall():
        state, state_hash = sealing.state(version, state, state_hash)  # noqa: PLW2901 - the same, encrypted
        cursor.execute(
            "update snapshots set state = ?, state_hash = ?, checksum = ? where instance = ? and version = ?",
            (state, state_hash, kept_checksum(state), instance, version),
        )
    held = "select n, ordinal, result from outbox where instance = ?"
    for n, ordinal, result in cursor.execute(held, (instance,)).fetchall():
        cursor.execute(
            "update outbox set result = ? where n = ? and ordinal = ?",
            (sealing.result(pointer_of(n, ordinal), result), n, ordinal),
        )
    projected = "select name, version, fields from workflow_projection where workflow_type = ? and instance_id = ?"
    for name, version, fields in cursor.execute(projected, key).fetchall():
        cursor.execute(
            "update workflow_projection set fields = ? where name = ? and workflow_type = ? and instance_id = ?",
            (sealing.fields(name, version, fields), name, *key),
        )
    blobs = """select b.digest, b.data from blobs b
      where b.digest in (select r.digest from blob_refs r join log l on l.n = r.n where l.instance = ?)"""
    for digest, data in cursor.execute(blobs, (instance,)).fetchall():
        made, data = sealing.blob(digest, data)  # noqa: PLW2901 - the same, encrypted
        if made is not None:
            add_keys(cursor, [made])
            cursor.execute("update blobs set data = ? where digest = ?", (data, digest))
