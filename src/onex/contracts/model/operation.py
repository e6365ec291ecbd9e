"""What a node does: operations, calls of an effect, algorithms and pipelines, queries of a database, intents published to Kafka."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .bus import ModelReference
from .part import COMPARED, GRAPH, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Use, Word
from .resilience import ModelCircuitBreaker, ModelRetryPolicy


class ModelOperationField(Part):
    name: Annotated[Word, COMPARED]
    type: Annotated[Word | None, COMPARED] = None
    required: Annotated[bool | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    default: Annotated[JsonValue, COMPARED] = None


Fields = Annotated[tuple[ModelOperationField, ...], Field(max_length=ROWS_MAX)]


class ModelOperation(Part):
    """One of a node's operations. How it is run (timeouts, buffers, backups) is read and kept."""

    name: Annotated[Word, COMPARED]
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    operation_type: Annotated[Word | None, COMPARED] = None
    input_fields: Annotated[Fields, COMPARED] = ()
    output_fields: Annotated[Fields, COMPARED] = ()
    input_model: Annotated[ModelReference | None, COMPARED] = None
    output_model: Annotated[ModelReference | None, COMPARED] = None
    output_topic: Annotated[Word | None, COMPARED] = None
    timeout_ms: int | None = None
    atomic: bool | None = None
    idempotent: Annotated[bool | None, COMPARED] = None
    backup_enabled: bool | None = None
    buffer_size: int | None = None
    permissions: JsonValue = None
    recursive: bool | None = None
    validation_enabled: bool | None = None


Operations = Annotated[tuple[ModelOperation, ...], Field(max_length=ROWS_MAX)]


class ModelCapability(Part):
    """Something a node says it can do, in its own words."""

    name: Annotated[Word, COMPARED]
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    operations: Annotated[tuple[Word, ...], COMPARED] = ()
    input_types: Annotated[tuple[Word, ...], COMPARED] = ()
    output_types: Annotated[tuple[Word, ...], COMPARED] = ()
    inputs: Annotated[JsonValue, COMPARED] = None
    outputs: Annotated[JsonValue, COMPARED] = None


Capabilities = Annotated[tuple[ModelCapability, ...], Field(max_length=ROWS_MAX)]

Template = Annotated[str, Field(max_length=64 * 1024)]


class ModelIoConfig(Part):
    """One call: ``handler_type`` is http, db, kafka or filesystem, and each has its own keys."""

    handler_type: Annotated[Word | None, COMPARED] = None
    url_template: Annotated[Template | None, COMPARED] = None
    method: Annotated[Word | None, COMPARED] = None
    headers: Annotated[JsonValue, COMPARED] = None
    body_template: Annotated[Template | None, COMPARED] = None
    query_params: Annotated[JsonValue, COMPARED] = None
    operation: Annotated[Word | None, COMPARED] = None
    connection_name: Annotated[Word | None, COMPARED] = None
    query_template: Annotated[Template | None, COMPARED] = None
    read_only: Annotated[bool | None, COMPARED] = None
    topic: Annotated[Word | None, COMPARED] = None
    payload_template: Annotated[Template | None, COMPARED] = None
    partition_key_template: Annotated[Template | None, COMPARED] = None
    file_path_template: Annotated[Template | None, COMPARED] = None
    destination_path_template: Annotated[Template | None, COMPARED] = None
    encoding: Annotated[Word | None, COMPARED] = None
    acks: JsonValue = None
    compression: Word | None = None
    atomic: bool | None = None
    create_dirs: bool | None = None
    mode: Word | None = None
    follow_redirects: bool | None = None
    verify_ssl: bool | None = None
    timeout_ms: int | None = None
    security: JsonValue = None


class ModelEffectOperation(Part):
    operation_name: Annotated[Word, COMPARED]
    description: Annotated[Prose, PROSE] = ""
    operation_version: Annotated[ModelContractVersion | None, COMPARED] = None
    idempotent: Annotated[bool | None, COMPARED] = None
    io_config: Annotated[ModelIoConfig | None, COMPARED] = None
    response_handling: Annotated[JsonValue, COMPARED] = None
    retry_policy: ModelRetryPolicy | None = None
    circuit_breaker: ModelCircuitBreaker | None = None
    operation_timeout_ms: int | None = None
    correlation_id: JsonValue = None
    metadata: JsonValue = None


