"""What a node hears and says: topics, events, and which handler takes which."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from ..part import COMPARED, MAPPED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word


class ModelReference(Part):
    """A class or function by module and name, as the contract's own repository knows it. Never imported by reading it."""

    name: Annotated[Word, MAPPED]
    module: Annotated[Word | None, MAPPED] = None
    description: Annotated[Prose, PROSE] = ""


class ModelTopic(Part):
    """A topic and what is said of it."""

    topic: Annotated[Word, MAPPED]
    event_type: Annotated[Word | None, MAPPED] = None
    schema_ref: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    external: Annotated[
        bool | None, Field(description="its other end is known to lie outside of this repository"), MAPPED
    ] = None


Topics = Annotated[tuple[ModelTopic, ...], Field(max_length=ROWS_MAX)]


class ModelEventBus(Part):
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    enabled: Annotated[bool | None, COMPARED] = None
    subscribe_topics: Annotated[Topics, MAPPED] = ()
    publish_topics: Annotated[Topics, MAPPED] = ()


class ModelHandler(Part):
    """Who takes an operation or an event."""

    operation: Annotated[Word | None, COMPARED] = None
    event_type: Annotated[Word | None, COMPARED] = None
    event_model: Annotated[ModelReference | None, MAPPED] = None
    handler: Annotated[ModelReference | None, MAPPED] = None
    topic: Annotated[Word | None, MAPPED] = None
    output_events: Annotated[tuple[Word, ...], MAPPED] = ()
    description: Annotated[Prose, PROSE] = ""


class ModelHandlerRouting(Part):
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    routing_strategy: Annotated[Word | None, COMPARED] = None
    handlers: Annotated[tuple[ModelHandler, ...], Field(max_length=ROWS_MAX), MAPPED] = ()
    default_handler: Annotated[ModelReference | None, MAPPED] = None
    entry_point: Annotated[ModelReference | None, MAPPED] = None


class ModelDependency(Part):
    """``name`` is what the node calls it, ``module`` where it lives."""

    name: Annotated[Word, MAPPED]
    type: Annotated[Word | None, MAPPED] = None
    class_name: Annotated[Word | None, COMPARED] = None
    module: Annotated[Word | None, MAPPED] = None
    required: Annotated[bool | None, COMPARED] = None
    version: Annotated[JsonValue, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
