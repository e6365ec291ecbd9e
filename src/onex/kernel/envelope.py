"""OnexEnvelopeV1: what stands around a payload on a bus. One model, with the fields of every form in which ONEX services write it.

The rule: ``from_bytes(to_bytes(e)) == e``, and the bytes are the same each time, so that a signature holds. Which fields are
taken from which form is written in docs/decisions/0029-the-bus.md. ``SPELLINGS`` are names of other forms that are read, and never
written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, model_validator
from pydantic import ValidationError as PydanticError

from .action import Payload
from .canonical import encode, problems
from .errors import InvalidPayload, PayloadTooLarge
from .size_limits import WIRE_BYTES

SPELLINGS: Final[Mapping[str, str]] = {
    "event_id": "envelope_id",
    "event_timestamp": "envelope_timestamp",
    "timestamp": "envelope_timestamp",
    "source": "source_service",
}
VERSIONS: Final = ("v1", "1.0")
HEADER: Final = "header:"
"""Before the name of a header, where a contract says what names the instance of an event: ``key: header:sensor``."""
EACH_ITS_OWN: Final = "@id"
"""In the same place: each message begins an instance of its own, named by the id of its envelope."""


class OnexEnvelopeV1(Payload):
    """One message: a command or an event. Frozen; a field it does not know is an error.

    ``envelope_id`` names the message: sent twice with the same id, it is one message. ``causation_id`` is the id of the
    message or action that led to it. ``partition_key`` repeats the key of the message, for readers that see the value alone.
    """

    envelope_version: Literal["v1"] = "v1"
    envelope_id: UUID
    envelope_timestamp: AwareDatetime | None = None
    event_type: str = Field(min_length=1, max_length=255)
    event_version: str = Field(default="v1", max_length=64)
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    source_service: str = ""
    source_node_id: str | None = None
    source_version: str | None = None
    source_instance: str | None = None
    environment: str | None = None
    region: str | None = None
    tenant_id: str | None = None
    namespace: str | None = None
    schema_ref: str | None = None
    partition_key: str | None = None
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    provenance: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, given: object) -> object:
        """Names of other forms become ours. Two spellings of one field are left, and so refused."""
        if not isinstance(given, Mapping):
            return given
        fields = dict(given)
        if fields.get("envelope_version") in VERSIONS:
            fields["envelope_version"] = VERSIONS[0]
        for other, ours in SPELLINGS.items():
            if other in fields and ours not in fields:
                fields[ours] = fields.pop(other)
        return fields

    def to_bytes(self) -> bytes:
        """Canonical bytes. Raises PayloadTooLarge over 272 KiB, InvalidPayload for what JSON cannot hold."""
        data = encode(self)
        _check_size(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> OnexEnvelopeV1:
        """Raises PayloadTooLarge, InvalidPayload."""
        _check_size(data)
        try:
            return cls.model_validate_json(data)
        except PydanticError as error:
            raise InvalidPayload(f"this is no OnexEnvelopeV1: {problems(error)}") from error


class DataAvailableEvent(Payload):
    """Data is ready where ``data_location`` says: a path, a URL, a table. The event by which one node tells another to go on."""

    data_location: str = Field(min_length=1)
    correlation_id: UUID | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


def _check_size(data: bytes) -> None:
    if len(data) > WIRE_BYTES:
        raise PayloadTooLarge(
            f"message has {len(data)} bytes; the limit is {WIRE_BYTES}. Large data belongs in a Blob", bytes=len(data)
        )
