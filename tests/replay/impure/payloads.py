"""What the impure reducers saw."""

from __future__ import annotations

from onex import Payload, State


class Seen(State):
    words: tuple[str, ...] = ()


class Words(Payload):
    words: tuple[str, ...]
