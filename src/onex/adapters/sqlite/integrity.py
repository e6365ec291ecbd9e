"""Integrity: contradictions inside a SQLite store. Nothing is repaired, and no code of an app is run.

Replay compares bytes with hashes, but only of rows that it comes to. Here the rest is checked: that each row has the types it
was written with, that log rows form one chain per instance, and that each reference points at a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ...kernel.action import WorkflowKey
from ...records import Damage
from ..checksum_pass import CHECKED, ChecksumPass
from ..sql_checks import (
    ATTEMPT_REFERENCES,
    LOG_REFERENCES,
    NO_SUCH_INTENT,
    OTHER_DUE_TIME,
    OUTBOX_REFERENCES,
    REF_REFERENCES,
    SNAPSHOT_REFERENCES,
    STATE_REFERENCES,
    TWO_KINDS,
    WATERMARKS,
    RowCheck,
    ahead,
    log_end_damage,
    two_kinds,
)
from .schema import schema_version

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
    (  # a note of a try moves the due time, and leaves a fence
        "o.fence <> 0 or o.due_us = coalesce(json_extract(cast(l.intents as text), '$[' || o.ordinal || '].due_us'), 0)",
        OTHER_DUE_TIME,
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
    RowCheck("'the try of its intent at ' || a.n || ', ' || a.ordinal", ATTEMPT_REFERENCES,
             "from attempts a left join workflow_state w on w.instance = a.instance left join log l on l.n = a.n"),
    RowCheck("'the name of a blob at ' || r.n", REF_REFERENCES,
             "from blob_refs r left join log l on l.n = r.n left join workflow_state w on w.instance = l.instance"),
)  # fmt: skip


def damage_in(connection: sqlite3.Connection, *, pages: bool) -> list[Damage]:
    """The first hundred contradictions of each kind. ``pages``: check the file's own structure too, and indexes against tables."""
    found: list[Damage] = []
    if pages:
        lines = connection.execute("pragma integrity_check(20)").fetchall()
        found += [Damage(None, f"SQLite says: {line}") for (line,) in lines if line != "ok"]
    schema = schema_version(connection)
    for check in _CHECKS:
        if schema < 2 and " attempts " in check.source:
            continue
        question = check.question(_KEY) if schema >= 3 else check.question(_KEY).replace("w.cut", "0")
        for workflow_type, instance_id, row, number in connection.execute(question).fetchall():
            found.append(Damage(_key(workflow_type, instance_id), check.told(row, number)))
    found += _counted(connection, "sum(cut)" if schema >= 3 else "0")
    return found


def checksum_damage(
    connection: sqlite3.Connection, on_rows: Callable[[int], None]
) -> tuple[int, int, Sequence[Damage]]:
    """Rows whose checksum was made again, rows that have none, and what was found. In a store of an older schema there is none."""
    done, has_checksums = ChecksumPass(on_rows), schema_version(connection) >= 3
    for table in CHECKED:
        if table.source != "blobs" and not has_checksums:
            continue
        columns = ", ".join("coalesce(cause, x'')" if name == "cause" else name for name in table.columns)
        after: Sequence[object] = table.first
        while rows := connection.execute(table.question(lambda place: "?", columns), after).fetchall():
            done.take(table, rows)
            after = table.key_of(rows[-1])
    return done.checked, done.without, [_of_instance(connection, *one) for one in done.found]


def _of_instance(connection: sqlite3.Connection, instance: int | None, what: str) -> Damage:
    by_number = f"select {_KEY} from workflow_state w where w.instance = ?"  # noqa: S608 - all of it ours
    return Damage(_key(*(connection.execute(by_number, (instance,)).fetchone() or (None, None))), what)


def _counted(connection: sqlite3.Connection, cut: str) -> Iterator[Damage]:
    (imported,) = connection.execute("select count(*) from meta where name = 'imported'").fetchone()
    wrong = "typeof(n) <> 'integer' or typeof(fence) <> 'integer' or typeof(owner) <> 'text'"
    for (shard,) in connection.execute(f"select shard from shards where {wrong}"):  # noqa: S608 - all of it ours
        yield Damage(None, f"shard {shard} holds a position, a fence or an owner of the wrong type")
    # one statement, which sees one moment: an engine may commit meanwhile
    counted = connection.execute(
        "select (select coalesce(max(n), 0) from log), (select n from shards where shard = 0), (select count(*) from log),"  # noqa: S608 - all of it ours
        f" (select coalesce({cut}, 0) from workflow_state)"
    ).fetchone()
    if not imported and (told := log_end_damage(0, *counted)):
        yield Damage(None, told)
    for workflow_type, status, version in connection.execute(TWO_KINDS):
        yield Damage(None, two_kinds(workflow_type, status, version))
    if not imported:
        for name, shard, n, end in connection.execute(WATERMARKS):
            yield Damage(None, ahead(name, shard, n, end))


def _key(workflow_type: bytes | None, instance_id: bytes | None) -> WorkflowKey | None:
    if not isinstance(workflow_type, bytes) or not isinstance(instance_id, bytes):
        return None
    return WorkflowKey(workflow_type.decode(errors="replace"), instance_id.decode(errors="replace"))
