"""Message: what a message on a topic of actions asks for, and what is made of one that nobody can use. Pure.

A message is keyed by the instance, ``type:id``. Its value is an ``OnexEnvelopeV1``, whose ``event_type`` is the trigger and whose
``payload`` is the payload; or a ``ModelAction``, which may also name a lease, an epoch, an expected version. What it asks for is
done once: its id is the envelope's or the action's own, else it is made of topic, partition and offset.

With shared keys the signature is checked first: nothing of a message is read that is not signed. Such a message needs an id of its
own, because a copy of it at another offset could not be told from a new one.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID, uuid5

from ...bus import BusMessage, ReceivedMessage
from ...kernel.action import ModelAction, WorkflowKey
from ...kernel.envelope import OnexEnvelopeV1
from ...kernel.errors import InvalidKey, InvalidPayload, OnexError
from ...kernel.message_signature import SharedKeys
from ...kernel.size_limits import WIRE_BYTES, WIRE_DEPTH
from ...kernel.user_code import plain_text
from ..encode import check_json
from ..intake import read_wire
from .topics import dead_letter_topic

_BUS: Final = UUID("6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a02")
REASON_CHARACTERS: Final = 1000


def message_id(message: ReceivedMessage) -> UUID:
    """The id of where it stands. It is the same whenever the message is read."""
    return uuid5(_BUS, f"{message.topic}/{message.partition}/{message.offset}")


class AskedAction(NamedTuple):
    """What one message asks of one instance, or why it asks nothing. Those of one ``lane`` are handled in their order."""

    message: ReceivedMessage
    lane: bytes
    action: ModelAction | OnexError


def asked_by(message: ReceivedMessage, keys: SharedKeys | None) -> AskedAction:
    """Of a message on a topic of actions."""
    try:
        return AskedAction(message, message.key, read_message(message, keys))
    except OnexError as error:
        return AskedAction(message, message.key, error)


def read_message(message: ReceivedMessage, keys: SharedKeys | None) -> ModelAction:
    """Raises InvalidSignature, InvalidKey, InvalidPayload, PayloadTooLarge."""
    if keys is not None:
        keys.check(message.topic, message.key, message.value, message.headers)
    try:
        text = message.key.decode()
    except UnicodeDecodeError as error:
        raise InvalidKey(
            f"the key of the message is no text: {error}; it must be the instance, TYPE:INSTANCE"
        ) from error
    key = WorkflowKey.parse(text)
    value = check_json(message.value, WIRE_BYTES, WIRE_DEPTH)
    if not isinstance(value, dict):
        raise InvalidPayload("the message is no JSON object; send an OnexEnvelopeV1 or a ModelAction")
    if "workflow_key" in value:
        action = read_wire(message.value)
        named, given_id = WorkflowKey.of(*action.workflow_key), action.action_id
    else:
        envelope = OnexEnvelopeV1.from_bytes(message.value)
        named = key if envelope.partition_key is None else WorkflowKey.parse(envelope.partition_key)
        given_id = envelope.envelope_id
        action = ModelAction(
            workflow_key=key,
            kind=envelope.event_type,
            command_payload=envelope.payload,
            action_id=given_id,
            correlation_id=envelope.correlation_id,
            parent_action_id=envelope.causation_id,
            issuer=envelope.source_service,
        )
    if named != key:
        raise InvalidKey(
            f"the message is keyed {key} and asks for {named}; the key decides its order, so both must be the same"
        )
    if given_id is None and keys is not None:
        raise InvalidPayload(
            "a signed message needs an action_id of its own: without it, a copy would be applied again"
        )
    return action if given_id is not None else action.model_copy(update={"action_id": message_id(message)})


def dead_letter(message: ReceivedMessage, error: OnexError, group: str) -> BusMessage:
    """The message as it was, on the topic's dead-letter topic, with the reason in its headers."""
    where = f"{message.topic}/{message.partition}/{message.offset}"
    reason = plain_text(error.message, REASON_CHARACTERS)
    why = (
        ("onex-reason-code", error.code.encode()),
        ("onex-reason", reason.encode()),
        ("onex-source", where.encode()),
        ("onex-group", group.encode()),
    )
    return BusMessage(
        dead_letter_topic(message.topic), message.key or where.encode(), message.value, (*message.headers, *why)
    )
