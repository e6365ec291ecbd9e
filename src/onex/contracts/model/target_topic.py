"""The block ``topic``: a topic of the engine's bus on which a workflow publishes, and what one intent publishes there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from .part import ENGINE, Name
from .target_block import Misfits, ModelCallBlock, ModelTargetBlock, unknown_fields

TOPIC = r"^[a-zA-Z0-9._-]{1,244}$"


class ModelTopicTarget(ModelTargetBlock):
    """One topic. The bus is that of the engine."""

    name: Annotated[
        str | None, Field(pattern=TOPIC, description="left out, the engine's scheme makes it of the event type"), ENGINE
    ] = None
    required: Annotated[
        bool, Field(description="false: an engine without a bus starts, and a message fails"), ENGINE
    ] = True


class ModelTopicCall(ModelCallBlock):
    """What one intent publishes: its payload, in an envelope."""

    event_type: Annotated[
        str | None, Field(min_length=1, max_length=255, description="left out, the name of the intent"), ENGINE
    ] = None
    key: Annotated[
        Name | None, Field(description="the field that is the message's key; left out, the instance"), ENGINE
    ] = None

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        if self.key is not None:
            yield "key", self.key

    def class_misfits(
        self, target: ModelTargetBlock, payload: type[BaseModel], answer: type[BaseModel] | None
    ) -> Misfits:
        known = {"topic", "message_id", "partition", "offset"}
        yield from unknown_fields("event_type", answer, known, "a message on a topic")
