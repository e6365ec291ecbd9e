"""Messages between the demo's parent process and its engine.

Theory of operation. The two processes share a pair of Unix sockets, made by the parent. A message is one frame: four bytes
of length, big endian, then JSON with a ``kind``. The parent sends inputs (``TakeInputs``), acknowledges reports
(``ReportsWritten``) and says that no more inputs come (``FinishWork``). The engine says that its store is open
(``EngineReady``), reports each effect after doing it (``EffectReport``), and says which inputs are durable (``InputsTaken``).

- The engine dies in the middle of a frame: ``read`` gives None, as at a clean end. Half a message was never acted upon.
- A side that is gone: the socket closes with its process, so the other side reads the end of the stream. Therefore no other
  process may inherit the socket. ``send`` to a closed peer drops the message, since ``read`` reports the end anyway.
- ``send`` does not wait for the peer. The buffer is bounded by what may be unacknowledged: inputs by UNANSWERED_MAX of
  ``trial``, reports by the concurrency of the effects, since each waits for its acknowledgement.
- A frame of more than FRAME_BYTES_MAX cannot come from the demo's engine. It raises instead of filling the memory.
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
    """An action to submit. ``action_id`` is derived from the workload, so sending it again after a crash changes nothing."""

    number: int
    key: str
    trigger: str
    payload: dict[str, JsonValue]
    action_id: UUID


# --- to the engine ----------------------------------------------------------------------------------------------------


class TakeInputs(Payload):
    """Submit these inputs."""

    kind: Literal["take"] = "take"
    inputs: tuple[Input, ...]


class ReportsWritten(Payload):
    """These reports are on the disk: their effects may return."""

    kind: Literal["written"] = "written"
    reports: tuple[int, ...]


class FinishWork(Payload):
    """Every input is durable: close when nothing is due."""

    kind: Literal["finish"] = "finish"


# --- from the engine --------------------------------------------------------------------------------------------------


class EngineReady(Payload):
    """The store is open, and what waited in it runs again."""

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
    """This input was refused."""

    kind: Literal["refused"] = "refused"
    input: int
    why: str


class Pulse(Payload):
    """What the engine counted since it started: actions committed, and how long each took from accepted to durable."""

    kind: Literal["pulse"] = "pulse"
    committed: int
    latency: list[tuple[int, int]]


class EngineIdle(Payload):
    """Nothing has been due since ``since_us``; the engine closes now."""

    kind: Literal["idle"] = "idle"
    since_us: int


class EngineFailed(Payload):
    """The engine cannot continue."""

    kind: Literal["failed"] = "failed"
    why: str


Message = (
    TakeInputs | ReportsWritten | FinishWork
    | EngineReady | EffectReport | InputsTaken | RefusedInput | Pulse | EngineIdle | EngineFailed
)  # fmt: skip
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class Connection:
    """One end of the socket pair. ``send`` never waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, end: socket.socket) -> Connection:
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Dropped when the other end is gone, which ``read`` reports."""
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
        """Sent messages are delivered first, if the other end still reads."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
