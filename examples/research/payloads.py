from __future__ import annotations

from onex import Payload


class Question(Payload):
    question: str


class Prompt(Payload):
    role: str
    text: str


class Said(Payload):
    lines: tuple[str, ...]


class Report(Payload):
    question: str
    sections: tuple[Said | None, ...]


class Published(Payload):
    path: str
