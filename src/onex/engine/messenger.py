"""Messenger: a message to an instance that another worker has goes through the inbox of the store.

What a step sends to an instance here is judged here. An instance of another shard may be another worker's: then the message
is written into that shard's inbox, and its owner turns the row into the answer (promise 39). The row of the intent stays until the
answer is there, so nothing is lost by a crash on either side. The message has the same action id each time it is written
(promise 28), so the receiver applies it once.

The body is an action of the reserved kind ``@message``. Its metadata say which trigger it is, who sent it and which intent led to
it, so the receiver's log is the same as if both lived in one process. Its payload stands alone: what is accepted here is accepted
there, whatever its size. Clients cannot submit it: whoever writes it must be able to write the store.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol
from uuid import UUID

import orjson
from pydantic import Field

from ..kernel.action import ModelAction, Payload
from ..kernel.errors import OnexError
from ..ports import Clock, InboxRow, Sender
from .encode import json_bytes, read_payload
from .intake import Intake, write_wire
from .payload_reading import PayloadInput
from .pending import Pending
from .task_supervisor import TaskSupervisor
from .wire_support import MESSAGE


class Message(Payload):
    """The metadata of an inbox row of kind ``@message``. ``sender`` is the key of its sender, ``cause`` as in the log."""

    trigger: str
    sender: str
    cause: str = Field(pattern=r"^([0-9a-f]{2})*$")


class AnswerSignal(Protocol):
    """For one who waits: look first, then ``changed``, then look again."""

    async def changed(self) -> None:
        """Returns when something may have been committed since the last look. Raises what the store raises."""


class Messenger:
    """``changes`` tells when an answer may be there. All methods belong to one event loop."""

    def __init__(self, sender: Sender, changes: AnswerSignal, clock: Clock, supervisor: TaskSupervisor) -> None:
        self._sender, self._changes, self._clock, self._supervisor = sender, changes, clock, supervisor
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._asks = False

    async def send(self, pending: Pending, shard: int) -> None:
        """Returns when its receiver has applied it. Raises the OnexError that it was refused with, and what the store raises.

        A cancelled call withdraws nothing.
        """
        await self.ask(_body(pending), shard)

    async def ask(self, body: bytes, shard: int) -> None:
        """The same for any body that an inbox takes."""
        ticket = await self._sender.send(body, self._clock.now_us(), shard)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        if not self._asks:
            self._asks = True
            self._supervisor.start(self._ask(), "onex-messages")
        try:
            answer = orjson.loads(await future)
        finally:
            self._waiting.pop(ticket, None)
        if "error" in answer:
            raise OnexError.from_json(answer["error"])

    async def _ask(self) -> None:
        """One question for all that wait, after each change."""
        try:
            while self._waiting:
                try:
                    answers = await self._sender.answers(tuple(self._waiting))
                    if not answers:
                        await self._changes.changed()
                except OnexError:
                    await self._clock.sleep(1.0)
                    continue
                for ticket, answer in answers.items():
                    future = self._waiting.get(ticket)
                    if future is not None and not future.done():
                        future.set_result(answer)
                await asyncio.sleep(0)  # those that have their answer leave
        finally:
            self._asks = False


def _body(pending: Pending) -> bytes:
    action = ModelAction(
        workflow_key=pending.key,
        kind=MESSAGE,
        command_payload=orjson.loads(pending.body) if pending.body else {},
        action_id=UUID(bytes=pending.id),
        correlation_id=UUID(bytes=pending.correlation),
        metadata={"trigger": pending.kind, "sender": pending.issuer, "cause": (pending.cause or b"").hex()},
    )
    return write_wire(action)


def read_message(intake: Intake, wire: ModelAction, row: InboxRow) -> Pending:
    """The action of an inbox row of kind ``@message``; its ``refusal`` says what is wrong with it. Raises InvalidPayload."""
    message = read_payload(Message, json_bytes(wire.metadata))
    payload: PayloadInput = wire.command_payload
    pending = intake.pending(
        wire.workflow_key,
        message.trigger,
        payload,
        action_id=wire.action_id,
        correlation_id=wire.correlation_id,
        ticket=row.ticket,
        shard=row.shard,
        source="inbox",
    )
    cause = bytes.fromhex(message.cause) or None
    return replace(pending, issuer=message.sender, cause=cause, sent=True, internal="")
