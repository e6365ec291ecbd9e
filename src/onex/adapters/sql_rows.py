"""Rows of a database as values of ``records``: the queries that every SQL store shares, and how a value is built of a row.

In the tables a position is one number, the *place*: ``shard * 2**48 + n``. So its order is that of (shard, n), one column is the
key, and a join compares one number. In a store with one shard it is ``n`` itself. It stands in the columns ``n``, ``prev`` and
``position``; ``place_of`` and ``position_of`` are the only code that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..kernel.action import WorkflowKey
from ..ports import EnumOutboxState, LogEntry, LogRow, OutboxRow, Pointer, Position, Stored

STORED = """select workflow_type, instance_id, instance, version, epoch, status, terminal, state, state_schema,
  state_hash, code_id, position, last_us, failures, held, lease_id, lease_until_us, cut from workflow_state"""
LOG = """select l.n, w.workflow_type, w.instance_id, l.version, l.action_id, l.kind, l.payload,
  l.issued_us, l.correlation, l.cause, l.issuer, l.body_hash, l.intents, l.status, l.payload_schema,
  l.code_id, l.env_id, l.state_hash
  from log l join workflow_state w on w.instance = l.instance"""
# For one instance, whose key the reader has: no join, and one tuple less per row.
OWN = """select l.n, l.version, l.action_id, l.kind, l.payload, l.issued_us, l.correlation, l.cause, l.issuer,
  l.body_hash, l.intents, l.status, l.payload_schema, l.code_id, l.env_id, l.state_hash from log l"""

# The rows below are what the queries above select, in that order.
StoredColumns = tuple[
    str, str, int, int, int, str, int, bytes, int, bytes, int, int, int, int, str, bytes | None, int, int
]
LogColumns = tuple[
    int, str, str, int, bytes, str, bytes, int, bytes, bytes | None, str, bytes, bytes, str, int, int, int, bytes
]
OwnColumns = tuple[int, int, bytes, str, bytes, int, bytes, bytes | None, str, bytes, bytes, str, int, int, int, bytes]
OutboxColumns = tuple[
    int, int, str, str, int, bytes, bytes, bytes, str, int, int, int, int, int, str, bytes, str, int, int, int
]

_new = tuple.__new__
PLACE_BITS: Final = 48
PLACE_N: Final = (1 << PLACE_BITS) - 1


def place_of(shard: int, n: int) -> int:
    """The number under which a position stands in the tables."""
    return shard << PLACE_BITS | n


def position_of(place: int) -> Position:
    return Position(place >> PLACE_BITS, place & PLACE_N)


def pointer_of(place: int, ordinal: int) -> Pointer:
    return Pointer(place >> PLACE_BITS, place & PLACE_N, ordinal)


def stored_of(row: StoredColumns, timers: Mapping[str, tuple[Pointer, int]]) -> Stored:
    (workflow_type, instance_id, instance, version, epoch, status, terminal, state, state_schema, state_hash, code_id,
     position, last_us, failures, held, lease_id, lease_until_us, cut) = row  # fmt: skip
    return Stored(
        WorkflowKey(workflow_type, instance_id), instance, version, epoch, status, bool(terminal), state, state_schema,
        state_hash, code_id, position_of(position), last_us, failures, held, lease_id, lease_until_us, timers, cut,
    )  # fmt: skip


def entry_of(row: LogColumns) -> LogEntry:
    (n, workflow_type, instance_id, version, action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash,
     intents, status, payload_schema, code_id, env_id, state_hash) = row  # fmt: skip
    logged = LogRow(
        action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status, (), payload_schema
    )
    key = WorkflowKey(workflow_type, instance_id)
    return LogEntry(position_of(n), key, version, logged, code_id, env_id, state_hash)


def own_entries(key: WorkflowKey, rows: Iterable[OwnColumns]) -> list[LogEntry]:
    # Replay reads a million of these. ``tuple.__new__`` builds what the classes' own constructors build, with fewer calls.
    return [
        _new(LogEntry, (
            _new(Position, (n >> PLACE_BITS, n & PLACE_N)), key, version,
            _new(LogRow, (action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status,
                          (), payload_schema)),
            code_id, env_id, state_hash,
        ))
        for (n, version, action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status,
             payload_schema, code_id, env_id, state_hash) in rows
    ]  # fmt: skip


def outbox_row(row: OutboxColumns) -> OutboxRow:
    (n, ordinal, workflow_type, instance_id, version, action_id, correlation, intents, state, priority, due_us, attempt,
     started, crashes, timer, result, error, payload_schema, started_now,
     code_id) = row  # fmt: skip
    return OutboxRow(
        pointer_of(n, ordinal), WorkflowKey(workflow_type, instance_id), version, action_id, correlation, intents,
        EnumOutboxState(state), priority, due_us, attempt, bool(started), crashes, timer, result, error, payload_schema,
        bool(started_now), code_id,
    )  # fmt: skip
