"""Submission: what a caller hands in becomes a ``Pending``, or a refusal that can be looked up. Nothing is lost at the door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from pydantic import BaseModel, JsonValue
from pydantic import ValidationError as PydanticError

from ..kernel.action import NOTHING, EnumActionType, ModelAction, Nothing, WorkflowKey
from ..kernel.canonical import detached
from ..kernel.errors import (
    ActionExpiredError,
    InvalidPayload,
    OnexError,
    ReservedKind,
    UnsupportedAction,
    ValidationError,
)
from ..kernel.size_limits import WIRE_BYTES, WIRE_DEPTH, check_body
from ..kernel.user_code import caught, plain_text
from ..ports import Clock, Ids, NewBlob
from .arguments import Arguments, checked, count, issuer_text, moment_us, plain, text, trigger, uuid_bytes, workflow_key
from .encode import body_hash, canonical_payload, check_json, encode_payload, json_bytes, problems, read_payload
from .mailbox import Pending
from .registry import ReducerRegistry, Workflow
from .schema_upgrade import upgrade_sent

ACTION_DEDUP_TTL_HOURS = 168
_API = UUID("6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a01")
NO_KEY = WorkflowKey("", "")
REDUCER = "reducer"

PayloadInput = BaseModel | bytes | Mapping[str, JsonValue] | None

_INSTEAD = {
    EnumActionType.DELEGATE_TASK: "let a reducer emit an intent for the node that is to do it",
    EnumActionType.ABORT_WORKFLOW: "submit the trigger by which its contract cancels",
    EnumActionType.CHECKPOINT_STATE: "leave it to the engine, which keeps a snapshot every 1,000 versions",
    EnumActionType.ROLLBACK_STATE: "call engine.rollback(key, version) in the process that runs it",
}


def id_of_idempotency_key(key: str) -> UUID:
    """The action id of an API caller's ``Idempotency-Key``: the same key is the same action. Raises ValidationError."""
    told = checked(text, "idempotency key", key)
    if not told or plain_text(told, len(told)) != told:
        raise ValidationError("an idempotency key is text of at least one character, without NUL or lone surrogates")
    return uuid5(_API, told)


def read_wire(raw: object) -> ModelAction:
    """Raises InvalidPayload, PayloadTooLarge for what is not the JSON of a ModelAction."""
    body = check_body(raw)
    check_json(body, WIRE_BYTES, WIRE_DEPTH)
    try:
        return ModelAction.model_validate_json(body)
    except PydanticError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InvalidPayload(plain_text(f"this is not an action: {told}")) from error


def write_wire(action: ModelAction) -> bytes:
    """The body for an inbox. Raises what the door would refuse it with whatever is in the store, before it is written."""
    refused = unsupported(action)
    if refused is not None:
        raise refused
    check_json(json_bytes(checked(plain, "payload", action.command_payload)))
    try:
        body = action.model_dump_json(exclude_none=True).encode()
    except Exception as error:  # text that is no Unicode: pydantic_core and the codec raise classes of their own
        raise InvalidPayload(f"action cannot be written as JSON: {caught(error)}") from error
    return check_body(body)


def unsupported(wire: ModelAction) -> UnsupportedAction | None:
    """What it asks for that is not done here: a type, a target, a field. Silence would be a promise (decision 14)."""
    if wire.action_type in _INSTEAD:
        return UnsupportedAction(f"action type {wire.action_type.value!r} is not served; {_INSTEAD[wire.action_type]}")
    if wire.target_node != REDUCER:
        return UnsupportedAction(
            f"target node {wire.target_node[:80]!a} takes no actions: they go to {REDUCER!r}, and what an effect or a "
            "compute function is to do is an intent of a reducer"
        )
    if wire.issued_at is not None:
        return UnsupportedAction("issued_at is stamped by the engine; a sender's own time is a field of the payload")
    if wire.metadata:
        return UnsupportedAction("metadata is kept nowhere; send it as a field of the payload")
    return None


