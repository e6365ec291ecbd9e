"""Stored bytes, intents, positions and times, as JSON documents and columns of text show them."""

from __future__ import annotations

from datetime import timedelta

import orjson
from pydantic import JsonValue
from pydantic_core import from_json

from ..kernel.action import EPOCH
from ..kernel.intent import CANCEL, Failure
from ..ports import EnumOutboxState, OutboxRow, Pointer, Position


def parse_json(data: bytes) -> JsonValue:
    """The stored value. Bytes that are no JSON come as text; no bytes are null."""
    try:
        value: JsonValue = orjson.loads(data) if data else None
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")
    return value


def parse_beginning(data: bytes, cut_at: int) -> tuple[JsonValue, bool]:
    """Stored bytes of which at most ``cut_at`` were kept, and whether some are missing. Of cut JSON what is whole is given."""
    value = parse_json(data)
    if len(data) < cut_at or not isinstance(value, str) or data[:1] not in (b"{", b"["):
        return value, False
    try:
        whole: JsonValue = from_json(data.decode(errors="ignore"), allow_partial=True)
    except ValueError:
        return value, True
    return whole, True


def intent_names(intents: bytes) -> list[str]:
    """The names in one log row, in the order emitted. A timer or intent that was cancelled is ``cancel NAME``."""
    found = parse_json(intents)
    listed = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    # a damaged row may have an intent without a name
    names = [
        (str(one.get("to" if one.get("name") == CANCEL else "name", "?")), bool(one.get("cancel"))) for one in listed
    ]
    return [f"cancel {name}" if cancelled else name for name, cancelled in names]


def intent_name(row: OutboxRow) -> str:
    names = intent_names(row.intents)
    return names[row.pointer.ordinal] if row.pointer.ordinal < len(names) else row.timer or "?"


def tries_made(row: OutboxRow) -> int:
    """The number of its last or next try, from 1. A held outcome of a failed intent carries the number itself."""
    result = parse_json(row.result)
    payload = result.get("payload") if isinstance(result, dict) else None
    attempts = payload.get("attempts") if isinstance(payload, dict) and is_failure(payload) else None
    return attempts if isinstance(attempts, int) else max(1, row.attempt)


def is_failure(payload: JsonValue) -> bool:
    """Whether it has the fields of the ``Failure`` that the outcome of a failed intent carries."""
    return isinstance(payload, dict) and payload.keys() == Failure.model_fields.keys()


def is_running(row: OutboxRow, *, owned: bool, now_us: int) -> bool | None:
    """Whether its effect runs now, in the engine that owns the store, if one does (``owned``). None: it may, and no row says so.

    An engine records starts in its first minute, and always for at-most-once. After that the row of an intent that runs is as
    that of one that waits for its turn.
    """
    stopped = row.state in (EnumOutboxState.HELD, EnumOutboxState.DEAD)
    if stopped or not owned or row.due_us > now_us:
        return False
    return True if row.started_now and row.state is EnumOutboxState.WAITING else None


def position_text(position: Position | Pointer) -> str:
    """``shard:n`` or ``shard:n:ordinal``: what ``--after`` and ``--redrive`` take."""
    return ":".join(map(str, position))


def iso(at_us: int) -> str:
    """A time in UTC, to the millisecond. One outside the calendar, which only an imported file can hold: ``N us``."""
    try:
        at = EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        return f"{at_us} us"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
