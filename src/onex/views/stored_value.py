"""What a store holds as bytes, as people and programs see it: JSON, names of intents, positions as text."""

from __future__ import annotations

import orjson
from pydantic import JsonValue

from ..ports import OutboxRow, Pointer, Position


def parse_json(data: bytes) -> JsonValue:
    """What was stored, for people; bytes that are no JSON as text."""
    try:
        value: JsonValue = orjson.loads(data) if data else None
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")
    return value


def intent_names(intents: bytes) -> list[str]:
    """Of one log row, in the order emitted; of timers also those it cancelled."""
    found = parse_json(intents)
    listed = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    # a row that was damaged, or bent by hand, may name none
    names = [(str(one.get("name", "?")), bool(one.get("cancel"))) for one in listed]
    return [f"cancel {name}" if cancelled else name for name, cancelled in names]


def intent_name(row: OutboxRow) -> str:
    names = intent_names(row.intents)
    return names[row.pointer.ordinal] if row.pointer.ordinal < len(names) else row.timer or "?"


def position_text(position: Position | Pointer) -> str:
    """``shard:n`` or ``shard:n:ordinal``: what ``--after`` and ``--redrive`` take."""
    return ":".join(map(str, position))
