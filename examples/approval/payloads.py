from __future__ import annotations

from onex import Payload, State


class Expense(State):
    who: str = ""
    cents: int = 0
    decided_by: str = ""


class Request(Payload):
    who: str
    cents: int


class Answer(Payload):
    by: str
    cents: int = 0


class Letter(Payload):
    to: str
    text: str


class Payment(Payload):
    to: str
    cents: int
