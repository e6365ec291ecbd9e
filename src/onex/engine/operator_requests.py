"""Requests that an operator sends to an engine which runs in another process.

A request travels through the inbox as an action whose kind begins with ``@``. No trigger of a contract can be spelled so. So
whoever may write the store's file may ask; an action that comes by any other way cannot. But for ``@submit`` a request is no
action of its instance: it changes no version and leaves no log row. After a crash it may be carried out again. To
release an instance twice does no harm. To drive an effect twice does, so there the answer goes into the commit that does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from pydantic import Field, JsonValue

from ..kernel.action import Nothing, Payload, WorkflowKey
from ..kernel.errors import ValidationError
from ..ports import EnumOutboxState, OutboxRow, Pointer, Reader
from .encode import json_bytes, read_payload

RELEASE = "@release"
REDRIVE = "@redrive"
SUBMIT = "@submit"
ERASE = "@erase"
STOPPED = (EnumOutboxState.DEAD, EnumOutboxState.HELD)

RequestHandler = Callable[[WorkflowKey, Mapping[str, JsonValue], Callable[[], None]], Awaitable[None]]
"""Of a key, a payload, and ``in_commit``: called when the request is given to a commit, in the same turn of the event loop."""


class Redrive(Payload):
    """``pointer`` is ``shard:n:ordinal``, as ``onex dead`` lists it."""

    pointer: str = Field(pattern=r"^[0-9]{1,18}:[0-9]{1,18}:[0-9]{1,18}$")


class OperatorErase(Payload):
    """Who asks for it: the name stands where the values stood."""

    operator: str


class OperatorSubmit(Payload):
    """An action that an operator sends: it may have an internal trigger, and its issuer in the log is ``operator:NAME``.

    Unlike the other requests it becomes an action of its instance, under the id of the request.
    """

    trigger: str
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    operator: str


class NothingStopped(ValidationError):
    """No dead or held intent is at this pointer: there never was one, or it goes on already."""

    code = "nothing_stopped"


def request_handlers(
    release: Callable[[WorkflowKey], Awaitable[None]],
    redrive: Callable[[Pointer, Callable[[], None]], Awaitable[None]],
    reader: Reader,
) -> Mapping[str, RequestHandler]:
    """``request_handlers(...)[kind](key, payload, in_commit)`` carries it out.

    Raises InvalidPayload, and what the two functions raise.
    """

    async def release_one(key: WorkflowKey, payload: Mapping[str, JsonValue], in_commit: Callable[[], None]) -> None:
        read_payload(Nothing, json_bytes(payload))
        await release(key)

    async def redrive_one(key: WorkflowKey, payload: Mapping[str, JsonValue], in_commit: Callable[[], None]) -> None:
        pointer = Pointer(*map(int, read_payload(Redrive, json_bytes(payload)).pointer.split(":")))
        row = await stopped_at(reader, pointer)
        if row is None or row.key != key:
            text = ":".join(map(str, pointer))
            raise NothingStopped(f"no dead or held intent of {key} is at {text}; onex dead lists those there are")
        await redrive(pointer, in_commit)

    return {RELEASE: release_one, REDRIVE: redrive_one}


async def stopped_at(reader: Reader, pointer: Pointer) -> OutboxRow | None:
    """The dead or held row at ``pointer``, if there is one."""
    rows = await reader.outbox(STOPPED, None, pointer._replace(ordinal=pointer.ordinal - 1), 1)
    return rows[0] if rows and rows[0].pointer == pointer else None
