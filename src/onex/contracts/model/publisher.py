"""The intent publisher (FACTS 1.3): a node that says by an intent what another is to publish."""

from __future__ import annotations

from typing import Annotated

from pydantic import JsonValue

from .part import COMPARED, PROSE, Part, Prose, Word
from .resilience import ModelRetryPolicy


class ModelKafkaConfig(Part):
    """``intent_topic`` is where the intents go."""

    intent_topic: Annotated[Word | None, COMPARED] = None
    envelope_format: Annotated[Word | None, COMPARED] = None
    partition_key: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    retry_policy: ModelRetryPolicy | None = None
    bootstrap_servers: JsonValue = None
    consumer_group: Word | None = None
    compression: Word | None = None
    acks: JsonValue = None
