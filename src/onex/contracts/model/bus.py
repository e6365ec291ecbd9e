"""What a node subscribes to and publishes, which handler takes what, and what it depends on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, MAPPED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word


class ModelReference(Part):
    """A class or function by module and name, as the contract's own repository knows it. Never imported by reading it."""

    name: Annotated[Word, MAPPED]
    module: Annotated[Word | None, MAPPED] = None
    description: Annotated[Prose, PROSE] = ""
    type: Annotated[Word | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    variants: Annotated[JsonValue, COMPARED] = None
    function: Annotated[Word | None, COMPARED] = None
    input_schema: Annotated[Word | None, COMPARED] = None
    output_schema: Annotated[Word | None, COMPARED] = None
    idempotent: Annotated[bool | None, COMPARED] = None


References = Annotated[tuple[ModelReference, ...], Field(max_length=ROWS_MAX)]


class ModelTopic(Part):
    """A topic and what is said of it. ``by_event_type``: no topic is named, the event's type stands for it."""

    topic: Annotated[Word, MAPPED]
    event_type: Annotated[Word | None, MAPPED] = None
    schema_ref: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    external: Annotated[
        bool | None, Field(description="its other end is known to lie outside of this repository"), MAPPED
    ] = None
    other_end: Annotated[JsonValue, Field(description="who that is"), MAPPED] = None
    by_event_type: Annotated[bool | None, MAPPED] = None
    role: Annotated[Word | None, Field(description="success, failure, ..: what is published there"), COMPARED] = None
    topic_suffix: Annotated[Word | None, COMPARED] = None
    event_version: Annotated[JsonValue, COMPARED] = None
    payload_fields: Annotated[JsonValue, COMPARED] = None
    content_type: Annotated[Word | None, COMPARED] = None
    partition_key: Annotated[Word | None, COMPARED] = None
    handler: Annotated[ModelReference | None, MAPPED] = None
    operation: Annotated[Word | None, COMPARED] = None
    status: Annotated[Word | None, COMPARED] = None
    trigger: Annotated[Prose | None, PROSE] = None
    consumer_group: Word | None = None
    retention: JsonValue = None


Topics = Annotated[tuple[ModelTopic, ...], Field(max_length=ROWS_MAX)]


class ModelEventBus(Part):
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    enabled: Annotated[bool | None, COMPARED] = None
    subscribe_topics: Annotated[Topics, MAPPED] = ()
    publish_topics: Annotated[Topics, MAPPED] = ()
    consumer_group: Word | None = None
    consumer_purpose: Word | None = None
    plugin_managed: bool | None = None
    tenant_scoped_ingress: bool | None = None
    dlq_topic: Annotated[Word | None, COMPARED] = None
    configuration: JsonValue = None


class ModelHandler(Part):
    """Who takes an operation or an event."""

    operation: Annotated[Word | None, COMPARED] = None
    event_type: Annotated[Word | None, COMPARED] = None
    event_model: Annotated[ModelReference | None, MAPPED] = None
    handler: Annotated[ModelReference | None, MAPPED] = None
    topic: Annotated[Word | None, MAPPED] = None
    output_events: Annotated[tuple[Word, ...], MAPPED] = ()
    description: Annotated[Prose, PROSE] = ""
    message_category: Annotated[Word | None, COMPARED] = None
    routing_key: Annotated[Word | None, COMPARED] = None
    handler_key: Annotated[Word | None, COMPARED] = None
    input_model: Annotated[ModelReference | None, MAPPED] = None
    output_model: Annotated[ModelReference | None, MAPPED] = None
    input_fields: Annotated[tuple[Word, ...], COMPARED] = ()
    output_fields: Annotated[tuple[Word, ...], COMPARED] = ()
    actions: Annotated[tuple[Prose, ...], Field(description="what it does, in words"), PROSE] = ()
    priority: int | None = None
    timeout_ms: int | None = None


class ModelHandlerRouting(Part):
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    routing_strategy: Annotated[Word | None, COMPARED] = None
    handlers: Annotated[tuple[ModelHandler, ...], Field(max_length=ROWS_MAX), MAPPED] = ()
    default_handler: Annotated[ModelReference | None, MAPPED] = None
    entry_point: Annotated[ModelReference | None, MAPPED] = None
    execution_mode: Word | None = None


class ModelDependency(Part):
    """``name`` is what the node calls it, ``module`` where the code is."""

    name: Annotated[Word, MAPPED]
    type: Annotated[Word | None, MAPPED] = None
    class_name: Annotated[Word | None, COMPARED] = None
    module: Annotated[Word | None, MAPPED] = None
    required: Annotated[bool | None, COMPARED] = None
    version: Annotated[JsonValue, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    target: Annotated[Word | None, MAPPED] = None
    node_name: Annotated[Word | None, MAPPED] = None
    library: Annotated[Word | None, COMPARED] = None
    env_var: Annotated[Word | None, COMPARED] = None
    methods: Annotated[tuple[Word, ...], COMPARED] = ()
    required_when: Annotated[Prose | None, COMPARED] = None
    binding: Word | None = None