class Intake:
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
        ours: bool = False,
    ) -> Pending:
        """A pending action; its ``refusal`` is set when it cannot be judged at all. Raises nothing, whatever it is given.

        ``ours`` lets a trigger through that begins with ``@``: the engine's rollback, and nobody else's.
        """
        arguments = Arguments()
        read = arguments.read
        at = NO_KEY
        if type(key) is str:
            try:
                at = WorkflowKey.parse(key)
            except OnexError as error:
                arguments.refusal = error
        else:
            at = read(workflow_key, "key", key) or NO_KEY
        # text is looked at where it is unknown
        name = kind if type(kind) is str else read(trigger, "trigger", kind) or ""
        given = read(uuid_bytes, "action_id", action_id) if action_id is not None else None
        new_id = given or self.ids.new()
        issued_us = read(moment_us, "issued_at", issued_at) if issued_at is not None else None
        expires_us = read(moment_us, "expires_at", expires_at) if expires_at is not None else None
        pending = Pending(
            at,
            name,
            NOTHING,
            id=new_id,
            given_id=action_id is not None,
            issued_us=self.clock.now_us() if issued_us is None else issued_us,
            correlation=(read(uuid_bytes, "correlation_id", correlation_id) if correlation_id is not None else None)
            or new_id,
            body=payload if type(payload) is bytes else b"",
            body_hash=b"",
            accepted_s=self.clock.monotonic(),
            issuer="" if type(issuer) is str and not issuer else read(issuer_text, "issuer", issuer) or "",
            cause=read(uuid_bytes, "cause", cause) if cause is not None else None,
            expires_us=0 if expires_us is None else max(1, expires_us),
            lease_id=read(uuid_bytes, "lease_id", lease_id) if lease_id is not None else None,
            epoch=read(count, "epoch", epoch) if epoch is not None else None,
            expected_version=read(count, "expected_version", expected_version)
            if expected_version is not None
            else None,
            blobs=blobs,
            ticket=ticket,
        )
        if at is NO_KEY:
            pending.issuer = _stranger(source, key)
        if arguments.refusal is None:
            try:
                self._take_payload(pending, payload, ours)
                if given is not None:
                    self._fresh_enough(given)
            except OnexError as error:
                arguments.refusal = error
            except BaseException as error:
                arguments.refusal = InvalidPayload(f"payload cannot be read: {caught(error)}")
        pending.refusal = arguments.refusal
        return pending

    def one_of_many(self, action: object) -> Pending:
        """The pending of one entry of ``submit_many``: ``(key, trigger)`` or ``(key, trigger, payload)``."""
        if type(action) is tuple and 2 <= len(action) <= 3:
            return self.pending(*action)
        arguments = Arguments()
        parts = arguments.read(_parts, "action", action)
        if parts is not None:
            return self.pending(*parts)  # type: ignore[arg-type]  # judged there, whatever they are
        pending = self.pending(NO_KEY, "")
        pending.refusal, pending.issuer = arguments.refusal, "caller"
        return pending

    def from_wire(self, wire: ModelAction, *, ticket: int = 0, source: str) -> Pending:
        """An action that came as ModelAction JSON: from the inbox, the API, the bus."""
        pending = self.pending(
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
            expected_version=0 if wire.action_type is EnumActionType.START_WORKFLOW else None,
            ticket=ticket,
            source=source,
        )
        pending.refusal = unsupported(wire) or pending.refusal
        return pending

    def unreadable(self, raw: object, error: OnexError, *, ticket: int = 0, source: str) -> Pending:
        """What ``read_wire`` refused: answered with its error, and recorded under its source."""
        pending = self.pending(NO_KEY, "", None, ticket=ticket, source=source)
        pending.refusal, pending.issuer = error, source
        pending.body = raw if isinstance(raw, bytes) else b""
        return pending

    def _take_payload(self, pending: Pending, payload: PayloadInput, ours: bool) -> None:
        """Payload, body and hash. Raises InvalidPayload, PayloadTooLarge, ReservedKind, and what a class raises when read."""
        kind = pending.kind
        if kind[:1] == "@" and not ours:
            raise ReservedKind(
                f"trigger {kind[:80]!a} is the engine's own, and nobody submits it; ask the engine: rollback, release, "
                "redrive, or onex release and onex dead"
            )
        workflow, raw = self.registry[pending.key.workflow_type], b""
        of_plain = False
        if payload is not None and type(payload) is workflow.reducer.payloads.get(kind):  # the common case asks no more
            pending.body_hash = body_hash(kind, payload)
            pending.payload = its = detached(payload)
            pending.body = encode_payload(its)
            return
        if payload is None or isinstance(payload, BaseModel):
            pass
        elif type(payload) is bytes:
            raw = payload or b" "  # no bytes are no JSON
        elif isinstance(payload, Mapping):
            raw, of_plain = json_bytes(plain("payload", payload)), True
            pending.body = raw
        else:
            raise InvalidPayload(f"payload is a {type(payload).__name__}; give its model, a mapping, or JSON as bytes")
        sent, raw_sent = kind, raw
        if kind not in workflow.reducer.payloads:  # perhaps from a client that knows an older contract
            trigger("trigger", kind)
            (kind, raw), of_plain = _renamed(workflow, kind, raw), False
        model = workflow.payload_model(kind)
        value: BaseModel
        if raw:
            value = read_payload(model, raw, of_plain=of_plain)
        elif isinstance(payload, BaseModel):
            if type(payload) is not model:
                raise InvalidPayload(f"this trigger carries a {model.__name__}, not a {type(payload).__name__}")
            value = payload
        else:
            value = _default(model)
        # as sent: a client that sends it again under its old name has sent it
        pending.body_hash = body_hash(sent, raw_sent or value)
        pending.payload, pending.body = canonical_payload(value, held_elsewhere=not raw)  # what every replay will read
        pending.kind = kind

    def _fresh_enough(self, action_id: bytes) -> None:
        """Ids of ours carry their time; beyond the dedup horizon a duplicate could no longer be told from a new action."""
        if action_id[6] >> 4 != 7:
            return
        age_ms = self.clock.now_us() // 1000 - int.from_bytes(action_id[:6])
        if age_ms > self.dedup_hours * 3_600_000:
            raise ActionExpiredError(
                f"action id {action_id.hex()} is {age_ms // 3_600_000} h old; ids are remembered {self.dedup_hours} h"
            )


def _default(model: type[BaseModel]) -> BaseModel:
    """The payload of an action that was sent without one."""
    if model is Nothing:
        return NOTHING
    try:
        return model()
    except BaseException as error:
        raise InvalidPayload(f"this trigger carries a {model.__name__}: {problems(error)}") from error


def _parts(name: str, action: object) -> tuple[object, ...]:
    if isinstance(action, tuple | list) and 2 <= len(action) <= 3:
        return tuple(action)
    raise ValidationError(f"{name} is none: give (key, trigger) or (key, trigger, payload)")


def _stranger(source: str, key: object) -> str:
    """Where input without a readable key came from, with what stood in the key's place."""
    try:
        told = str(key) if isinstance(key, str | tuple) else type(key).__name__
    except BaseException as error:
        told = caught(error)
    return f"{source}:{told[:200]!a}"


def _renamed(workflow: Workflow, kind: str, raw: bytes) -> tuple[str, bytes]:
    """A trigger that a later schema calls otherwise, and what it carried, as they are now; anything else as it came."""
    if raw:
        check_json(raw)
    called, now = upgrade_sent(workflow, kind, raw)
    return called, now if raw else b""
