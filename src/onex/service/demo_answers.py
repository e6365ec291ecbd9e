"""What a demo tells a service that runs inside it, and what it lets the service do. Plain values: nothing of a web library."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class DemoRow(BaseModel):
    """One row of what was proved at the end."""

    model_config = ConfigDict(extra="forbid")

    what: str
    number: str
    meaning: str


class DemoChoice(BaseModel):
    """What a visitor may answer: an action to submit."""

    model_config = ConfigDict(extra="forbid")

    label: str
    trigger: str
    payload: dict[str, JsonValue]


class DemoExample(BaseModel):
    """An instance that is worth a look. In one of the statuses ``waits_in`` it waits for one of ``choices``."""

    model_config = ConfigDict(extra="forbid")

    key: str
    what: str
    status: str | None = Field(description="null: it has not begun")
    waits_in: list[str]
    choices: list[DemoChoice]


class DemoAnswer(BaseModel):
    """``effects_seen`` of ``effects`` were seen outside the engine. ``rows`` and ``conclusion`` come when all is done."""

    model_config = ConfigDict(extra="forbid")

    title: str
    effects: int
    effects_seen: int
    effects_retried: int = Field(description="ran again after a kill, with the same key: harmless")
    effects_repeated: int = Field(description="seen under two keys or with two bodies: must be 0")
    kills: int
    engine_takes_work: bool = Field(description="false between a kill and the next start, and when all is done")
    done: bool
    rows: list[DemoRow]
    conclusion: list[str]
    examples: list[DemoExample]


class Demonstration(Protocol):
    """A demo in this process. Its methods are called from the service's event loop."""

    def told(self) -> DemoAnswer: ...

    async def kill(self) -> bool:
        """Kill the engine with SIGKILL, now. False where none takes work."""
