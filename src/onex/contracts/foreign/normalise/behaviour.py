"""Blocks that say how a node runs: retries, breakers, health, limits, and where each block stands. As tables."""

from __future__ import annotations

from ...text.yaml_tree import YamlList, YamlMap, YamlNode
from .draft import Blocks, KeyTable, MapBuilder, Notes, ToShape, aliases, each, made, text, text_of, texts, words
from .reduction import CONFLICT, MEMORY, STATE, STREAMING, aggregated, reduction

RETRY = KeyTable(
    names=aliases(
        max_retries="max_retry_attempts retries",
        max_attempts="attempts",
        backoff_strategy="strategy backoff backoff_type",
        base_delay_ms="initial_delay_ms delay_ms retry_delay_ms backoff_ms initial_backoff_ms base_delay_seconds "
        "initial_delay_seconds retry_delay_seconds base_delay_s",
        max_delay_ms="max_backoff_ms max_delay_seconds max_delay_s",
        multiplier="backoff_multiplier exponential_base backoff_factor",
        jitter="jitter_factor jitter_enabled",
        retryable_errors="retry_on retry_on_errors retryable_exceptions retry_conditions",
        non_retryable_errors="non_retryable_exceptions do_not_retry_on",
        timeout_ms="timeout_seconds",
    ),
    shapes={"retryable_errors": texts, "non_retryable_errors": texts, "retryable_status_codes": words},
)
BREAKER = KeyTable(
    names=aliases(
        failure_threshold="threshold",
        timeout_ms="recovery_timeout_ms reset_timeout_ms recovery_timeout_seconds timeout_seconds recovery_timeout_s "
        "reset_timeout_seconds",
        half_open_requests="half_open_max_requests half_open_max_calls half_open_attempts",
        error_rate_threshold="failure_rate_threshold",
        monitoring_window_ms="window_ms window_seconds",
    ),
)
ERROR_CASE = KeyTable(
    names=aliases(
        name="error_type error error_name type",
        code="error_code",
        retry_strategy="retry",
        action="handling response recovery_action",
        fallback="fallback_action",
        severity="level",
        recoverable="retryable",
    ),
    shapes={"code": text, "action": text, "retry_strategy": text},
)
ERROR_HANDLING = KeyTable(
    names=aliases(
        strategy="error_strategy default_strategy",
        retry_policy="retry retry_policies retry_strategy",
        circuit_breaker="circuit_breaker_config",
        errors="error_types error_codes error_categories exceptions error_mappings",
        fallback="fallback_strategy fallbacks fallback_strategies",
        recovery="recovery_strategies error_recovery rollback_strategies",
        dead_letter="dead_letter_queue dlq dlq_topic",
        logging="error_logging",
        timeout_ms="timeout_seconds",
    ),
    shapes={"retry_policy": RETRY, "circuit_breaker": BREAKER, "errors": each(ERROR_CASE, key="name", word="name")},
)
PROBE = KeyTable(
    names=aliases(name="check_name", check_type="type", timeout_ms="timeout_seconds", endpoint="url"),
)
HEALTH = KeyTable(
    names=aliases(
        enabled="health_check_enabled",
        endpoint="path",
        interval_ms="interval_seconds check_interval_seconds check_interval_ms interval_s",
        timeout_ms="timeout_seconds timeout_s",
        failure_threshold="unhealthy_threshold",
        checks="probes",
    ),
    shapes={"checks": each(PROBE, key="name", word="name")},
)
PERFORMANCE = KeyTable(
    names=aliases(
        single_operation_max_ms="single_operation_max_s",
        batch_operation_max_ms="batch_operation_max_s",
        max_execution_time_ms="max_execution_time_seconds",
        throughput_per_second="throughput_min_ops_per_second throughput_ops_per_second target_throughput_per_second",
        memory_limit_mb="max_memory_mb max_memory_usage_mb",
        cpu_limit_percent="max_cpu_usage_percent max_cpu_percent",
        max_concurrent_executions="execution_pool_size",
        enable_result_caching="caching_enabled",
        cache_ttl_ms="cache_ttl_seconds",
    ),
)
LIFECYCLE = KeyTable(
    names=aliases(
        initialization_timeout_ms="initialization_timeout_s initialization_timeout_seconds",
        cleanup_timeout_ms="cleanup_timeout_s",
        health_check_interval_ms="health_check_interval_s",
        shutdown_timeout_ms="shutdown_timeout_seconds",
        startup_timeout_ms="startup_timeout_seconds",
    ),
)


def _first(shape: ToShape) -> ToShape:
    """A list of one block is that block."""

    def only(node: YamlNode, notes: Notes) -> YamlNode:
        if isinstance(node, YamlList) and len(node.items) == 1 and isinstance(node.items[0], YamlMap):
            return shape(node.items[0], notes)
        return shape(node, notes)

    return only


def health(node: YamlNode, notes: Notes) -> YamlNode:
    """A list is that of the checks."""
    if isinstance(node, YamlList):
        node = YamlMap({"checks": made("checks", node)}, node.place)
    return HEALTH(node, notes)


def as_written(node: YamlNode, notes: Notes) -> YamlNode:
    """Kept as it is, because contracts have no common form for it."""
    return node


BLOCKS: Blocks = {
    "retry_policy": (("retry", "retry_policies", "retry_config", "default_retry_policy"), _first(RETRY)),
    "circuit_breaker": (("circuit_breaker_config",), BREAKER),
    "error_handling": (("error_handling_config", "error_handling_configuration"), ERROR_HANDLING),
    "health_check": (("health_checks", "healthcheck", "health"), health),
    "performance": (("performance_requirements", "performance_constraints"), PERFORMANCE),
    "lifecycle": (("lifecycle_config",), LIFECYCLE),
    "reduction_operations": (("reduction_config", "reductions"), each(reduction, word="operation_type")),
    "aggregation": (("aggregation_config", "aggregations"), aggregated),
    "streaming": (("streaming_config", "stream_processing"), STREAMING),
    "state_management": (("state_config", "state_persistence"), STATE),
    "conflict_resolution": (("conflict_resolution_config",), CONFLICT),
    "memory_management": (("memory_config",), MEMORY),
    "transaction_management": (("transaction_config", "transactions"), as_written),
    "backup_config": (("backup",), as_written),
    "caching": (("cache", "caching_config"), as_written),
    "parallel_processing": (("parallel_config", "parallelism"), as_written),
    "validation_rules": (("validation",), as_written),
    "environment": (("environment_variables", "environments"), as_written),
    "monitoring": (("operational_monitoring", "observability"), as_written),
    "input_validation": ((), as_written),
    "output_transformation": (("output_transformations",), as_written),
    "external_services": (
        ("external_service_config", "infrastructure_services", "external_systems", "services", "infrastructure"),
        as_written,
    ),
    "configuration": (("config",), as_written),
}


def behaviour(draft: MapBuilder, notes: Notes) -> None:
    draft.blocks(BLOCKS, notes)
    if text_of(draft.node("lifecycle")):
        draft.put("lifecycle_stage", draft.take("lifecycle"))
    draft.reshape(texts, notes, "runtime_profiles", "protocol_interfaces", "tags")
    draft.reshape(text, notes, "status", "author", "documentation_url", "fingerprint")
