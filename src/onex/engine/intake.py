"""Intake: what a caller hands in becomes a ``Pending``, or a refusal that can be looked up. Nothing that was sent is lost.

Here stands what can be checked without any state: types and ranges of arguments, the key, the trigger, the payload, the age
of the id. Time and ids are stamped here. ``pending`` raises nothing: an argument may be an object of any class, whose methods
may raise anything when they are read, and a refused action is recorded like any other. The body is kept as far as it was
read, for the rejection that shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError

from ..kernel.action import NOTHING, EnumActionType, ModelAction, WorkflowKey
from ..kernel.canonical import detached
from ..kernel.errors import (
    ActionExpiredError,
    InvalidPayload,
    OnexError,
    ReservedKind,
    ValidationError,
)
from ..kernel.size_limits import WIRE_BYTES, WIRE_DEPTH, check_body
from ..kernel.user_code import caught, plain_text
from ..ports import Clock, Ids, NewBlob
from .arguments import (
    OPERATOR,
    Arguments,
    checked,
    client_issuer,
    count,
    moment_us,
    operator_name,
    plain,
    text,
    trigger,
    uuid_bytes,
    workflow_key,
)
from .encode import body_hash, check_json, encode_payload, json_bytes, read_payload
from .operator_requests import OperatorSubmit
from .payload_reading import PayloadInput, read_by_any, read_payload_of
from .pending import Pending
from .registry import ReducerRegistry, Workflow
from .wire_support import not_an_end, unsupported

ACTION_DEDUP_TTL_HOURS = 168
_API = UUID("6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a01")
NO_KEY = WorkflowKey("", "")


def id_of_idempotency_key(key: str) -> UUID:
    """The action id of an API caller's ``Idempotency-Key``: the same key is the same action. Raises ValidationError."""
    given = checked(text, "idempotency key", key)
    if not given or plain_text(given, len(given)) != given:
        raise ValidationError("an idempotency key is text of at least one character, without NUL or lone surrogates")
    return uuid5(_API, given)


def read_wire(raw: object) -> ModelAction:
    """Raises InvalidPayload, PayloadTooLarge for what is not the JSON of a ModelAction."""
    body = check_body(raw)
    check_json(body, WIRE_BYTES, WIRE_DEPTH)
    try:
        return ModelAction.model_validate_json(body)
    except PydanticError as error:
        problem = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InvalidPayload(plain_text(f"this is not an action: {problem}")) from error


