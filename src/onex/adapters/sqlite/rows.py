"""What SQLite's rows need beyond ``sql_rows``: the types of their columns, and what is read where they are wrong.

SQLite stores any value in any column, so damage or another program can leave values of a wrong type. Such a row is read with
empty values of the right types. It is then refused where it is used, and the other rows go on.
"""

from __future__ import annotations

from typing import Final

from ...kernel.action import WorkflowKey
from ...ports import Stored
from ..sql_rows import OutboxColumns, StoredColumns, stored_of

# Outer joins: a row that points at nothing is read too, without an intent. So it is reported and not passed over.
OUTBOX = """select o.n, o.ordinal, coalesce(w.workflow_type, '?'), coalesce(w.instance_id, o.instance), l.version,
  l.action_id, l.correlation, case when l.instance = o.instance then l.intents else x'' end, o.state, o.priority,
  o.due_us, o.attempt, o.started, o.crashes, o.timer, o.result, o.error, l.payload_schema,
  coalesce(o.started and o.fence = (select fence from shards where shard = 0), 0), coalesce(l.code_id, 0)
  from outbox o left join log l on l.n = o.n left join workflow_state w on w.instance = o.instance"""
STORED_TYPES: Final = (str, str, int, int, int, str, int, bytes, int, bytes, int, int, int, int, str)
"""The types of a row of ``workflow_state``, up to ``held``, in the order of ``STORED``."""
OUTBOX_TYPES: Final = (
    int, int, str, str, int, bytes, bytes, bytes, str, int, int, int, int, int, str, bytes, str, int, int, int
)  # fmt: skip


def held_of(key: WorkflowKey, row: StoredColumns) -> Stored:
    """The value for a row that holds wrong types. The instance is held, so no action reaches it; its neighbours go on."""
    whole = stored_of((*typed(row[:15], STORED_TYPES), None, 0, 0), {})  # type: ignore[arg-type]  # as many, and of those types
    return whole._replace(
        key=key, held="damaged: its stored row holds values of the wrong type; onex replay reports which"
    )


def unreadable(row: OutboxColumns) -> OutboxColumns:
    """The row with right types and without intents: whoever reads it finds no intent, and reports that."""
    read = typed(row, OUTBOX_TYPES)
    return *read[:7], b"", *read[8:]  # type: ignore[return-value]  # as many, and of those types


def typed(row: tuple[object, ...], types: tuple[type, ...]) -> tuple[object, ...]:
    """The row, with each value of a wrong type replaced by one of the right type."""
    return tuple(value if type(value) is kind else _made(value, kind) for value, kind in zip(row, types, strict=True))


def _made(value: object, kind: type) -> object:
    if kind is int:
        return 0
    text = value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text if kind is str else text.encode()
