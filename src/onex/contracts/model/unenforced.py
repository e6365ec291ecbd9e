"""What a contract says of how a node runs, and nothing here makes it run so: read, typed where its shape is known, and told.

None of these fields says who acts on it. A reader who relies on one of them is told at its line that nobody does.
"""

from __future__ import annotations

from pydantic import JsonValue

from .part import Part, Word
from .reduction import (
    ModelAggregation,
    ModelConflictResolution,
    ModelMemoryManagement,
    ModelReductionOperation,
    ModelStateManagement,
    ModelStreaming,
)
from .resilience import (
    ModelCircuitBreaker,
    ModelErrorHandling,
    ModelHealthCheck,
    ModelLifecycle,
    ModelPerformance,
    ModelRetryPolicy,
)


class UnenforcedFields(Part):
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

    # how it bears trouble
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

    # what it is run with
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

    # how it is watched, and how an orchestrator acts
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
