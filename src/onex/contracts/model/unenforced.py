"""Fields that are read and kept, and that nothing here enforces: how a node reduces, computes, is run and is monitored.

None of these fields has a ``Use``. So each of them that a contract has is reported at its line: nothing here acts on it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word
from .resilience import (
    ModelCircuitBreaker,
    ModelErrorHandling,
    ModelHealthCheck,
    ModelLifecycle,
    ModelPerformance,
    ModelRetryPolicy,
)


class ModelReductionOperation(Part):
    operation_type: Word
    reduction_function: Word | None = None
    description: Annotated[Prose, PROSE] = ""
    associative: bool | None = None
    commutative: bool | None = None
    identity_element: JsonValue = None
    chunk_size: int | None = None
    parallel_enabled: bool | None = None
    intermediate_results_caching: bool | None = None
    memory_limit_mb: float | None = None


class ModelAggregationFunction(Part):
    function_name: Word
    function_type: Word | None = None
    description: Annotated[Prose, PROSE] = ""
    input_fields: tuple[Word, ...] = ()
    output_field: Word | None = None
    parameters: JsonValue = None
    null_handling: Word | None = None
    precision_digits: int | None = None
    requires_sorting: bool | None = None
    is_associative: bool | None = None
    is_commutative: bool | None = None


class ModelGrouping(Part):
    grouping_fields: tuple[Word, ...] = ()
    grouping_strategy: Word | None = None
    null_group_handling: Word | None = None
    max_groups: int | None = None


class ModelWindowing(Part):
    """Sizes in milliseconds. ``window_type`` is tumbling, sliding or session, or hourly, daily .. in older contracts."""

    enabled: bool | None = None
    window_type: Word | None = None
    window_size_ms: float | None = None
    window_slide_ms: float | None = None
    session_timeout_ms: float | None = None
    window_trigger: Word | None = None
    late_arrival_handling: JsonValue = None
    allowed_lateness_ms: float | None = None
    watermark_strategy: JsonValue = None


class ModelAggregation(Part):
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    subcontract_name: Annotated[Word | None, COMPARED] = None
    subcontract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    enabled: bool | None = None
    aggregation_functions: tuple[Word, ...] = ()
    function_definitions: Annotated[tuple[ModelAggregationFunction, ...], Field(max_length=ROWS_MAX)] = ()
    aggregation_mode: Word | None = None
    aggregation_type: Word | None = None
    supported_types: tuple[Word, ...] = ()
    strategies: JsonValue = None
    grouping: ModelGrouping | None = None
    windowing: ModelWindowing | None = None
    statistical: JsonValue = None
    null_handling_strategy: Word | None = None
    duplicate_handling: Word | None = None
    batch_size: int | None = None
    metrics: JsonValue = None


class ModelStreaming(Part):
    enabled: bool | None = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    mode: Word | None = None
    buffer_size: int | None = None
    batch_size: int | None = None
    chunk_size: int | None = None
    window_type: Word | None = None
    window_size: int | None = None
    window_size_ms: float | None = None
    memory_threshold_mb: float | None = None
    backpressure_enabled: bool | None = None
    backpressure_strategy: Word | None = None
    backpressure: JsonValue = None
    delivery_guarantee: Word | None = None
    enable_late_arrival: bool | None = None
    late_arrival_tolerance_ms: float | None = None
    checkpoint_interval_ms: float | None = None
    snapshot_interval_ms: float | None = None
    watermark: JsonValue = None
    windowing: ModelWindowing | None = None


class ModelStateOperation(Part):
    operation_name: Word
    description: Annotated[Prose, PROSE] = ""
    atomic: bool | None = None
    versioned: bool | None = None


class ModelStateManagement(Part):
    """Where a foreign node keeps its state, and how."""

    version: Annotated[ModelContractVersion | None, COMPARED] = None
    subcontract_name: Annotated[Word | None, COMPARED] = None
    subcontract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    enabled: bool | None = None
    state_scope: Word | None = None
    state_lifecycle: Word | None = None
    enable_state_tracking: bool | None = None
    persistence_backend: Word | None = None
    persistence_strategy: Word | None = None
    persistence: JsonValue = None
    state_serialization: Word | None = None
    snapshot_frequency: int | None = None
    retention_policy: JsonValue = None
    locking_strategy: Word | None = None
    isolation_level: Word | None = None
    conflict_resolution: Word | None = None
    concurrent_modification_detection: bool | None = None
    compression_enabled: bool | None = None
    encryption_enabled: bool | None = None
    operations: Annotated[tuple[ModelStateOperation, ...], Field(max_length=ROWS_MAX)] = ()
    validation_rules: JsonValue = None
    versioning: JsonValue = None
    caching: JsonValue = None
    cleanup: JsonValue = None


class ModelConflictResolution(Part):
    strategy: Word | None = None
    detection_enabled: bool | None = None
    timestamp_based_resolution: bool | None = None
    conflict_logging_enabled: bool | None = None
    retry_conditions: tuple[Word, ...] = ()
    retry_enabled: bool | None = None
    max_retries: int | None = None
    continue_on_error: bool | None = None
    retry_config: JsonValue = None


class ModelMemoryManagement(Part):
    max_memory_mb: float | None = None
    buffer_size_mb: float | None = None
    gc_threshold: float | None = None
    lazy_loading_enabled: bool | None = None
    spill_to_disk_enabled: bool | None = None


class UnenforcedFields(Part):
    """The base of all kinds of contract."""

    # how a reducer reduces
    reduction_operations: tuple[ModelReductionOperation, ...] = ()
    aggregation: ModelAggregation | None = None
    streaming: ModelStreaming | None = None
    state_management: ModelStateManagement | None = None
    conflict_resolution: ModelConflictResolution | None = None
    memory_management: ModelMemoryManagement | None = None
    order_preserving: bool | None = None
    incremental_processing: bool | None = None
    result_caching_enabled: bool | None = None
    partial_results_enabled: bool | None = None

    # how it handles errors
    error_handling: ModelErrorHandling | None = None
    retry_policy: ModelRetryPolicy | None = None
    circuit_breaker: ModelCircuitBreaker | None = None
    health_check: ModelHealthCheck | None = None
    performance: ModelPerformance | None = None
    lifecycle: ModelLifecycle | None = None
    idempotency: JsonValue = None
    idempotent_operations: bool | None = None
    transaction_management: JsonValue = None
    backup_config: JsonValue = None
    rate_limiting: JsonValue = None

    # how it computes
    parallel_processing: JsonValue = None
    input_validation: JsonValue = None
    output_transformation: JsonValue = None
    validation_rules: JsonValue = None
    caching: JsonValue = None
    memory_optimization_enabled: bool | None = None
    intermediate_result_caching: bool | None = None

    # how it is run
    io_operation_config: JsonValue = None
    external_services: JsonValue = None
    service_configuration: JsonValue = None
    service_resolution: JsonValue = None
    dependency_resolution: JsonValue = None
    configuration: JsonValue = None
    environment: JsonValue = None
    execution: JsonValue = None
    execution_mode: Word | None = None
    concurrency: JsonValue = None
    behavior: JsonValue = None
    placement: JsonValue = None
    routing: JsonValue = None
    security: JsonValue = None
    feature_flags: JsonValue = None
    subcontracts: JsonValue = None
    mcp: JsonValue = None
    mixins: JsonValue = None

    # how it is monitored, and how an orchestrator acts
    monitoring: JsonValue = None
    side_effect_logging_enabled: bool | None = None
    audit_trail_enabled: bool | None = None
    consistency_validation_enabled: bool | None = None
    monitoring_enabled: bool | None = None
    metrics_collection_enabled: bool | None = None
    load_balancing_enabled: bool | None = None
    failure_isolation_enabled: bool | None = None
    action_emission: JsonValue = None
    conditional_branching: JsonValue = None
    event_coordination: JsonValue = None
    event_registry: JsonValue = None
