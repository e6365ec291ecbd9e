"""What goes on in a store, counted by name. Names stand in JSON that may be damaged, so they are read here, not by the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from ...kernel.action import WorkflowKey
from ...ports import EnumInFlight, InFlight
from ..sql_rows import pointer_of

STANDING: Final = """select workflow_type, state_schema, status, count(*),
  (array_agg(instance_id order by instance))[1]
  from (select * from workflow_state order by instance desc limit $1) newest where not terminal and version > 0
  group by 1, 2, 3 order by workflow_type, state_schema, status collate "C" """
INTENTS: Final = """select o.n, o.ordinal, w.workflow_type, w.instance_id, l.payload_schema, o.timer, l.intents
  from (select * from outbox order by n, ordinal limit $1) o
  join log l on l.n = o.n join workflow_state w on w.instance = o.instance order by o.n, o.ordinal"""
OUTCOMES: Final = """select o.n, o.ordinal, w.workflow_type, w.instance_id, 1, '', o.result
  from (select * from outbox where state = 'held' and timer = '' order by n, ordinal limit $1) o
  join workflow_state w on w.instance = o.instance order by o.n, o.ordinal"""

Named = Callable[[int, int, str, bytes], tuple[int, str]]


def _read(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def intent_name(ordinal: int, schema: int, timer: str, raw: bytes) -> tuple[int, str]:
    """``(schema, name)`` of one intent in the JSON of its log row."""
    if timer:
        return schema, timer
    intents = _read(raw)
    one = intents[ordinal] if isinstance(intents, list) and ordinal < len(intents) else None
    return schema, _text(one, "name")


def outcome_name(ordinal: int, schema: int, timer: str, raw: bytes) -> tuple[int, str]:
    """``(schema, trigger)`` of one held outcome."""
    result = _read(raw)
    found = result.get("schema", schema) if isinstance(result, dict) else schema
    return found if isinstance(found, int) else 1, _text(result, "kind")


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def counted(what: EnumInFlight, rows: Iterable[Any], named: Named) -> list[InFlight]:
    """Rows in pointer order, counted by type, schema, name and whether they are timers; in that order."""
    found: dict[tuple[str, int, str, bool], InFlight] = {}
    for n, ordinal, workflow_type, instance_id, payload_schema, timer, raw in rows:
        schema, name = named(ordinal, payload_schema, timer, raw)
        at = workflow_type, schema, name, bool(timer)
        before = found.get(at)
        found[at] = before._replace(rows=before.rows + 1) if before else InFlight(
            what, workflow_type, schema, name, 1, WorkflowKey(workflow_type, instance_id), bool(timer), pointer_of(n, ordinal)
        )  # fmt: skip
    return [found[at] for at in sorted(found)]
