"""Consumed topics: which messages of a topic become actions, of which instance and by which trigger. Pure.

A contract's ``event_bus.subscribe_topics`` is a list of ``ConsumedTopic``. A message on such a topic is an ``OnexEnvelopeV1``. For
each workflow that reads the topic it becomes one action at most: that of the row whose ``event_type`` is the message's. The
action has the id of the envelope, so a message that comes twice is applied once. Its correlation and its cause are those of the
envelope, its issuer the instance (``source_instance``) or the service that sent it.

The instance is named by a field of the payload, by a header, by the id of the envelope or by the key of the message. An event
that no row wants is passed over: several kinds may share a topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

from ...bus import BusRefused, ReceivedMessage
from ...kernel.action import ModelAction, WorkflowKey
from ...kernel.envelope import EACH_ITS_OWN, HEADER, OnexEnvelopeV1
from ...kernel.errors import InvalidKey, InvalidPayload, OnexError
from ...kernel.message_signature import SharedKeys
from ...kernel.size_limits import WIRE_BYTES, WIRE_DEPTH
from ..encode import check_json
from .message import AskedAction, asked_by
from .topics import BusTopics, ConsumedTopic

_DEFAULT: Final = BusTopics()


class TopicRoutes:
    """What each message asks for: of an engine that takes actions from ``commands`` and events from the topics of its workflows."""

    def __init__(
        self, commands: Iterable[str], consumed: Iterable[ConsumedTopic] = (), topics: BusTopics = _DEFAULT
    ) -> None:
        """Raises BusRefused for a topic of actions that a workflow reads, too."""
        self._commands = tuple(dict.fromkeys(commands))
        self._rows: dict[str, list[ConsumedTopic]] = {}
        for row in consumed:
            topic = topics.named(row.topic) if row.by_scheme else row.topic
            if topic in self._commands:
                raise BusRefused(
                    f"{row.workflow_type} reads events from {topic}, where this engine takes actions; give ONEX_TOPICS another"
                )
            self._rows.setdefault(topic, []).append(row)

    @property
    def topics(self) -> tuple[str, ...]:
        return (*self._commands, *self._rows)

    def asks(self, message: ReceivedMessage, keys: SharedKeys | None) -> list[AskedAction]:
        """One for each workflow that wants the message; none where nobody does. What cannot be read is one with its error."""
        rows = self._rows.get(message.topic)
        if rows is None:
            return [asked_by(message, keys)]
        try:
            envelope = read_event(message, keys)
        except OnexError as error:
            return [AskedAction(message, message.key, error)]
        return [_asked(row, message, envelope) for row in rows if row.event_type in ("", envelope.event_type)]


def _asked(row: ConsumedTopic, message: ReceivedMessage, envelope: OnexEnvelopeV1) -> AskedAction:
    """In the lane of its instance: the topic's own key may be another."""
    try:
        action = action_of(row, message, envelope)
    except OnexError as error:
        return AskedAction(message, message.key, error)
    return AskedAction(message, str(WorkflowKey.of(*action.workflow_key)).encode(), action)


def read_event(message: ReceivedMessage, keys: SharedKeys | None) -> OnexEnvelopeV1:
    """Raises InvalidSignature, InvalidPayload, PayloadTooLarge."""
    if keys is not None:
        keys.check(message.topic, message.key, message.value, message.headers)
    if not isinstance(check_json(message.value, WIRE_BYTES, WIRE_DEPTH), dict):
        raise InvalidPayload("the message is no JSON object; an event is an OnexEnvelopeV1")
    return OnexEnvelopeV1.from_bytes(message.value)


def action_of(row: ConsumedTopic, message: ReceivedMessage, envelope: OnexEnvelopeV1) -> ModelAction:
    """Raises InvalidKey."""
    return ModelAction(
        workflow_key=WorkflowKey.of(row.workflow_type, _instance(row, message, envelope)),
        kind=row.trigger,
        command_payload=envelope.payload,
        action_id=envelope.envelope_id,
        correlation_id=envelope.correlation_id,
        parent_action_id=envelope.causation_id,
        issuer=envelope.source_instance or envelope.source_service,
    )


def _instance(row: ConsumedTopic, message: ReceivedMessage, envelope: OnexEnvelopeV1) -> str:
    if row.key.startswith(HEADER):
        name = row.key.removeprefix(HEADER)
        found = [value for header, value in message.headers if header == name]
        return _decoded(found[-1] if found else b"", f"the header {name!r} of the message")
    if row.key == EACH_ITS_OWN:
        return str(envelope.envelope_id)
    if not row.key:
        return _decoded(message.key, "the key of the message")
    value = _at(row.key, envelope.payload)
    if value is None or value == "" or isinstance(value, dict | list | bool):
        raise InvalidKey(
            f"the field {row.key!r} of the payload is missing, empty or no plain value; it names the instance of "
            f"{row.workflow_type}"
        )
    return str(value)


def _decoded(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidKey(f"{what} is no text: {error}; it names the instance") from error
    if not text:
        raise InvalidKey(f"{what} is missing; it names the instance")
    return text


def _at(path: str, fields: Mapping[str, JsonValue]) -> JsonValue:
    value: JsonValue = None
    inside: Mapping[str, JsonValue] = fields
    for part in path.split("."):
        value = inside.get(part)
        inside = value if isinstance(value, dict) else {}
    return value
