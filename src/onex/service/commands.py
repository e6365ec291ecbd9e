"""Commands: what changes an instance. Each is an action through the inbox of the store, as ``onex.connect`` sends it.

An answer is 200 when the engine has answered within ``wait_s``: the action is durable. It is 202 when it has not, or none runs:
the action is stored, and the next engine judges it. Who sends it again with the same ``Idempotency-Key`` gets the first answer.
The issuer in the log is ``api:NAME``, so that the log leads from a state to who caused it. Each command is told to the audit log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from ..contracts.orchestration.expansion import CANCEL
from ..engine.intake import id_of_idempotency_key
from ..engine.operator_requests import REDRIVE, RELEASE
from ..kernel.action import WorkflowKey
from ..kernel.errors import CommitUnknown, NotFound, OnexError, Overloaded
from ..ports import EnumOutboxState, OutboxRow, Pointer
from ..views.stored_rows import stopped_intent_json
from ..views.stored_value import position_text
from ..wiring import new_action_id
from .answers import Answered, KeyText, Rows, StoppedIntentAnswer, key_of
from .policy import GuardedRoute
from .served_store import Asking, Served, ServedStore, StoreTakesNoCommands

routes = APIRouter(route_class=GuardedRoute, tags=["commands"])

AT_ONCE: Final = 200
"""Commands that may wait for an answer at one time; more are told to come back."""
STOPPED: Final = (EnumOutboxState.DEAD, EnumOutboxState.HELD)
POINTER: Final = r"^[0-9]{1,18}:[0-9]{1,18}:[0-9]{1,18}$"
TRIGGER: Final = 200

WaitS = Annotated[float, Query(ge=0, le=30, description="how long to wait for the engine's answer; 0: not at all")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$",
        description="the same key at the same instance is the same command: a UUID is the action id, any other text makes one",
    ),
]  # fmt: skip


class CommandBody(BaseModel):
    """Bodies are closed: a misspelt field is an error, not a silence."""

    model_config = ConfigDict(extra="forbid")

    key: KeyText


class SubmitBody(CommandBody):
    """One action. ``expected_version``: refused at any other version of the instance."""

    trigger: str = Field(min_length=1, max_length=TRIGGER)
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    expected_version: int | None = Field(default=None, ge=0, le=2**53)
    correlation_id: UUID | None = None
    cause: UUID | None = Field(default=None, description="the action that this one follows from")
    expires_at: AwareDatetime | None = Field(default=None, description="refused when it is applied later")


class SignalBody(CommandBody):
    """A message to an instance that has begun: ``signal`` is the trigger that takes it."""

    signal: str = Field(min_length=1, max_length=TRIGGER)
    payload: dict[str, JsonValue] = Field(default_factory=dict)


class CancelBody(CommandBody):
    """Ends an instance whose contract has the trigger ``cancel``; an orchestration undoes what it has done."""


class ApproveBody(CommandBody):
    """The answer to the approval task ``task``. ``expected_version``: what the person saw."""

    task: str = Field(min_length=1, max_length=100)
    approved: bool
    note: str = Field(default="", max_length=2000)
    expected_version: int | None = Field(default=None, ge=1, le=2**53)


class ReleaseBody(CommandBody):
    """Lets a held instance take actions again."""


class RedriveBody(BaseModel):
    """Runs a dead or held intent again. ``pointer`` is what ``GET /api/stopped`` lists."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(pattern=POINTER)


class CommandAnswer(Answered):
    """``answered``: the engine has; else it is stored and waits for an engine. ``version`` and ``status`` are those after it."""

    action_id: UUID
    answered: bool
    key: str
    version: int | None = None
    status: str | None = None
    position: str | None = None
    duplicate: bool = False
    note: str = ""


class StoppedAnswer(Answered):
    """Intents that wait for a person. ``next`` is the pointer to ask behind; null: these are the last."""

    intents: list[StoppedIntentAnswer]
    next: str | None


_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": CommandAnswer, "description": "stored; no engine has answered yet"}
}


