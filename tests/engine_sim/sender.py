"""Sender: another process, which speaks to the owner by way of the inbox table, well and badly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel

from onex.engine.mailbox import Committed
from onex.engine.operator_requests import REDRIVE, RELEASE
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import NOTHING, WorkflowKey
from onex.kernel.errors import OnexError, ValidationError
from onex.ports import Pointer
from onex.simulation.host import current_host
from onex.simulation.sim_store import SimStore
from tests.engine_sim.sample_workflow import TOO_MUCH

AGAIN_S: Final = 0.5
RUBBISH: Final = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'{"workflow_key":["errand","a"],"kind":"add","kind":"add"}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":NaN}}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":1e999}}',
    b'{"workflow_key":["errand","a"],"kind":"add","nobody_knows":1}',
    b'{"workflow_key":["errand","\\ud800"],"kind":"add"}',
    b'{"workflow_key":["../..","a"],"kind":"add"}',
    b'{"workflow_key":["errand","a"],"kind":"@no_such_control"}',
    b'{"workflow_key":["errand","a"],"kind":"@redrive","command_payload":{"pointer":"0:999999:0"}}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"poison":"' + TOO_MUCH.encode() + b'"}}',
)
"""What stands in a table that anybody may write into."""


class ClientRequest(NamedTuple):
    """One action as a client means it: sent again it is the same."""

    key: WorkflowKey
    kind: str
    payload: BaseModel
    id: UUID
    expires_at: datetime | None = None
    expected_version: int | None = None
    lease_id: UUID | None = None
    epoch: int | None = None

    async def post(self, engine: ReducerPatternEngine) -> Committed:
        return await engine.submit(
            self.key,
            self.kind,
            self.payload if self.payload is NOTHING else self.payload.model_copy(),
            action_id=self.id,
            expires_at=self.expires_at,
            expected_version=self.expected_version,
            lease_id=self.lease_id,
            epoch=self.epoch,
        )


class Sender:
    """Asks and waits, for ever if need be. What comes back is the parsed answer, or None when it was swept away."""

    def __init__(self, store: SimStore, violated: Callable[[str], None]) -> None:
        self.store, self.violated = store, violated

    async def deliver(self, request: ClientRequest) -> dict[str, Any] | None:
        body = {
            "workflow_key": list(request.key),
            "kind": request.kind,
            "command_payload": request.payload.model_dump(mode="json"),
            "action_id": str(request.id),
        }
        return await self.send(orjson.dumps(body))

    async def rubbish(self, which: int) -> None:
        body = RUBBISH[which % len(RUBBISH)]
        told = await self.send(body)
        if told is not None and "error" not in told:
            self.violated(f"the inbox took rubbish: {body[:80]!r} was answered {told}")

    async def release(self, key: WorkflowKey) -> None:
        self._done(await self.send(orjson.dumps({"workflow_key": list(key), "kind": RELEASE})))

    async def redrive(self, key: WorkflowKey, pointer: Pointer) -> None:
        text = ":".join(map(str, pointer))
        body = {"workflow_key": list(key), "kind": REDRIVE, "command_payload": {"pointer": text}}
        self._done(await self.send(orjson.dumps(body)))

    def _done(self, told: dict[str, Any] | None) -> None:
        if told is not None and told != {"done": True} and "error" not in told:
            self.violated(f"a control was answered {told}")

    async def send(self, body: bytes) -> dict[str, Any] | None:
        clock = current_host().clock
        while True:
            try:
                ticket = await self.store.send(body, clock.now_us())
                break
            except ValidationError as error:  # refused before it is written: the sender reads no answer
                return {"error": error.as_json()}
            except OnexError:  # nobody can write now
                await clock.sleep(AGAIN_S)
        while (answer := await self.store.answer(ticket)) is None:
            if not any(row.ticket == ticket for row in await self.store.inbox(ticket - 1, 1)):
                answer = await self.store.answer(ticket)
                break
            await clock.sleep(AGAIN_S)
        if answer is None:
            return None  # a clock that jumped by hours has had it swept
        told: dict[str, Any] = orjson.loads(answer)
        return told
