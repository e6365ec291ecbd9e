"""A workflow whose code ends the process: where ``what`` names the place, it is left by ``os._exit`` or a signal."""

from __future__ import annotations

import os
import signal

from pydantic import field_validator

from onex import Payload, State


def deadly(place: str, what: str) -> None:
    if what == place:
        os._exit(7)
    if what == f"{place}, killed":
        os.kill(os.getpid(), signal.SIGKILL)


class Job(State):
    what: str = ""


class Start(Payload):
    what: str = ""

    @field_validator("what")
    @classmethod
    def look(cls, what: str) -> str:
        deadly("validator", what)
        return what


class Work(Payload):
    what: str


class Did(Payload):
    what: str
