"""``event_bus`` of a workflow that this engine runs: topics whose messages become actions, and topics on which it publishes.

    subscribe_topics: {topic, event_type, trigger, key}    a message becomes the action ``trigger`` of the instance ``key``
    publish_topics:   {topic, event_type, payload, key}    an intent of the name ``event_type``, which any step may emit

A row without ``topic`` means the topic that the engine's own scheme gives to its event (``by_event_type``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from .bus import ModelEventBus, ModelTopic
from .part import ENGINE, ROWS_MAX, ClassName, Name, Prose, TriggerName, Word
from .target_topic import TOPIC

KEY = r"^(@id|header:[!-~]{1,100}|[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7})$"

TopicName = Annotated[Word, Field(pattern=TOPIC), ENGINE]
EventType = Annotated[str, Field(min_length=1, max_length=255)]


def _without_topic(schema: dict[str, JsonValue]) -> None:
    """What an author may write: a row without ``topic`` gets one, and ``by_event_type`` with it, before it is read."""
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and isinstance(properties, dict):
        required.remove("topic")
        del properties["by_event_type"]


class ModelConsumedTopic(ModelTopic):
    """Left out, ``key`` is the key of the message, and ``event_type`` is any. ``payload`` repeats the class of the trigger."""

    model_config = ConfigDict(json_schema_extra=_without_topic)

    topic: TopicName
    trigger: Annotated[TriggerName, Field(description="what a message becomes"), ENGINE]
    event_type: Annotated[EventType | None, Field(description="only messages of this type"), ENGINE] = None
    key: Annotated[
        str | None,
        Field(pattern=KEY, description="what names the instance: a field of the payload, header:NAME or @id"),
        ENGINE,
    ] = None
    payload: Annotated[ClassName | None, ENGINE] = None
    by_event_type: Annotated[
        bool | None, Field(description="the topic is the name of an event, for the engine's scheme"), ENGINE
    ] = None


class ModelPublishedTopic(ModelTopic):
    """``payload`` is the class that a step emits; ``key`` is the field of it that is the message's key, else the instance."""

    model_config = ConfigDict(json_schema_extra=_without_topic)

    topic: TopicName
    event_type: Annotated[Name, Field(description="and the name of the intent"), ENGINE]
    trigger: Prose | None = None  # a step decides when, so this would do nothing
    payload: Annotated[ClassName | None, ENGINE] = None
    key: Annotated[Name | None, ENGINE] = None
    by_event_type: Annotated[
        bool | None, Field(description="the topic is the name of an event, for the engine's scheme"), ENGINE
    ] = None


class ModelWorkflowBus(ModelEventBus):
    """``required: false``: the engine starts without a bus, too. Nothing comes in then, and what is published fails."""

    subscribe_topics: Annotated[tuple[ModelConsumedTopic, ...], Field(max_length=ROWS_MAX), ENGINE] = ()
    publish_topics: Annotated[tuple[ModelPublishedTopic, ...], Field(max_length=ROWS_MAX), ENGINE] = ()
    required: Annotated[bool, ENGINE] = True
