"""The classes of examples/agent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onex import Payload, State

Tool = Literal["", "search", "send_mail"]


class Run(State):
    messages: tuple[str, ...] = ()
    spent: int = 0
    limit: int = 0
    tool: Tool = ""
    argument: str = ""


class Begin(Payload):
    task: str = Field(min_length=1)
    limit: int = Field(default=100, ge=1, description="cents that the run may cost")


class Think(Payload):
    messages: tuple[str, ...]


class Thought(Payload):
    text: str
    tool: Tool = ""
    argument: str = ""
    cents: int = Field(ge=0)


class UseTool(Payload):
    tool: Tool
    argument: str


class Found(Payload):
    text: str
