"""Integrity: contradictions inside a SQLite store. Nothing is repaired, and no code of an app is run.

Replay compares bytes with hashes, but only of rows that it comes to. Here the rest is checked: that each row has the types it
was written with, that log rows form one chain per instance, and that each reference points at a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from ...kernel.action import WorkflowKey
from ...records import Damage

MOST: Final = 100

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
    ("w.instance is not null", "belongs to an instance that is not there"),
    ("l.code_id in (select id from codes)", "was made by code that is not listed"),
    ("l.env_id in (select id from envs)", "was made under an environment that is not listed"),
    (
        "case when l.prev = 0 then l.version = 1 or not exists"
        " (select 1 from log q where q.instance = l.instance and q.version = l.version - 1)"
        " else p.instance = l.instance and p.version = l.version - 1 and p.n < l.n end",
        "does not follow the row of its instance that it names",
    ),
]  # fmt: skip
_STATE: Final = [
    *_columns(
        "w", workflow_type=_TEXT, instance_id=_TEXT, version=_INTEGER, epoch=_INTEGER, status=_TEXT, terminal=_FLAG,
        state_schema=_INTEGER, state_hash=_HASH, position=_INTEGER, last_us=_INTEGER, failures=_INTEGER, held=_TEXT,
        lease_until_us=_INTEGER, updated_us=_INTEGER, state=_BLOB,
    ),
    ("w.lease_id is null or (typeof(w.lease_id) = 'blob' and length(w.lease_id) = 16)", "holds a lease that is not an id"),
    ("w.code_id in (select id from codes)", "was made by code that is not listed"),
    ("w.version = 0 or (t.instance = w.instance and t.version = w.version)", "names a last row of another instance or version"),
]  # fmt: skip
_OUTBOX: Final = [
    *_columns(
        "o", instance=_INTEGER, priority="typeof({0}) = 'integer' and {0} between 0 and 4", due_us=_INTEGER, timer=_TEXT,
        state="{0} in ('waiting', 'held', 'dead', 'cancelled')", attempt="typeof({0}) = 'integer' and {0} >= 0", fence=_INTEGER,
        started=_FLAG, crashes="typeof({0}) = 'integer' and {0} >= 0", result=_BLOB, error=_TEXT,
    ),
    ("l.n is not null", "names a row of the log that is not there"),
    ("l.instance = o.instance", "is of another instance than the row of the log that it names"),
    (
        "case when typeof(o.ordinal) = 'integer' and json_valid(cast(l.intents as text))"
        " then o.ordinal < json_array_length(cast(l.intents as text))"
        " and (o.timer = '' or json_extract(cast(l.intents as text), '$[' || o.ordinal || '].name') = o.timer) end",
        "names an intent that its row of the log does not have",
    ),
]  # fmt: skip
_SNAPSHOT: Final = [
    *_columns(
        "s", instance=_INTEGER, version=_INTEGER, state_schema=_INTEGER, code_id=_INTEGER, state_hash=_HASH, at_us=_INTEGER,
        state=_BLOB,
    ),
    ("w.instance is not null and s.version <= w.version", "is of an instance, or a version, that is not there"),
]  # fmt: skip
_KEY: Final = "cast(w.workflow_type as blob), cast(w.instance_id as blob)"
_CHECKS: Final = (
    ("'the row at ' || l.n || ' of the log'", _LOG,
     "from log l left join workflow_state w on w.instance = l.instance left join log p on p.n = l.prev"),
    ("'its stored row'", _STATE, "from workflow_state w left join log t on t.n = w.position"),
    ("'its intent at ' || o.n || ', ' || o.ordinal || ' of the outbox'", _OUTBOX,
     "from outbox o left join workflow_state w on w.instance = o.instance left join log l on l.n = o.n"),
    ("'its state kept at version ' || s.version", _SNAPSHOT,
     "from snapshots s left join workflow_state w on w.instance = s.instance"),
)  # fmt: skip


def damage_in(connection: sqlite3.Connection, *, pages: bool) -> list[Damage]:
    """The first hundred contradictions of each kind. ``pages``: check the file's own structure too, and indexes against tables."""
    found: list[Damage] = []
    if pages:
        lines = connection.execute("pragma integrity_check(20)").fetchall()
        found += [Damage(None, f"SQLite says: {line}") for (line,) in lines if line != "ok"]
    for what, wanted, source in _CHECKS:
        found += _asked(connection, what, wanted, source)
    found += _counted(connection)
    return found


def _asked(
    connection: sqlite3.Connection, what: str, wanted: Sequence[tuple[str, str]], source: str
) -> Iterator[Damage]:
    why = " ".join(f"when ({holds}) is not true then {number}" for number, (holds, _) in enumerate(wanted))
    rows = connection.execute(
        f"select * from (select {_KEY}, {what}, case {why} else -1 end as why {source}) where why >= 0 limit {MOST}"  # noqa: S608 - all of it ours
    )
    for workflow_type, instance_id, row, number in rows.fetchall():
        yield Damage(_key(workflow_type, instance_id), f"{row} {wanted[number][1]}")


def _counted(connection: sqlite3.Connection) -> Iterator[Damage]:
    (imported,) = connection.execute("select count(*) from meta where name = 'imported'").fetchone()
    (last,) = connection.execute("select coalesce(max(n), 0) from log").fetchone()
    (drawn,) = connection.execute("select n from shards where shard = 0").fetchone() or (None,)
    wrong = "typeof(n) <> 'integer' or typeof(fence) <> 'integer' or typeof(owner) <> 'text'"
    for (shard,) in connection.execute(f"select shard from shards where {wrong}"):  # noqa: S608 - all of it ours
        yield Damage(None, f"shard {shard} holds a position, a fence or an owner of the wrong type")
    if not imported and drawn != last:
        yield Damage(None, f"the log ends at {last}, and {drawn} positions were given")


def _key(workflow_type: bytes | None, instance_id: bytes | None) -> WorkflowKey | None:
    if not isinstance(workflow_type, bytes) or not isinstance(instance_id, bytes):
        return None
    return WorkflowKey(workflow_type.decode(errors="replace"), instance_id.decode(errors="replace"))
