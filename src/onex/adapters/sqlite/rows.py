"""Rows of a SQLite store as values of ``records``: the queries, the types of their columns, and how a value is built.

SQLite stores any value in any column, so damage or another program can leave values of a wrong type. Such a row is read with
empty values of the right types. It is then refused where it is used, and the other rows go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ...kernel.action import WorkflowKey
from ...ports import EnumOutboxState, LogEntry, LogRow, OutboxRow, Pointer, Position, Stored

STORED = """select workflow_type, instance_id, instance, version, epoch, status, terminal, state, state_schema,
  state_hash, code_id, position, last_us, failures, held, lease_id, lease_until_us from workflow_state"""
LOG = """select l.n, w.workflow_type, w.instance_id, l.version, l.action_id, l.kind, l.payload,
  l.issued_us, l.correlation, l.cause, l.issuer, l.body_hash, l.intents, l.status, l.payload_schema,
  l.code_id, l.env_id, l.state_hash
  from log l join workflow_state w on w.instance = l.instance"""
# Outer joins: a row that points at nothing is read too, without an intent. So it is reported and not passed over.
OUTBOX = """select o.n, o.ordinal, coalesce(w.workflow_type, '?'), coalesce(w.instance_id, o.instance), l.version,
  l.action_id, l.correlation, case when l.instance = o.instance then l.intents else x'' end, o.state, o.priority,
  o.due_us, o.attempt, o.started, o.crashes, o.timer, o.result, o.error, l.payload_schema,
  coalesce(o.started and o.fence = (select fence from shards where shard = 0), 0)
  from outbox o left join log l on l.n = o.n left join workflow_state w on w.instance = o.instance"""
# For one instance, whose key the reader has: no join, and one tuple less per row.
OWN = """select l.n, l.version, l.action_id, l.kind, l.payload, l.issued_us, l.correlation, l.cause, l.issuer,
  l.body_hash, l.intents, l.status, l.payload_schema, l.code_id, l.env_id, l.state_hash from log l"""

# The rows below are what the queries above select, in that order.
StoredColumns = tuple[str, str, int, int, int, str, int, bytes, int, bytes, int, int, int, int, str, bytes | None, int]
LogColumns = tuple[
    int, str, str, int, bytes, str, bytes, int, bytes, bytes | None, str, bytes, bytes, str, int, int, int, bytes
]
OwnColumns = tuple[int, int, bytes, str, bytes, int, bytes, bytes | None, str, bytes, bytes, str, int, int, int, bytes]
OutboxColumns = tuple[
    int, int, str, str, int, bytes, bytes, bytes, str, int, int, int, int, int, str, bytes, str, int, int
]

STORED_TYPES: Final = (str, str, int, int, int, str, int, bytes, int, bytes, int, int, int, int, str)
"""The types of a row of ``workflow_state``, up to ``held``, in the order of ``STORED``."""
OUTBOX_TYPES: Final = (
    int, int, str, str, int, bytes, bytes, bytes, str, int, int, int, int, int, str, bytes, str, int, int
)  # fmt: skip

_new = tuple.__new__


def stored_of(row: StoredColumns, timers: Mapping[str, tuple[Pointer, int]]) -> Stored:
    (workflow_type, instance_id, instance, version, epoch, status, terminal, state, state_schema, state_hash, code_id,
     position, last_us, failures, held, lease_id, lease_until_us) = row  # fmt: skip
    return Stored(
        WorkflowKey(workflow_type, instance_id), instance, version, epoch, status, bool(terminal), state, state_schema,
        state_hash, code_id, Position(0, position), last_us, failures, held, lease_id, lease_until_us, timers,
    )  # fmt: skip


def held_of(key: WorkflowKey, row: StoredColumns) -> Stored:
    """The value for a row that holds wrong types. The instance is held, so no action reaches it; its neighbours go on."""
    whole = stored_of((*typed(row[:15], STORED_TYPES), None, 0), {})  # type: ignore[arg-type]  # as many, and of those types
    return whole._replace(
        key=key, held="damaged: its stored row holds values of the wrong type; onex replay reports which"
    )


def unreadable(row: OutboxColumns) -> OutboxColumns:
    """The row with right types and without intents: whoever reads it finds no intent, and reports that."""
    read = typed(row, OUTBOX_TYPES)
    return *read[:7], b"", *read[8:]  # type: ignore[return-value]  # as many, and of those types


def entry_of(row: LogColumns) -> LogEntry:
    (n, workflow_type, instance_id, version, action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash,
     intents, status, payload_schema, code_id, env_id, state_hash) = row  # fmt: skip
    logged = LogRow(
        action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status, (), payload_schema
    )
    return LogEntry(
        Position(0, n), WorkflowKey(workflow_type, instance_id), version, logged, code_id, env_id, state_hash
    )


def own_entries(key: WorkflowKey, rows: Iterable[OwnColumns]) -> list[LogEntry]:
    # Replay reads a million of these. ``tuple.__new__`` builds what the classes' own constructors build, with fewer calls.
    return [
        _new(LogEntry, (
            _new(Position, (0, n)), key, version,
            _new(LogRow, (action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status,
                          (), payload_schema)),
            code_id, env_id, state_hash,
        ))
        for (n, version, action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status,
             payload_schema, code_id, env_id, state_hash) in rows
    ]  # fmt: skip


def outbox_row(row: OutboxColumns) -> OutboxRow:
    (n, ordinal, workflow_type, instance_id, version, action_id, correlation, intents, state, priority, due_us, attempt,
     started, crashes, timer, result, error, payload_schema, started_now) = row  # fmt: skip
    return OutboxRow(
        Pointer(0, n, ordinal), WorkflowKey(workflow_type, instance_id), version, action_id, correlation, intents,
        EnumOutboxState(state), priority, due_us, attempt, bool(started), crashes, timer, result, error, payload_schema,
        bool(started_now),
    )  # fmt: skip


def typed(row: tuple[object, ...], types: tuple[type, ...]) -> tuple[object, ...]:
    """The row, with each value of a wrong type replaced by one of the right type."""
    return tuple(value if type(value) is kind else _made(value, kind) for value, kind in zip(row, types, strict=True))


def _made(value: object, kind: type) -> object:
    if kind is int:
        return 0
    text = value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text if kind is str else text.encode()
