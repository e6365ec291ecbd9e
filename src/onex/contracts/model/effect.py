"""An effect's calls on the world: which system, which address, what is sent and what of the answer is kept.

What is called is compared; how often and how patiently is kept: nothing here calls on behalf of a contract of others.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word
from .resilience import ModelCircuitBreaker, ModelRetryPolicy

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
