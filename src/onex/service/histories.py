"""What is made of a recorded history on demand: a fork of it, and a file of it without its secrets."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from tempfile import TemporaryFile
from typing import IO, Final

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import Field, JsonValue

from ..kernel.secret_names import SECRET_NAMES
from ..ports import Stored
from ..processes.moment_process import AskFork
from ..replay.history_export import export_history
from ..replay.redaction import Redaction
from ..views.stored_value import parse_json
from ..wiring.recorded import RunSource
from .answers import Answered, AskedKey, ChangesAnswer, changes_between, key_of
from .commands import TRIGGER, CommandBody
from .policy import GuardedRoute
from .served_store import Asking, Served, needs_payloads

routes = APIRouter(route_class=GuardedRoute, tags=["instance"])

PIECE: Final = 1 << 16


class ForkBody(CommandBody):
    """The action of ``version`` with another trigger, another payload, or both. What is left out stays as recorded."""

    version: int = Field(ge=1, le=2**53)
    trigger: str | None = Field(default=None, min_length=1, max_length=TRIGGER)
    payload: dict[str, JsonValue] | None = None


class ForkedStepAnswer(Answered):
    """One action in the fork, beside what was recorded. ``refused`` is the code of a refusal, '' for none."""

    version: int
    trigger: str
    status: str
    recorded_status: str
    intents: list[str]
    recorded_intents: list[str]
    refused: str
    why: str


class ForkAnswer(Answered):
    """What would have followed, up to version ``last``. ``opened``: from there on nobody can know, and ``why``.

    ``state`` is the last one of the fork, ``changes`` what differs from the recorded one. Nothing runs.
    """

    steps: list[ForkedStepAnswer]
    more: int
    last: int
    opened: int | None
    trigger: str
    why: str
    state: JsonValue
    changes: ChangesAnswer | None
    effects_fired: int


@routes.post("/api/instance/fork")
async def fork(served: Served, asking: Asking, body: ForkBody) -> ForkAnswer:
    """Give one recorded action otherwise, and fold what would have followed. Nothing is fired, nothing is stored."""
    needs_payloads(asking, "a fork")
    key = key_of(body.key)
    await served.stored(key)
    served.known_workflow(key.workflow_type)
    found = await served.folding().fork(AskFork(key, body.version, body.trigger, body.payload))
    hide = served.hide(asking)
    state = parse_json(found.state)
    changes = changes_between(parse_json(found.recorded), state, hide) if found.recorded else None
    return ForkAnswer(
        steps=[
            ForkedStepAnswer(
                **{**step._asdict(), "intents": list(step.intents), "recorded_intents": list(step.recorded_intents)}
            )
            for step in found.steps
        ],
        more=found.more,
        last=found.last,
        opened=found.opened or None,
        trigger=found.trigger,
        why=found.why,
        state=hide.hide(state),
        changes=changes,
        effects_fired=0,
    )


@routes.get(
    "/api/instance/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "a file for onex import and onex replay --from",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def export(served: Served, asking: Asking, asked: AskedKey) -> StreamingResponse:
    """Download the history of one instance as NAME.onexrun. Values of secret fields are replaced."""
    needs_payloads(asking, "an export")
    key = key_of(asked)
    stored = await served.stored(key)
    marked = () if served.facts is None else served.facts.secret
    redaction = Redaction((*SECRET_NAMES, *marked), secrets.token_bytes(32))

    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in str(key))
    headers = {"Content-Disposition": f'attachment; filename="{name[:100]}.onexrun"'}
    file = await asyncio.to_thread(_written, served.source, stored, redaction)
    return StreamingResponse(_pieces(file), media_type="application/x-ndjson", headers=headers)


def _written(source: RunSource, stored: Stored, redaction: Redaction) -> IO[str]:
    """The file, without a name, at its beginning. In a thread: a long history takes a while to read."""
    file = TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115  # open until it is sent

    async def write() -> None:
        async with source.opened() as run:
            await export_history(run, file, keys=[stored], redaction=redaction, marks=run)

    try:
        asyncio.run(write())
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _pieces(file: IO[str]) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece.encode()
