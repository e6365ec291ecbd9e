from __future__ import annotations

import asyncio

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from onex import Payload, State


class Panic(BaseException):
    """No ``Exception``."""


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])


def raises(what: str) -> None:
    """Whatever code can raise, by name; nothing for a name that is none."""
    match what:
        case "error":
            raise KeyError("an ordinary error")
        case "exit":
            raise SystemExit(3)
        case "ctrl-c":
            raise KeyboardInterrupt
        case "panic":
            raise Panic("called unwrap() on a None value")
        case "cancelled":
            raise asyncio.CancelledError
        case "mute":
            raise Mute("x")
        case "stop":
            raise StopIteration
        case "hostile":
            raise ValueError("\ud800\x00")
        case "recursion":
            raises(what)


class Rough(State):
    what: str = ""
    why: str = ""


class What(Payload):
    what: str = ""
    list: tuple[str, ...] = ()


class Checked(Payload):
    what: str = ""

    @field_validator("what")
    @classmethod
    def look(cls, what: str) -> str:
        raises(what)
        return what


class Written(Payload):
    what: str = ""

    @model_serializer(mode="wrap")
    def write(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        raises(self.what)
        return {**handler(self), "what": "something else"} if self.what == "changes" else handler(self)


class Plain(What):
    pass


class Waits(What):
    pass


class Thinks(What):
    pass


class Did(Payload):
    what: str = ""
