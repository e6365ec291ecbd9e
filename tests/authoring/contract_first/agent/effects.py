"""Effects that answer at once; the equality of the forms is one of decisions."""

from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Found, Think, Thought, UseTool


@effect("think")
def think(intent: ModelIntent[Think]) -> Thought:
    return Thought(text="done", cents=3)


@effect("use_tool")
def use_tool(intent: ModelIntent[UseTool]) -> Found:
    return Found(text=intent.payload.argument)
