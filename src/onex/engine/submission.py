"""Submission: what a caller hands in becomes a ``Pending``, or a refusal that can be looked up. Nothing is lost at the door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from pydantic import BaseModel, JsonValue
from pydantic import ValidationError as PydanticError

from ..kernel.action import NOTHING, ModelAction, WorkflowKey, micros
from ..kernel.errors import ActionExpiredError, InvalidPayload, OnexError
from ..kernel.user_code import plain_text
from ..ports import Clock, Ids, NewBlob
from .encode import as_raw, body_hash, check_json, encode_payload, read_payload
from .mailbox import Pending
from .registry import ReducerRegistry, Workflow
from .upcast import sent_before

ACTION_DEDUP_TTL_HOURS = 168
ISSUER_CHARACTERS = 1000
_API = UUID("6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a01")
NOWHERE = WorkflowKey("", "")

PayloadInput = BaseModel | bytes | Mapping[str, JsonValue] | None


def id_of_idempotency_key(key: str) -> UUID:
    """The action id of an API caller's ``Idempotency-Key``: the same key is the same action."""
    return uuid5(_API, key)


def read_wire(raw: bytes) -> ModelAction:
    """Raises InvalidPayload, PayloadTooLarge for what is not the JSON of a ModelAction."""
    check_json(raw)
    try:
        return ModelAction.model_validate_json(raw)
    except PydanticError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InvalidPayload(f"this is not an action: {told}") from error


class Door:
    """Where actions come in: checks what needs no state, stamps time and ids."""

    def __init__(
        self, registry: ReducerRegistry, clock: Clock, ids: Ids, *, dedup_hours: int = ACTION_DEDUP_TTL_HOURS
    ) -> None:
        self.registry, self.clock, self.ids, self.dedup_hours = registry, clock, ids, dedup_hours

    def pending(
        self,
        key: WorkflowKey | str,
        kind: str,
        payload: PayloadInput = None,
        *,
        action_id: UUID | None = None,
        correlation_id: UUID | None = None,
        issuer: str = "",
        cause: UUID | None = None,
        issued_at: datetime | None = None,
        expires_at: datetime | None = None,
        lease_id: UUID | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
        blobs: tuple[NewBlob, ...] = (),
        ticket: int = 0,
        source: str = "caller",
    ) -> Pending:
        """A pending action; its ``refusal`` is set when it cannot be judged at all. Raises nothing for bad input."""
        new_id = action_id.bytes if action_id is not None else self.ids.new()
        raw = payload if isinstance(payload, bytes) else b""
        at: WorkflowKey = NOWHERE
        value: BaseModel = NOTHING
        body, digest = raw, b""
        refusal: OnexError | None = None
        try:
            at = WorkflowKey.parse(key) if isinstance(key, str) else WorkflowKey.of(*key)
            if issuer and plain_text(issuer, ISSUER_CHARACTERS) != issuer:
                raise InvalidPayload(
                    f"issuer {issuer[:40]!a} cannot stand in a log: it holds a NUL or a lone surrogate, or more than "
                    f"{ISSUER_CHARACTERS} characters"
                )
            workflow = self.registry[at.workflow_type]
            if isinstance(payload, Mapping):
                raw = as_raw(payload)
            sent, raw_sent = kind, raw
            if kind not in workflow.reducer.payloads:  # perhaps from a client that knows an older contract
                kind, raw = _renamed(workflow, kind, raw)
            model = workflow.payload_model(kind)
            if raw:
                body = raw
                value = read_payload(model, raw)
                digest = body_hash(
                    sent, raw_sent
                )  # as sent: a client that sends it again under its old name has sent it
            else:
                value = self._typed(model, payload if isinstance(payload, BaseModel) else None)
                digest = body_hash(sent, value)
            body = encode_payload(value)
            if action_id is not None:
                self._fresh_enough(new_id)
        except OnexError as error:
            refusal = error
        pending = Pending(
            at,
            kind,
            value,
            id=new_id,
            given_id=action_id is not None,
            issued_us=micros(issued_at) if issued_at is not None else self.clock.now_us(),
            correlation=correlation_id.bytes if correlation_id is not None else new_id,
            body=body,
            body_hash=digest,
            accepted_s=self.clock.monotonic(),
            issuer=issuer if at is not NOWHERE else f"{source}:{str(key)[:200]!a}",
            cause=cause.bytes if cause is not None else None,
            expires_us=micros(expires_at) if expires_at is not None else 0,
            lease_id=lease_id.bytes if lease_id is not None else None,
            epoch=epoch,
            expected_version=expected_version,
            blobs=blobs,
            ticket=ticket,
        )
        pending.refusal = refusal
        return pending

    def from_wire(self, wire: ModelAction, *, ticket: int = 0, source: str) -> Pending:
        """An action that came as ModelAction JSON: from the inbox, the API, the bus."""
        return self.pending(
            wire.workflow_key,
            wire.kind,
            wire.command_payload,
            action_id=wire.action_id,
            correlation_id=wire.correlation_id,
            issuer=wire.issuer,
            cause=wire.parent_action_id,
            expires_at=wire.expires_at,
            lease_id=wire.lease_id,
            epoch=wire.epoch,
            ticket=ticket,
            source=source,
        )

    def unreadable(self, raw: bytes, error: OnexError, *, ticket: int = 0, source: str) -> Pending:
        """What ``read_wire`` refused: answered with its error, and recorded under its source."""
        pending = self.pending(NOWHERE, "", None, ticket=ticket, source=source)
        pending.refusal, pending.body, pending.issuer = error, raw, source
        return pending

    def _typed(self, model: type[BaseModel], value: BaseModel | None) -> BaseModel:
        if value is None:
            try:
                return NOTHING if type(NOTHING) is model else model()
            except PydanticError as error:
                missing = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
                raise InvalidPayload(f"this trigger carries a {model.__name__}: it needs {missing}") from error
        if type(value) is not model:
            raise InvalidPayload(f"this trigger carries a {model.__name__}, not a {type(value).__name__}")
        return value

    def _fresh_enough(self, action_id: bytes) -> None:
        """Ids of ours carry their time; beyond the dedup horizon a duplicate could no longer be told from a new action."""
        if action_id[6] >> 4 != 7:
            return
        age_ms = self.clock.now_us() // 1000 - int.from_bytes(action_id[:6])
        if age_ms > self.dedup_hours * 3_600_000:
            raise ActionExpiredError(
                f"action id {action_id.hex()} is {age_ms // 3_600_000} h old; ids are remembered {self.dedup_hours} h"
            )


def _renamed(workflow: Workflow, kind: str, raw: bytes) -> tuple[str, bytes]:
    """A trigger that a later schema calls otherwise, and what it carried, as they are now; anything else as it came."""
    if raw:
        check_json(raw)
    called, now = sent_before(workflow, kind, raw)
    return called, now if raw else b""
