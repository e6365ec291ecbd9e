"""Control: what an operator asks of an engine that runs elsewhere. It travels as an action whose kind begins with ``@``.

No trigger of a contract can be spelled so. A control is no action of its instance: it moves no version and leaves no log row.
It may be carried out again after a crash, so each is such that twice is as good as once; where that is not so, its answer
stands in the commit that does it.
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
STOPPED = (EnumOutboxState.DEAD, EnumOutboxState.HELD)

RequestHandler = Callable[[WorkflowKey, Mapping[str, JsonValue], Callable[[], None]], Awaitable[None]]
"""Of a key, a payload, and what to call in the turn in which it is given to a commit."""


class Redrive(Payload):
    """``pointer`` is ``shard:n:ordinal``, as ``onex dead`` lists it."""

    pointer: str = Field(pattern=r"^[0-9]{1,18}:[0-9]{1,18}:[0-9]{1,18}$")


class NothingStopped(ValidationError):
    """No dead or held intent stands at this pointer: it never did, or it goes on already."""

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
            raise NothingStopped(f"no dead or held intent of {key} stands at {text}; onex dead lists what does")
        await redrive(pointer, in_commit)

    return {RELEASE: release_one, REDRIVE: redrive_one}


async def stopped_at(reader: Reader, pointer: Pointer) -> OutboxRow | None:
    """The dead or held row at ``pointer``, if there is one."""
    rows = await reader.outbox(STOPPED, None, pointer._replace(ordinal=pointer.ordinal - 1), 1)
    return rows[0] if rows and rows[0].pointer == pointer else None
