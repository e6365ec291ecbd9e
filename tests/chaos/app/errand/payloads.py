"""What an errand carries."""

from __future__ import annotations

from onex import Payload, State

from ..tally.payloads import Enter

__all__ = ["Begin", "Charge", "Done", "Enter", "Errand", "Note", "Numbers", "Pack", "Sum"]


class Errand(State):
    number: int = 0
    notes: int = 0
    rings: int = 0
    total: int = 0
    trouble: str = ""


class Begin(Payload):
    number: int
    text: str


class Note(Payload):
    text: str


class Charge(Payload):
    number: int
    text: str


class Pack(Payload):
    number: int
    notes: int


class Done(Payload):
    receipt: str


class Numbers(Payload):
    numbers: tuple[int, ...]


class Sum(Payload):
    total: int
