from __future__ import annotations

from onex import Payload, State


class Begin(Payload):
    due: str
    is_short: bool = False


class Round(State):
    due: str = ""
