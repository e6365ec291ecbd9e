"""Numbers, and what they come to."""

from __future__ import annotations

from onex import Payload, State


class Sum(State):
    total: int = 0
    worker: int = 0
    trouble: str = ""


class Numbers(Payload):
    numbers: tuple[int, ...]


class Total(Payload):
    total: int
    worker: int
