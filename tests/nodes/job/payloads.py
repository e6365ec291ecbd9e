from __future__ import annotations

from pydantic import field_serializer

from onex import Payload, State


class Job(State):
    why: str = ""
    tries: int = 0


class Start(Payload):
    what: str


class Work(Payload):
    what: str


class Did(Payload):
    result: str | int = ""

    @field_serializer("result", when_used="json")
    def written(self, value: str | int) -> str | int:
        if value == "exit when written":
            raise SystemExit(1)
        return value


class Other(Payload):
    result: str = ""
