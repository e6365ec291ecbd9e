"""What a tally keeps."""

from __future__ import annotations

from onex import Payload, State


class Tally(State):
    entries: int = 0
    total: int = 0


class Enter(Payload):
    errand: str
    amount: int
