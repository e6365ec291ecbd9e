"""A node of a directory, read off the state of its registration."""

from __future__ import annotations

from pydantic import JsonValue

from ..ports import Stored
from .stored_value import parse_json


def node_json(stored: Stored) -> dict[str, JsonValue]:
    """What its state says of it, in the words of the event."""
    state = parse_json(stored.state)
    if not isinstance(state, dict):
        return {"reason": "its state cannot be read"}
    told = state.get("node")
    shown = dict(told) if isinstance(told, dict) else {}
    shown.pop("node_id", None)
    return {
        **shown,
        "places": state.get("places"),
        "heard_at": state.get("heard_at"),
        "reason": state.get("reason", ""),
    }
