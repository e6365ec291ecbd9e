"""Values of one instance of a PostgreSQL store written again: encrypted, where they were plain. Rows keep places and versions."""

from __future__ import annotations

from typing import Final

from ...codec import Sealing
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ..erase_sql import INSTANCE
from ..retention_sql import numbered
from ..row_checksum import LOG_COLUMNS, STATE_COLUMNS, kept_checksum, log_checksum, state_checksum
from ..sql_rows import pointer_of
from .link import Connection
from .statements import ADD_KEY

_LOG: Final = ", ".join("coalesce(cause, ''::bytea)" if name == "cause" else name for name in LOG_COLUMNS)
_PAYLOAD, _INTENTS, _BODY, _HASH = map(LOG_COLUMNS.index, ("payload", "intents", "body_hash", "state_hash"))
_STATE, _STATE_HASH = map(STATE_COLUMNS.index, ("state", "state_hash"))
_PUT_KEY: Final = """insert into data_keys(owner, master, wrapped, plain_until, erased_us) values(?, ?, ?, ?, ?)
  on conflict(owner) do update set master = excluded.master, wrapped = excluded.wrapped, plain_until = excluded.plain_until"""


async def rewrite_rows(connection: Connection, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
    """See ``KeyTables.rewrite``."""
    instance = await connection.fetchval(numbered(INSTANCE), *key)
    await connection.execute(numbered(_PUT_KEY), *wrapped)
    for found in await connection.fetch(numbered(f"select {_LOG} from log where instance = ?"), instance):  # noqa: S608 - all ours
        row = list(found)
        row[_PAYLOAD], row[_INTENTS], row[_BODY], row[_HASH] = sealing.row(
            row[2], row[4], row[_PAYLOAD], row[_INTENTS], row[_BODY], row[_HASH]
        )
        await connection.execute(
            numbered(
                "update log set payload = ?, intents = ?, body_hash = ?, state_hash = ?, checksum = ? where n = ?"
            ),
            row[_PAYLOAD],
            row[_INTENTS],
            row[_BODY],
            row[_HASH],
            log_checksum(row),
            row[0],
        )
    columns = ", ".join(STATE_COLUMNS)
    (found,) = await connection.fetch(f"select {columns} from workflow_state where instance = $1", instance)  # noqa: S608 - all ours
    row = list(found)
    row[_STATE], row[_STATE_HASH] = sealing.state(row[3], row[_STATE], row[_STATE_HASH])
    await connection.execute(
        numbered("update workflow_state set state = ?, state_hash = ?, checksum = ? where instance = ?"),
        row[_STATE],
        row[_STATE_HASH],
        state_checksum(row),
        instance,
    )
    kept = "select version, state, state_hash from snapshots where instance = ?"
    for version, state, state_hash in await connection.fetch(numbered(kept), instance):
        state, state_hash = sealing.state(version, state, state_hash)  # noqa: PLW2901 - the same, encrypted
        await connection.execute(
            numbered("update snapshots set state = ?, state_hash = ?, checksum = ? where instance = ? and version = ?"),
            state,
            state_hash,
            kept_checksum(state),
            instance,
            version,
        )
    held = "select n, ordinal, result from outbox where instance = ?"
    for n, ordinal, result in await connection.fetch(numbered(held), instance):
        await connection.execute(
            numbered("update outbox set result = ? where n = ? and ordinal = ?"),
            sealing.result(pointer_of(n, ordinal), result),
            n,
            ordinal,
        )
    projected = "select name, version, fields from workflow_projection where workflow_type = ? and instance_id = ?"
    for name, version, fields in await connection.fetch(numbered(projected), *key):
        await connection.execute(
            numbered(
                "update workflow_projection set fields = ? where name = ? and workflow_type = ? and instance_id = ?"
            ),
            sealing.fields(name, version, fields),
            name,
            *key,
        )
    blobs = """select b.digest, b.data from blobs b
      where b.digest in (select r.digest from blob_refs r join log l on l.n = r.n where l.instance = ?)"""
    for digest, data in await connection.fetch(numbered(blobs), instance):
        made, data = sealing.blob(digest, data)  # noqa: PLW2901 - the same, encrypted
        if made is not None:
            await ADD_KEY.run(connection, [made])
            await connection.execute("update blobs set data = $1 where digest = $2", data, digest)