class ModelEffectSubcontract(Part):
    subcontract_name: Annotated[Word | None, COMPARED] = None
    subcontract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    execution_mode: Annotated[Word | None, COMPARED] = None
    operations: Annotated[tuple[ModelEffectOperation, ...], Field(max_length=ROWS_MAX), COMPARED] = ()
    default_retry_policy: ModelRetryPolicy | None = None
    default_circuit_breaker: ModelCircuitBreaker | None = None
    transaction: JsonValue = None
    observability: JsonValue = None
    deterministic: Annotated[bool | None, COMPARED] = None
    metadata: JsonValue = None


WEIGHED = Use.of("check", "diff")
"""The weights of an algorithm must add up to 1."""


class ModelFactor(Part):
    weight: Annotated[float | None, WEIGHED] = None
    calculation_method: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    parameters: Annotated[JsonValue, COMPARED] = None
    normalization_enabled: Annotated[bool | None, COMPARED] = None
    caching_enabled: bool | None = None


class ModelAlgorithm(Part):
    algorithm_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    factors: Annotated[dict[str, ModelFactor], WEIGHED] = Field(default_factory=dict)
    parameters: Annotated[JsonValue, COMPARED] = None
    normalization_method: Annotated[Word | None, COMPARED] = None
    precision_digits: Annotated[int | None, COMPARED] = None


class ModelPipelineStep(Part):
    step_name: Annotated[Word, GRAPH]
    step_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    enabled: Annotated[bool | None, COMPARED] = None
    transformation_type: Annotated[Word | None, COMPARED] = None
    transformation_config: Annotated[JsonValue, COMPARED] = None
    mapping_config: Annotated[JsonValue, COMPARED] = None
    validation_config: Annotated[JsonValue, COMPARED] = None


class ModelComputeSubcontract(Part):
    operation_name: Annotated[Word | None, COMPARED] = None
    operation_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    input_schema_ref: Annotated[Word | None, COMPARED] = None
    output_schema_ref: Annotated[Word | None, COMPARED] = None
    pipeline: Annotated[tuple[ModelPipelineStep, ...], Field(max_length=ROWS_MAX), GRAPH] = ()
    pipeline_timeout_ms: int | None = None


class ModelKafkaConfig(Part):
    """Of an intent publisher, which publishes what other nodes emit as intents. ``intent_topic`` is where the intents go."""

    intent_topic: Annotated[Word | None, COMPARED] = None
    envelope_format: Annotated[Word | None, COMPARED] = None
    partition_key: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    retry_policy: ModelRetryPolicy | None = None
    bootstrap_servers: JsonValue = None
    consumer_group: Word | None = None
    compression: Word | None = None
    acks: JsonValue = None


Statement = Annotated[str, Field(max_length=64 * 1024)]


class ModelDbOperation(Part):
    """One statement; ``param_order`` is the order of its positional parameters. Never run by reading it."""

    description: Annotated[Prose, PROSE] = ""
    mode: Annotated[Word | None, COMPARED] = None
    sql: Annotated[Statement | None, COMPARED] = None
    params: Annotated[JsonValue, COMPARED] = None
    param_order: Annotated[tuple[Word, ...], COMPARED] = ()
    returns: Annotated[JsonValue, COMPARED] = None


class ModelDbRepository(Part):
    """``models[name] -> module:Class`` are what rows become."""

    name: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    engine: Annotated[Word | None, COMPARED] = None
    database_ref: Annotated[Word | None, COMPARED] = None
    tables: Annotated[JsonValue, COMPARED] = None
    models: Annotated[dict[str, str], COMPARED] = Field(default_factory=dict)
    ops: Annotated[dict[str, ModelDbOperation], COMPARED] = Field(default_factory=dict)
