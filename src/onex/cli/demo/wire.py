"""What the demo's parent and its engine say to each other: JSON in frames, over a pair of Unix sockets.

The engine reports each effect after doing it and goes on when the parent has answered. Whoever hears the end of the
stream knows that the other is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter

from ...kernel.action import Payload
from ...replay.audit import SeenEffect

FRAME_BYTES_MAX = 16 * 1024 * 1024


class Input(Payload):
    """An action of the job. ``action_id`` follows from the job, so sending it again after a crash changes nothing."""

    number: int
    key: str
    trigger: str
    payload: dict[str, JsonValue]
    action_id: UUID


# --- to the engine ----------------------------------------------------------------------------------------------------


class TakeInputs(Payload):
    """Submit these."""

    kind: Literal["take"] = "take"
    inputs: tuple[Input, ...]


class ReportsWritten(Payload):
    """These reports are written down: their effects may return."""

    kind: Literal["written"] = "written"
    reports: tuple[int, ...]


class FinishWork(Payload):
    """Every input was taken: close when nothing is due."""

    kind: Literal["finish"] = "finish"


# --- from the engine --------------------------------------------------------------------------------------------------


class EngineReady(Payload):
    """The store is open, what waited in it runs again."""

    kind: Literal["ready"] = "ready"


class EffectReport(Payload):
    """An effect was done. ``body`` is BLAKE3 (hex) of the canonical bytes of its payload."""

    kind: Literal["report"] = "report"
    number: int
    idempotency_key: str
    instance: str
    version: int
    name: str
    n: int
    body: str

    @property
    def seen(self) -> SeenEffect:
        return SeenEffect(self.instance, self.version, self.name, self.n)


class InputsTaken(Payload):
    """These inputs are durable."""

    kind: Literal["taken"] = "taken"
    inputs: tuple[int, ...]


class RefusedInput(Payload):
    """This input was refused, and why."""

    kind: Literal["refused"] = "refused"
    input: int
    why: str


class Pulse(Payload):
    """What the engine counted since it started: actions committed, and how long each took from mailbox to durable."""

    kind: Literal["pulse"] = "pulse"
    committed: int
    latency: list[tuple[int, int]]


class EngineIdle(Payload):
    """Nothing is due since ``since_us``; the engine closes now."""

    kind: Literal["idle"] = "idle"
    since_us: int


class EngineFailed(Payload):
    """The engine cannot go on."""

    kind: Literal["failed"] = "failed"
    why: str


Message = (
    TakeInputs | ReportsWritten | FinishWork
    | EngineReady | EffectReport | InputsTaken | RefusedInput | Pulse | EngineIdle | EngineFailed
)  # fmt: skip
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class Connection:
    """One end. ``send`` never waits: who sends more than the other reads is bounded by what it may have unanswered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, end: socket.socket) -> Connection:
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """A message to one that is gone is dropped: ``read`` tells so."""
        if not self._writer.is_closing():
            data = message.__pydantic_serializer__.to_json(message)
            self._writer.write(len(data).to_bytes(4, "big") + data)

    async def read(self) -> Message | None:
        """The next message; None when the other end is gone, a half-sent message included."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {size} bytes: this is not the demo's engine")
            return _MESSAGE.validate_json(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """What was sent arrives first, if the other end still reads."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