def write_wire(action: ModelAction) -> bytes:
    """The body for an inbox. Raises what any owner would refuse it with, before it is written."""
    refused = unsupported(action)
    if refused is not None:
        raise refused
    check_json(json_bytes(checked(plain, "payload", action.command_payload)))
    try:
        body = action.model_dump_json(exclude_none=True).encode()
    except Exception as error:  # text that is no Unicode: pydantic_core and the codec raise classes of their own
        raise InvalidPayload(f"action cannot be written as JSON: {caught(error)}") from error
    return check_body(body)


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
        operator: str | None = None,
        cause: UUID | None = None,
        issued_at: datetime | None = None,
        expires_at: datetime | None = None,
        lease_id: UUID | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
        blobs: tuple[NewBlob, ...] = (),
        ticket: int = 0,
        shard: int = 0,
        source: str = "caller",
        ours: bool = False,
        comes_again: bool = False,
        refusal: OnexError | None = None,
    ) -> Pending:
        """A pending action; its ``refusal`` is set when it cannot be folded at all. Raises nothing, whatever it is given.

        ``ours`` lets a trigger through that begins with ``@``: the engine's own rollback only. ``refusal`` is one
        that the caller knows already; it comes before any other. ``operator`` names whoever may send an internal trigger: the
        issuer in the log is then ``operator:NAME``. No field of a message leads to it.
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
        now_us, accepted_s = self.clock.now_us(), self.clock.monotonic()
        correlation = read(uuid_bytes, "correlation_id", correlation_id) if correlation_id is not None else None
        sender = "" if type(issuer) is str and not issuer else read(client_issuer, "issuer", issuer) or ""
        if operator is not None:
            sender = OPERATOR + (read(operator_name, "operator", operator) or "")
        caused_by = read(uuid_bytes, "cause", cause) if cause is not None else None
        lease = read(uuid_bytes, "lease_id", lease_id) if lease_id is not None else None
        at_epoch = read(count, "epoch", epoch) if epoch is not None else None
        at_version = read(count, "expected_version", expected_version) if expected_version is not None else None
        value: BaseModel = NOTHING
        body, hashed = payload if type(payload) is bytes else b"", b""
        found, internal = arguments.refusal, ""
        read_by: Workflow | None = None
        sent_as: tuple[str, bytes] | None = None
        if found is None:
            try:
                if name[:1] == "@":
                    _check_reserved(name, ours)
                workflow = self.registry[at.workflow_type]
                read_by = workflow
                # the common case asks no more
                if payload is not None and type(payload) is workflow.reducer.payloads.get(name):
                    hashed = body_hash(name, payload)
                    value = detached(payload)
                    body = encode_payload(value)
                else:
                    if isinstance(payload, Mapping):
                        body = json_bytes(plain("payload", payload))  # kept, though what follows may refuse it
                    if self.registry.several:
                        sent_as = None if isinstance(payload, BaseModel) else (name, body)
                        read_by, made = read_by_any(self.registry.at_hand(at.workflow_type), name, payload, body)
                    else:
                        made = read_payload_of(workflow, name, payload, body)
                    name, value, body, hashed = made
                if given is not None:
                    self._check_age(given)
                if operator is None:
                    internal = self.registry.internal[at.workflow_type].get(name, "")
            except OnexError as error:
                found = error
            except BaseException as error:
                found = InvalidPayload(f"payload cannot be read: {caught(error)}")
        return Pending(
            at,
            name,
            value,
            id=new_id,
            # an inbox row may have been applied before a crash: the log is asked before it is refused
            given_id=action_id is not None or ticket > 0,
            issued_us=now_us if issued_us is None else issued_us,
            correlation=correlation or new_id,
            body=body,
            body_hash=hashed,
            accepted_s=accepted_s,
            issuer=_unknown_sender(source, key) if at is NO_KEY else sender,
            cause=caused_by,
            expires_us=0 if expires_us is None else max(1, expires_us),
            lease_id=lease,
            epoch=at_epoch,
            expected_version=at_version,
            blobs=blobs,
            ticket=ticket,
            shard=shard,
            refusal=refusal or found,
            internal=internal,
            comes_again=comes_again,
            read_by=read_by,
            sent_as=sent_as,
        )

    def one_of_many(self, action: object) -> Pending:
        """The pending of one entry of ``submit_many``: ``(key, trigger)`` or ``(key, trigger, payload)``."""
        if type(action) is tuple and 2 <= len(action) <= 3:
            return self.pending(*action)
        arguments = Arguments()
        parts = arguments.read(_parts, "action", action)
        if parts is not None:
            return self.pending(*parts)  # type: ignore[arg-type]  # checked there, whatever they are
        assert arguments.refusal is not None, "what was not read was refused"
        return self.unreadable(b"", arguments.refusal, source="caller")

    def from_wire(
        self,
        wire: ModelAction,
        *,
        ticket: int = 0,
        shard: int = 0,
        source: str,
        comes_again: bool = False,
        refusal: OnexError | None = None,
    ) -> Pending:
        """An action that came as ModelAction JSON: from the inbox, the API, the bus. It never has an operator's right."""
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
            expected_version=0 if wire.action_type is EnumActionType.START_WORKFLOW else wire.expected_version,
            ticket=ticket,
            shard=shard,
            source=source,
            comes_again=comes_again,
            refusal=unsupported(wire) or not_an_end(wire, self.registry) or refusal,
        )

    def from_operator(self, wire: ModelAction, *, ticket: int, shard: int = 0, source: str) -> Pending:
        """An action that an operator sends through the inbox: the request carries trigger, payload and the operator's name."""
        try:
            asked = read_payload(OperatorSubmit, json_bytes(plain("payload", wire.command_payload)))
        except OnexError as error:
            return self.from_wire(wire, ticket=ticket, shard=shard, source=source, refusal=error)
        return self.pending(
            wire.workflow_key,
            asked.trigger,
            asked.payload,
            action_id=wire.action_id,
            operator=asked.operator,
            expires_at=wire.expires_at,
            expected_version=wire.expected_version,
            ticket=ticket,
            shard=shard,
            source=source,
        )

    def unreadable(
        self, raw: object, error: OnexError, *, ticket: int = 0, source: str, action_id: UUID | None = None
    ) -> Pending:
        """What ``read_wire`` refused: answered with its error, and recorded under its source."""
        new_id = self.ids.new() if action_id is None else action_id.bytes
        return Pending(
            NO_KEY,
            "",
            NOTHING,
            id=new_id,
            given_id=ticket > 0,
            issued_us=self.clock.now_us(),
            correlation=new_id,
            body=raw if isinstance(raw, bytes) else b"",
            body_hash=b"",
            accepted_s=self.clock.monotonic(),
            issuer=source,
            ticket=ticket,
            refusal=error,
        )

    def _check_age(self, action_id: bytes) -> None:
        """A UUIDv7 carries its time. Past the dedup horizon a duplicate cannot be told from a new action: ActionExpiredError."""
        if action_id[6] >> 4 != 7:
            return
        age_ms = self.clock.now_us() // 1000 - int.from_bytes(action_id[:6])
        if age_ms > self.dedup_hours * 3_600_000:
            raise ActionExpiredError(
                f"action id {UUID(bytes=action_id)} is {age_ms // 3_600_000} h old; ids are remembered {self.dedup_hours} h"
            )


def _check_reserved(kind: str, ours: bool) -> None:
    if not ours:
        raise ReservedKind(
            f"trigger {kind[:80]!a} is the engine's own, and nobody submits it; the timer of a status fires by itself, "
            "onex release lets a held instance go on, onex dead --redrive runs a dead intent again, and "
            "engine.rollback(key, version) returns to an earlier version, and engine.lease(key) leads an instance"
        )


def _parts(name: str, action: object) -> tuple[object, ...]:
    if isinstance(action, tuple | list) and 2 <= len(action) <= 3:
        return tuple(action)
    raise ValidationError(f"{name} is none: give (key, trigger) or (key, trigger, payload)")


def _unknown_sender(source: str, key: object) -> str:
    """Where input without a readable key came from, with what stood in the key's place."""
    try:
        shown = str(key) if isinstance(key, str | tuple) else type(key).__name__
    except BaseException as error:
        shown = caught(error)
    return f"{source}:{shown[:200]!a}"
