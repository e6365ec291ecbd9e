"""Cutting the log of a PostgreSQL store, inside a transaction that ``writer`` opens. What is asked and removed: ``retention_sql``.

The row of the instance is locked first, so its owner waits for the end of a cut, or the cut for the end of the owner's commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...ports import Cut
from ..retention_sql import CUTTABLE, DROP_BLOB, KEEP_CURRENT, REMOVE, UNNAMED, numbered
from ..row_checksum import kept_checksum
from .commit import sweep
from .link import Connection

_CUTTABLE: Final = numbered(CUTTABLE.format(empty="''::bytea"))
_KEEP_CURRENT: Final = numbered(KEEP_CURRENT.format(no="false"))
_LOCK: Final = "select 1 from workflow_state where workflow_type = $1 and instance_id = $2 for update"
_EXPIRING: Final = (
    "select (select count(*) from inbox) + (select count(*) from attempts) + (select count(*) from rejections)"
)


async def cut(connection: Connection, cuts: Sequence[Cut], at_us: int, *, dry: bool) -> list[bool]:
    # in one order everywhere: two that cut the same ones wait for each other, and not in a circle
    gone = [False] * len(cuts)
    for place in sorted(range(len(cuts)), key=cuts.__getitem__):
        gone[place] = await _cut(connection, cuts[place], at_us, dry=dry)
    return gone


async def _cut(connection: Connection, one: Cut, at_us: int, *, dry: bool) -> bool:
    if not dry:
        await connection.execute(_LOCK, *one.key)
    found = await connection.fetchrow(_CUTTABLE, one.to, *one.key, one.was)
    if found is None or dry:
        return found is not None
    instance, n, version, state = found
    if version == one.to:
        await connection.execute(_KEEP_CURRENT, at_us, kept_checksum(state), instance)
    values = {"instance": instance, "to": one.to, "n": n}
    for statement, names in REMOVE:
        await connection.execute(numbered(statement), *(values[name] for name in names))
    return True


async def unnamed_blobs(connection: Connection, after: bytes, before_us: int, limit: int) -> list[tuple[bytes, int]]:
    return [(row[0], row[1]) for row in await connection.fetch(numbered(UNNAMED), after, before_us, limit)]


async def drop_blobs(connection: Connection, digests: Sequence[bytes]) -> int:
    gone = 0
    for digest in sorted(digests):
        gone += int((await connection.execute(numbered(DROP_BLOB), digest)).rpartition(" ")[2])
    return gone


async def expire(connection: Connection, at_us: int) -> int:
    """How many rows were removed."""
    before: int = await connection.fetchval(_EXPIRING)
    await sweep(connection, at_us)
    return before - int(await connection.fetchval(_EXPIRING))
