"""Work: one intent on its way through the relay, fresh from a commit or read back from the store after a crash."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel

from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from ..kernel.intent import EnumIntentType, intent_id
from ..ports import Clock, NewBlob, OutboxRow
from .encode import body_hash, canonical_payload
from .mailbox import Fresh, Pending
from .registry import ReducerRegistry
from .schema_upgrade import logged_intent


class Delivery:
    """One intent on its way. ``maybe_done`` says whether any try so far may have had its effect.

    ``emitted_as`` is the name its id is made of, where the contract calls it otherwise by now.
    """

    __slots__ = ("attempt", "crashes", "emitted_as", "fresh", "maybe_done", "queued_us")

    def __init__(self, fresh: Fresh, queued_us: int, attempt: int = 1, crashes: int = 0, emitted_as: str = "") -> None:
        self.fresh = fresh
        self.queued_us = queued_us
        self.attempt = attempt
        self.crashes = crashes
        self.emitted_as = emitted_as
        self.maybe_done = False

    @property
    def id(self) -> UUID:
        fresh = self.fresh
        return intent_id(UUID(bytes=fresh.action_id), fresh.key, self.emitted_as or fresh.emitted.name, fresh.n)

    def pending(
        self,
        clock: Clock,
        key: WorkflowKey,
        kind: str,
        payload: BaseModel,
        action_id: UUID,
        *,
        issuer: str = "",
        blobs: tuple[NewBlob, ...] = (),
    ) -> Pending:
        """The action that this intent leads to and that settles its row. Raises InvalidPayload, PayloadTooLarge."""
        fresh = self.fresh
        payload, body = canonical_payload(payload)
        return Pending(
            key,
            kind,
            payload,
            id=action_id.bytes,
            given_id=False,
            issued_us=clock.now_us(),
            correlation=fresh.correlation,
            body=body,
            # over the stored bytes: a held outcome that is delivered again has the same
            body_hash=body_hash(kind, body),
            accepted_s=clock.monotonic(),
            issuer=issuer or f"intent:{fresh.emitted.name}",
            cause=fresh.action_id,
            settles=fresh.pointer,
            blobs=blobs,
        )


def stored_delivery(row: OutboxRow, registry: ReducerRegistry, now_us: int) -> Delivery:
    """The typed intent of a stored row; what else its step emitted is not looked at.

    Raises UnknownWorkflow, StateConsistencyError, MigrationFailed, StateTooNew when this app cannot read it.
    """
    workflow = registry[row.key.workflow_type]
    emitted, was, n = logged_intent(workflow, row.payload_schema, row.intents, row.pointer.ordinal)
    spec = emitted.spec
    if (spec.kind == EnumIntentType.TIMER) != bool(row.timer):
        what = "a timer" if row.timer else "no timer"
        raise StateConsistencyError(f"intent {was!r} was stored as {what}; the contract says {spec.kind}")
    if spec.payload is not None and emitted.payload is None:
        raise StateConsistencyError(
            f"intent {was!r} was stored with no payload; the contract says {spec.payload.__name__}"
        )
    fresh = Fresh(row.pointer, row.key, row.version, row.action_id, row.correlation, emitted, n)
    return Delivery(fresh, now_us, max(1, row.attempt), row.crashes, was if was != spec.name else "")
