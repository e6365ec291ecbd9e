"""Erasing one instance of a PostgreSQL store, as one transaction.

What it cannot do: a server keeps row versions until they are vacuumed, and its write-ahead log and backups for longer. The wrapped
key is in them. It opens nothing without its master key: docs/guides/encrypting-and-erasing.md says how to make that final.
"""

from __future__ import annotations

from ...codec import ErasedRows, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import ERASED
from ..erase_sql import DROP_BLOB, ERASE, INSTANCE, KEPT_PROJECTION, OWN_BLOBS
from ..retention_sql import numbered
from .link import Connection


async def erase_rows(connection: Connection, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
    """See ``KeyTables.erase``."""
    instance = await connection.fetchval(numbered(INSTANCE), *key)
    if instance is None:
        return None
    blobs = [row[0] for row in await connection.fetch(numbered(OWN_BLOBS), instance)]
    values: dict[str, object] = {
        "by": by, "at_us": at_us, "owner": f"{key[0]}:{key[1]}", "why": ERASED, "instance": instance, "type": key[0], "id": key[1],
        "kept": KEPT_PROJECTION,
    }  # fmt: skip
    intents = 0
    for sql, names in ERASE:
        status = await connection.execute(numbered(sql.format(empty="''::bytea")), *(values[name] for name in names))
        intents += int(status.rpartition(" ")[2]) if " outbox " in sql else 0
    for digest in blobs:
        named: dict[str, object] = {"digest": digest, "blob": blob_owner(digest)}
        for sql, names in DROP_BLOB:
            await connection.execute(numbered(sql), *(named[name] for name in names))
    return ErasedRows(intents, len(blobs))
