"""Integrity: contradictions inside a SQLite store. Nothing is repaired, and no code of an app is run.

Replay compares bytes with hashes, but only of rows that it comes to. Here the rest is checked: that each row has the types it
was written with, that log rows form one chain per instance, and that each reference points at a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from ...kernel.action import WorkflowKey
from ...records import Damage
from ..sql_checks import (
    LOG_REFERENCES,
    NO_SUCH_INTENT,
    OUTBOX_REFERENCES,
    SNAPSHOT_REFERENCES,
    STATE_REFERENCES,
    RowCheck,
    log_end_damage,
)

_INTEGER: Final = "typeof({0}) = 'integer'"
_TEXT: Final = "typeof({0}) = 'text'"
_BLOB: Final = "typeof({0}) = 'blob'"
_ID: Final = "typeof({0}) = 'blob' and length({0}) = 16"
_HASH: Final = "typeof({0}) = 'blob' and length({0}) in (0, 32)"
_FLAG: Final = "typeof({0}) = 'integer' and {0} in (0, 1)"


def _columns(alias: str, **kinds: str) -> list[tuple[str, str]]:
    """``(condition that must hold, text that is reported when it does not)``."""
    return [
        (kind.format(f"{alias}.{name}"), f"holds a {name} of the wrong type, length or value")
        for name, kind in kinds.items()
    ]


_LOG: Final = [
    *_columns(
        "l", instance=_INTEGER, version=_INTEGER, prev=_INTEGER, action_id=_ID, kind=_TEXT, payload=_BLOB,
        payload_schema=_INTEGER, issued_us=_INTEGER, correlation=_ID, issuer=_TEXT, intents=_BLOB, status=_TEXT,
        state_hash=_HASH,
    ),
    (
        "l.cause is null or (typeof(l.cause) = 'blob' and (length(l.cause) = 16 or length(l.cause) > 32))",
        "holds a cause that is no id, and no id with an intent",
    ),
    ("typeof(l.body_hash) = 'blob' and length(l.body_hash) in (0, 16)", "holds a body_hash of the wrong type or length"),
    *LOG_REFERENCES,
]  # fmt: skip
_STATE: Final = [
    *_columns(
        "w", workflow_type=_TEXT, instance_id=_TEXT, version=_INTEGER, epoch=_INTEGER, status=_TEXT, terminal=_FLAG,
        state_schema=_INTEGER, state_hash=_HASH, position=_INTEGER, last_us=_INTEGER, failures=_INTEGER, held=_TEXT,
        lease_until_us=_INTEGER, updated_us=_INTEGER, state=_BLOB,
    ),
    ("w.lease_id is null or (typeof(w.lease_id) = 'blob' and length(w.lease_id) = 16)", "holds a lease that is not an id"),
    *STATE_REFERENCES,
]  # fmt: skip
_OUTBOX: Final = [
    *_columns(
        "o", instance=_INTEGER, priority="typeof({0}) = 'integer' and {0} between 0 and 4", due_us=_INTEGER, timer=_TEXT,
        state="{0} in ('waiting', 'held', 'dead', 'cancelled')", attempt="typeof({0}) = 'integer' and {0} >= 0", fence=_INTEGER,
        started=_FLAG, crashes="typeof({0}) = 'integer' and {0} >= 0", result=_BLOB, error=_TEXT,
    ),
    *OUTBOX_REFERENCES,
    (
        "case when typeof(o.ordinal) = 'integer' and json_valid(cast(l.intents as text))"
        " then o.ordinal < json_array_length(cast(l.intents as text))"
        " and (o.timer = '' or json_extract(cast(l.intents as text), '$[' || o.ordinal || '].name') = o.timer) end",
        NO_SUCH_INTENT,
    ),
]  # fmt: skip
_SNAPSHOT: Final = [
    *_columns(
        "s", instance=_INTEGER, version=_INTEGER, state_schema=_INTEGER, code_id=_INTEGER, state_hash=_HASH, at_us=_INTEGER,
        state=_BLOB,
    ),
    *SNAPSHOT_REFERENCES,
]  # fmt: skip
_KEY: Final = "cast(w.workflow_type as blob), cast(w.instance_id as blob)"
_CHECKS: Final = (
    RowCheck("'the row at ' || l.n || ' of the log'", _LOG,
             "from log l left join workflow_state w on w.instance = l.instance left join log p on p.n = l.prev"),
    RowCheck("'its stored row'", _STATE, "from workflow_state w left join log t on t.n = w.position"),
    RowCheck("'its intent at ' || o.n || ', ' || o.ordinal || ' of the outbox'", _OUTBOX,
             "from outbox o left join workflow_state w on w.instance = o.instance left join log l on l.n = o.n"),
    RowCheck("'its state kept at version ' || s.version", _SNAPSHOT,
             "from snapshots s left join workflow_state w on w.instance = s.instance"),
)  # fmt: skip


def damage_in(connection: sqlite3.Connection, *, pages: bool) -> list[Damage]:
    """The first hundred contradictions of each kind. ``pages``: check the file's own structure too, and indexes against tables."""
    found: list[Damage] = []
    if pages:
        lines = connection.execute("pragma integrity_check(20)").fetchall()
        found += [Damage(None, f"SQLite says: {line}") for (line,) in lines if line != "ok"]
    for check in _CHECKS:
        for workflow_type, instance_id, row, number in connection.execute(check.question(_KEY)).fetchall():
            found.append(Damage(_key(workflow_type, instance_id), check.told(row, number)))
    found += _counted(connection)
    return found


def _counted(connection: sqlite3.Connection) -> Iterator[Damage]:
    (imported,) = connection.execute("select count(*) from meta where name = 'imported'").fetchone()
    wrong = "typeof(n) <> 'integer' or typeof(fence) <> 'integer' or typeof(owner) <> 'text'"
    for (shard,) in connection.execute(f"select shard from shards where {wrong}"):  # noqa: S608 - all of it ours
        yield Damage(None, f"shard {shard} holds a position, a fence or an owner of the wrong type")
    # one statement, which sees one moment: an engine may commit meanwhile
    last, drawn = connection.execute(
        "select (select coalesce(max(n), 0) from log), (select n from shards where shard = 0)"
    ).fetchone()
    if not imported and (told := log_end_damage(0, last, drawn)):
        yield Damage(None, told)


def _key(workflow_type: bytes | None, instance_id: bytes | None) -> WorkflowKey | None:
    if not isinstance(workflow_type, bytes) or not isinstance(instance_id, bytes):
        return None
    return WorkflowKey(workflow_type.decode(errors="replace"), instance_id.decode(errors="replace"))
