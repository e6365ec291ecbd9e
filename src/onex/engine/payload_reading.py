"""Payload reading: what a client sent becomes the payload of a trigger, by the version of a workflow that is to judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from pydantic import BaseModel, JsonValue

from ..kernel.action import NOTHING, Nothing
from ..kernel.errors import InstanceHeld, InvalidPayload, OnexError
from ..kernel.lease import LeaseRequest
from ..kernel.user_code import a_type
from .arguments import trigger
from .encode import body_hash, canonical_payload, check_json, problems, read_payload
from .pending import Pending
from .registry import Workflow
from .schema_upgrade import logged_payload, logged_trigger, upgrade_sent

PayloadInput = BaseModel | bytes | Mapping[str, JsonValue] | None


def read_payload_of(
    workflow: Workflow, kind: str, payload: PayloadInput, raw: bytes
) -> tuple[str, BaseModel, bytes, bytes]:
    """``(trigger, payload, body, body hash)`` of a payload that is not the trigger's own model. ``raw``: its JSON, if any.

    Raises InvalidPayload, PayloadTooLarge, and what a class raises when it is read.
    """
    of_plain = False
    if payload is None or isinstance(payload, BaseModel):
        pass
    elif type(payload) is bytes:
        raw = raw or b" "  # no bytes are no JSON
    elif isinstance(payload, Mapping):
        of_plain = True
    else:
        raise InvalidPayload(f"payload is {a_type(payload)}; give its model, a mapping, or JSON as bytes")
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
            raise InvalidPayload(f"the payload of this trigger is {model.__name__}, not {type(payload).__name__}")
        value = payload
    else:
        value = _default(model)
    # as sent: a client that sends it again under its old name has sent the same
    hashed = body_hash(sent, raw_sent or value)
    value, body = canonical_payload(value, held_elsewhere=not raw)  # what every replay will read
    return kind, value, body, hashed


def reader_of(versions: Sequence[Workflow], kind: str, payload: PayloadInput, raw: bytes) -> Workflow:
    """The first version that can read the action, so that no version's clients are refused by another; the base, where none can."""
    for one in versions:
        with suppress(OnexError):
            read_payload_of(one, kind, payload, raw)
            return one
    return versions[0]


def read_again(pending: Pending, workflow: Workflow) -> None:
    """Another version judges the action than the one that read it.

    What a client sent is read from what it sent. What an effect, a timer or another instance brought is read from its body,
    migrated where the schema rose; if it cannot be, it is held in its row, and not lost. Raises InvalidPayload, InstanceHeld,
    InvalidStateTransitionError.
    """
    before, kind = pending.read_by, pending.kind
    if kind[:1] == "@" or type(pending.payload) is LeaseRequest:
        return
    if pending.sent_as is not None:
        sent, raw = pending.sent_as
        kind, value, body, _ = read_payload_of(workflow, sent, None, raw)
        pending.read_as(workflow, kind, value, body)
        return
    schema = workflow.code.state_schema if before is None else before.code.state_schema
    try:
        value = logged_payload(workflow, kind, schema, pending.body)
        value, body = canonical_payload(value)
        pending.read_as(workflow, logged_trigger(workflow, kind, schema), value, body)
    except OnexError as error:
        if pending.settles is None or pending.sent:
            raise
        raise InstanceHeld(
            f"{kind!r} was read by version {before.code.contract_version if before else '?'}, and version "
            f"{workflow.code.contract_version}, which judges {pending.key} now, cannot read it: {error.message}"
        ) from error


def _default(model: type[BaseModel]) -> BaseModel:
    """The payload of an action that was sent without one."""
    if model is Nothing:
        return NOTHING
    try:
        return model()
    except BaseException as error:
        raise InvalidPayload(f"the payload of this trigger is {model.__name__}: {problems(error)}") from error


def _renamed(workflow: Workflow, kind: str, raw: bytes) -> tuple[str, bytes]:
    """A trigger that a later schema calls otherwise, and what it carried, as they are now; anything else as it came."""
    if raw:
        check_json(raw)
    called, now = upgrade_sent(workflow, kind, raw)
    return called, now if raw else b""
