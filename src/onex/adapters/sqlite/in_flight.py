"""What goes on in a store, counted by name, by SQLite alone: names are read out of JSON there."""

from __future__ import annotations

import sqlite3
from typing import Final

from ...kernel.action import WorkflowKey
from ...ports import EnumInFlight, InFlight, Pointer

# With ``min`` SQLite takes the other columns from the row of the minimum. Names come out of JSON that may be damaged, so they
# are read as bytes, or are null.
_STANDING: Final = """select workflow_type, state_schema, status, count(*), instance_id, min(instance)
  from (select workflow_type, instance_id, state_schema, status, instance, terminal, version from workflow_state
    order by instance desc limit ?) where terminal = 0 and version > 0
  group by 1, 2, 3 order by 1, 2, 3"""
_INTENTS: Final = """with o as materialized (select n, ordinal, instance, timer from outbox order by n, ordinal limit ?),
  named as (select o.n, o.ordinal, w.workflow_type, w.instance_id, l.payload_schema, o.timer <> '' as timer,
    cast(case when o.timer <> '' then o.timer when json_valid(cast(l.intents as text))
      then json_extract(cast(l.intents as text), '$[' || o.ordinal || '].name') end as blob) as name
    from o join log l on l.n = o.n join workflow_state w on w.instance = o.instance)
  select workflow_type, payload_schema, name, count(*), instance_id, timer, ordinal, min(n) from named
  group by 1, 2, 3, 6 order by 1, 2, 3, 6"""
_OUTCOMES: Final = """with o as materialized (select n, ordinal, instance, cast(result as text) as result from outbox
    where state = 'held' and timer = '' limit ?),
  named as (select o.n, o.ordinal, w.workflow_type, w.instance_id,
    case when json_valid(o.result) then coalesce(json_extract(o.result, '$.schema'), 1) else 1 end as schema,
    cast(case when json_valid(o.result) then json_extract(o.result, '$.kind') end as blob) as kind
    from o join workflow_state w on w.instance = o.instance)
  select workflow_type, schema, kind, count(*), instance_id, 0, ordinal, min(n) from named
  group by 1, 2, 3 order by 1, 2, 3"""


def in_flight_of(connection: sqlite3.Connection, limit: int) -> list[InFlight]:
    execute = connection.execute
    found = [
        InFlight(EnumInFlight.STATE, workflow_type, schema, status, rows, WorkflowKey(workflow_type, instance_id))
        for workflow_type, schema, status, rows, instance_id, _ in execute(_STANDING, (limit,))
    ]
    for what, query in ((EnumInFlight.INTENT, _INTENTS), (EnumInFlight.OUTCOME, _OUTCOMES)):
        for workflow_type, schema, name, rows, instance_id, timer, ordinal, n in execute(query, (limit,)):
            label = (name or b"").decode("utf-8", "replace")
            first, pointer = WorkflowKey(workflow_type, instance_id), Pointer(0, n, ordinal)
            of = schema if isinstance(schema, int) else 1
            found.append(InFlight(what, workflow_type, of, label, rows, first, bool(timer), pointer))
    return found
