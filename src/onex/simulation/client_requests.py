"""What a simulated client sends: one action that stays the same however often it is sent, by ``submit`` or by the inbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel, JsonValue

from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.pending import Committed
from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.errors import OnexError, ValidationError
from .host import current_host
from .sim_store import SimStore

ANSWER_LOOK_S: Final = 0.5


class ClientRequest(NamedTuple):
    """One action as a client means it. Sent again it has the same id and the same body."""

    key: WorkflowKey
    kind: str
    payload: BaseModel | Mapping[str, JsonValue] | None
    id: UUID
    expires_at: datetime | None = None
    expected_version: int | None = None
    lease_id: UUID | None = None
    epoch: int | None = None

    async def submit(self, engine: ReducerPatternEngine) -> Committed:
        payload = self.payload
        if isinstance(payload, BaseModel) and payload is not NOTHING:
            payload = payload.model_copy()  # a handler may change what it is given; the client's own stays as it was
        return await engine.submit(
            self.key,
            self.kind,
            payload,
            action_id=self.id,
            expires_at=self.expires_at,
            expected_version=self.expected_version,
            lease_id=self.lease_id,
            epoch=self.epoch,
        )

    def inbox_body(self) -> bytes:
        """As another process writes it into the inbox."""
        payload = self.payload
        body = {
            "workflow_key": list(self.key),
            "kind": self.kind,
            "command_payload": payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload or {},
            "action_id": str(self.id),
        }
        return orjson.dumps(body)


async def send_by_inbox(
    store: SimStore, body: bytes, retry_s: float, not_written: Callable[[OnexError], None] = lambda error: None
) -> dict[str, Any] | None:
    """Writes into the inbox and waits, for ever if need be. Returns the parsed answer.

    None: the answer was swept away, because the engine's clock jumped past the hour for which answers are kept. A body that
    is refused before it is written gives ``{"error": ...}``, as the engine would. ``not_written`` is called at each failed
    try to write; the next one follows after ``retry_s``.
    """
    clock = current_host().clock
    while True:
        try:
            ticket = await store.send(body, clock.now_us())
            break
        except ValidationError as error:
            return {"error": error.as_json()}
        except OnexError as error:
            not_written(error)
            await clock.sleep(retry_s)
    while (answer := await store.answer(ticket)) is None:
        if not any(row.ticket == ticket for row in await store.inbox(ticket - 1, 1)):
            answer = await store.answer(ticket)  # the row became its answer between the two reads
            break
        await clock.sleep(ANSWER_LOOK_S)
    if answer is None:
        return None
    answered: dict[str, Any] = orjson.loads(answer)
    return answered
