"""A job, and what may be asked of it."""

from __future__ import annotations

from onex import Payload, State


class Job(State):
    total: int = 0
    text: str = ""


class Add(Payload):
    amount: int


class Blow(Payload):
    loudness: int


class Work(Payload):
    text: str


class Worked(Payload):
    text: str
