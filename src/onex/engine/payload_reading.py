"""Payload reading: what a client sent becomes the payload of a trigger, by the version of a workflow that is to judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from pydantic import BaseModel, JsonValue

from ..kernel.action import NOTHING, Nothing
from ..kernel.errors import InstanceHeld, InvalidPayload, OnexError
from ..kernel.lease import LeaseRequest
from ..kernel.user_code import a_type, caught
from .arguments import trigger
from .encode import body_hash, canonical_payload, check_json, problems, read_payload
from .pending import Pending
from .registry import Workflow
from .schema_upgrade import logged_payload, logged_trigger, upgrade_sent

PayloadInput = BaseModel | bytes | Mapping[str, JsonValue] | None
ReadPayload = tuple[str, BaseModel, bytes, bytes]
"""``(trigger, payload, body, body hash)``, as one version of a workflow has them."""


def read_payload_of(workflow: Workflow, kind: str, payload: PayloadInput, raw: bytes) -> ReadPayload:
    """A payload that is not the trigger's own model. ``raw``: its JSON, if any.

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


def read_by_any(
    versions: Sequence[Workflow], kind: str, payload: PayloadInput, raw: bytes
) -> tuple[Workflow, ReadPayload]:
    """The first version that can read the action, and what it read: no version's clients are refused by another. Raises what the
    first one, the base, raises where none can."""
    for one in versions:
        with suppress(OnexError):
            return one, read_payload_of(one, kind, payload, raw)
    return versions[0], read_payload_of(versions[0], kind, payload, raw)


def read_again(pending: Pending, workflow: Workflow) -> None:
    """Another version judges the action than the one that read it.

    What a client sent is read from what it sent. What an effect, a timer or another instance brought is read from its body,
    migrated where the schema rose; if it cannot be, it is held in its row, and not lost. Raises InvalidPayload, InstanceHeld,
    InvalidStateTransitionError.
    """
    before, kind = pending.read_by, pending.kind
    if kind[:1] == "@" or type(pending.payload) is LeaseRequest:
        return
    try:
        if pending.sent_as is not None:
            sent, raw = pending.sent_as
            kind, value, body, _ = read_payload_of(workflow, sent, None, raw)
        else:
            schema = workflow.code.state_schema if before is None else before.code.state_schema
            value, body = canonical_payload(logged_payload(workflow, kind, schema, pending.body))
            kind = logged_trigger(workflow, kind, schema)
    except BaseException as error:  # validators of the user's raise anything
        refused = error if isinstance(error, OnexError) else InvalidPayload(f"payload cannot be read: {caught(error)}")
        if pending.settles is None or pending.sent:
            raise refused from error
        raise InstanceHeld(
            f"{kind!r} was read by version {before.code.contract_version if before else '?'}, and version "
            f"{workflow.code.contract_version}, which judges {pending.key} now, cannot read it: {refused.message}"
        ) from error
    pending.read_as(workflow, kind, value, body)


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