class CommandCall:
    """One request for a command: who asks, under which id, and how long they wait for the answer."""

    def __init__(
        self, served: Served, asking: Asking, response: Response, idempotency_key: IdempotencyKey = None,
        wait_s: WaitS = 10.0,
    ) -> None:  # fmt: skip
        self.served, self.asking = served, asking
        self._response, self._wait_s = response, wait_s
        self._action_id = _action_id(idempotency_key)
        self._issuer = f"api:{asking.name}"

    async def submit(self, command: str, body: SubmitBody) -> CommandAnswer:
        key = key_of(body.key)

        async def send() -> CommandAnswer:
            done = await self.served.client.submit(
                key, body.trigger, body.payload, action_id=self._action_id, issuer=self._issuer, timeout_s=self._wait_s,
                expected_version=body.expected_version, correlation_id=body.correlation_id, cause=body.cause,
                expires_at=body.expires_at,
            )  # fmt: skip
            return CommandAnswer(
                action_id=self._action_id, answered=True, key=str(key), version=done.version, status=done.status,
                position=position_text(done.position), duplicate=done.duplicate,
            )  # fmt: skip

        return await self._carried_out(command, key, body.trigger, send)

    async def request(
        self, command: str, key: WorkflowKey, kind: str, payload: Mapping[str, JsonValue]
    ) -> CommandAnswer:
        """A request of an operator (``engine.operator_requests``)."""

        async def send() -> CommandAnswer:
            await self.served.client.request(
                key, kind, payload, action_id=self._action_id, issuer=self._issuer, timeout_s=self._wait_s
            )
            return CommandAnswer(action_id=self._action_id, answered=True, key=str(key))

        return await self._carried_out(command, key, kind, send)

    async def _carried_out(
        self, command: str, key: WorkflowKey, trigger: str, send: Callable[[], Awaitable[CommandAnswer]]
    ) -> CommandAnswer:
        served = self.served
        if served.takes_nothing:
            raise StoreTakesNoCommands(served.takes_nothing)
        if served.commands >= AT_ONCE:
            raise Overloaded(f"{AT_ONCE} commands wait for an answer; nothing was accepted", retry_after_s=1.0)
        served.commands += 1
        outcome = "failed"
        try:
            answer = await send()
            outcome = "done"
            return answer
        except CommitUnknown as unknown:
            outcome = "stored"
            self._response.status_code = 202
            return CommandAnswer(action_id=self._action_id, answered=False, key=str(key), note=unknown.message)
        except OnexError as error:
            outcome = error.code
            raise
        finally:
            served.commands -= 1
            served.audit.tell(self.asking, command, key, trigger, self._action_id, outcome)


def _action_id(idempotency_key: str | None) -> UUID:
    """A UUID is the id itself; another text makes one, always the same."""
    if idempotency_key is None:
        return new_action_id()
    try:
        return UUID(idempotency_key)
    except ValueError:
        return id_of_idempotency_key(idempotency_key)


Call = Annotated[CommandCall, Depends()]


@routes.post("/api/submit", responses=_ACCEPTED)
async def submit(call: Call, body: SubmitBody) -> CommandAnswer:
    """Send an action to an instance. The first one begins it."""
    return await call.submit("submit", body)


@routes.post("/api/signal", responses=_ACCEPTED)
async def signal(call: Call, body: SignalBody) -> CommandAnswer:
    """Send a message to an instance that has begun."""
    await call.served.stored(key_of(body.key))
    action = SubmitBody(key=body.key, trigger=body.signal, payload=body.payload)
    return await call.submit("signal", action)


@routes.post("/api/cancel", responses=_ACCEPTED)
async def cancel(call: Call, body: CancelBody) -> CommandAnswer:
    """Cancel an instance."""
    await call.served.stored(key_of(body.key))
    action = SubmitBody(key=body.key, trigger=CANCEL)
    return await call.submit("cancel", action)


@routes.post("/api/approve", responses=_ACCEPTED)
async def approve(call: Call, body: ApproveBody) -> CommandAnswer:
    """Approve or reject what an orchestration waits for. The name of the token is who said so."""
    await call.served.stored(key_of(body.key))
    trigger = f"{body.task}.{'approve' if body.approved else 'reject'}"
    payload: dict[str, JsonValue] = {"by": call.asking.name, "note": body.note}
    action = SubmitBody(key=body.key, trigger=trigger, payload=payload, expected_version=body.expected_version)
    return await call.submit("approve", action)


@routes.post("/api/release", responses=_ACCEPTED)
async def release(call: Call, body: ReleaseBody) -> CommandAnswer:
    """Let a held instance take actions again."""
    key = key_of(body.key)
    await call.served.stored(key)
    return await call.request("release", key, RELEASE, {})


@routes.post("/api/redrive", responses=_ACCEPTED)
async def redrive(call: Call, body: RedriveBody) -> CommandAnswer:
    """Run a dead intent again, or deliver a held outcome again. The key of its effect stays the same."""
    pointer = Pointer(*map(int, body.pointer.split(":")))
    row = await _stopped_at(call.served, pointer)
    if row is None:
        raise NotFound(f"no dead or held intent is at {body.pointer}")
    return await call.request("redrive", row.key, REDRIVE, {"pointer": position_text(pointer)})


@routes.get("/api/stopped", tags=["waiting for a person"])
async def stopped(
    served: Served,
    asking: Asking,
    after: Annotated[str | None, Query(pattern=POINTER, description="only behind this pointer")] = None,
    limit: Rows = 50,
) -> StoppedAnswer:
    """List intents that are dead or held."""
    behind = None if after is None else Pointer(*map(int, after.split(":")))
    rows = list(await served.reader.outbox(STOPPED, None, behind, limit + 1))
    stored = await served.reader.load(list({row.key for row in rows}))
    hide = served.hide(asking)
    found = [
        StoppedIntentAnswer.model_validate(
            stopped_intent_json(row, stored[row.key].status if row.key in stored else None, hide)
        )
        for row in rows[:limit]
    ]
    return StoppedAnswer(intents=found, next=found[-1].pointer if len(rows) > limit else None)


async def _stopped_at(served: ServedStore, pointer: Pointer) -> OutboxRow | None:
    rows = await served.reader.outbox(STOPPED, None, pointer._replace(ordinal=pointer.ordinal - 1), 1)
    return rows[0] if rows and rows[0].pointer == pointer else None
