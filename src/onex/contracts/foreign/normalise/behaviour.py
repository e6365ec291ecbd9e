"""Blocks that say how a node runs: retries, breakers, health, limits, and where each block stands. As tables."""

from __future__ import annotations

from collections.abc import Mapping

from ...text.yaml_tree import YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, ToShape, each, made, text, text_of, texts, words
from .reduction import CONFLICT, MEMORY, SECONDS, STATE, STREAMING, aggregated, reduction

RETRY = KeyTable(
    names={
        "max_retry_attempts": "max_retries",
        "retries": "max_retries",
        "attempts": "max_attempts",
        "strategy": "backoff_strategy",
        "backoff": "backoff_strategy",
        "backoff_type": "backoff_strategy",
        "initial_delay_ms": "base_delay_ms",
        "delay_ms": "base_delay_ms",
        "retry_delay_ms": "base_delay_ms",
        "backoff_ms": "base_delay_ms",
        "initial_backoff_ms": "base_delay_ms",
        "base_delay_seconds": "base_delay_ms",
        "initial_delay_seconds": "base_delay_ms",
        "retry_delay_seconds": "base_delay_ms",
        "base_delay_s": "base_delay_ms",
        "max_backoff_ms": "max_delay_ms",
        "max_delay_seconds": "max_delay_ms",
        "max_delay_s": "max_delay_ms",
        "backoff_multiplier": "multiplier",
        "exponential_base": "multiplier",
        "backoff_factor": "multiplier",
        "jitter_factor": "jitter",
        "jitter_enabled": "jitter",
        "retry_on": "retryable_errors",
        "retry_on_errors": "retryable_errors",
        "retryable_exceptions": "retryable_errors",
        "retry_conditions": "retryable_errors",
        "non_retryable_exceptions": "non_retryable_errors",
        "do_not_retry_on": "non_retryable_errors",
        "timeout_seconds": "timeout_ms",
    },
    shapes={"retryable_errors": texts, "non_retryable_errors": texts, "retryable_status_codes": words},
    scale={
        "base_delay_seconds": SECONDS,
        "initial_delay_seconds": SECONDS,
        "retry_delay_seconds": SECONDS,
        "base_delay_s": SECONDS,
        "max_delay_seconds": SECONDS,
        "max_delay_s": SECONDS,
        "timeout_seconds": SECONDS,
    },
)
BREAKER = KeyTable(
    names={
        "threshold": "failure_threshold",
        "recovery_timeout_ms": "timeout_ms",
        "reset_timeout_ms": "timeout_ms",
        "recovery_timeout_seconds": "timeout_ms",
        "timeout_seconds": "timeout_ms",
        "recovery_timeout_s": "timeout_ms",
        "reset_timeout_seconds": "timeout_ms",
        "half_open_max_requests": "half_open_requests",
        "half_open_max_calls": "half_open_requests",
        "half_open_attempts": "half_open_requests",
        "failure_rate_threshold": "error_rate_threshold",
        "window_ms": "monitoring_window_ms",
        "window_seconds": "monitoring_window_ms",
    },
    scale={
        "recovery_timeout_seconds": SECONDS,
        "timeout_seconds": SECONDS,
        "recovery_timeout_s": SECONDS,
        "reset_timeout_seconds": SECONDS,
        "window_seconds": SECONDS,
    },
)
ERROR_CASE = KeyTable(
    names={
        "error_type": "name",
        "error": "name",
        "error_name": "name",
        "type": "name",
        "error_code": "code",
        "retry": "retry_strategy",
        "handling": "action",
        "response": "action",
        "recovery_action": "action",
        "fallback_action": "fallback",
        "level": "severity",
        "retryable": "recoverable",
    },
    shapes={"code": text, "action": text, "retry_strategy": text},
)
ERROR_HANDLING = KeyTable(
    names={
        "error_strategy": "strategy",
        "default_strategy": "strategy",
        "retry": "retry_policy",
        "retry_policies": "retry_policy",
        "retry_strategy": "retry_policy",
        "circuit_breaker_config": "circuit_breaker",
        "error_types": "errors",
        "error_codes": "errors",
        "error_categories": "errors",
        "exceptions": "errors",
        "error_mappings": "errors",
        "fallback_strategy": "fallback",
        "fallbacks": "fallback",
        "fallback_strategies": "fallback",
        "recovery_strategies": "recovery",
        "error_recovery": "recovery",
        "rollback_strategies": "recovery",
        "dead_letter_queue": "dead_letter",
        "dlq": "dead_letter",
        "dlq_topic": "dead_letter",
        "error_logging": "logging",
        "timeout_seconds": "timeout_ms",
    },
    shapes={"retry_policy": RETRY, "circuit_breaker": BREAKER, "errors": each(ERROR_CASE, key="name", word="name")},
    scale={"timeout_seconds": SECONDS},
)
PROBE = KeyTable(
    names={"check_name": "name", "type": "check_type", "timeout_seconds": "timeout_ms", "url": "endpoint"},
    scale={"timeout_seconds": SECONDS},
)
HEALTH = KeyTable(
    names={
        "health_check_enabled": "enabled",
        "path": "endpoint",
        "interval_seconds": "interval_ms",
        "check_interval_seconds": "interval_ms",
        "check_interval_ms": "interval_ms",
        "interval_s": "interval_ms",
        "timeout_seconds": "timeout_ms",
        "timeout_s": "timeout_ms",
        "unhealthy_threshold": "failure_threshold",
        "probes": "checks",
    },
    shapes={"checks": each(PROBE, key="name", word="name")},
    scale={
        "interval_seconds": SECONDS,
        "check_interval_seconds": SECONDS,
        "interval_s": SECONDS,
        "timeout_seconds": SECONDS,
        "timeout_s": SECONDS,
    },
)
PERFORMANCE = KeyTable(
    names={
        "single_operation_max_s": "single_operation_max_ms",
        "batch_operation_max_s": "batch_operation_max_ms",
        "max_execution_time_seconds": "max_execution_time_ms",
        "throughput_min_ops_per_second": "throughput_per_second",
        "throughput_ops_per_second": "throughput_per_second",
        "target_throughput_per_second": "throughput_per_second",
        "max_memory_mb": "memory_limit_mb",
        "max_memory_usage_mb": "memory_limit_mb",
        "max_cpu_usage_percent": "cpu_limit_percent",
        "max_cpu_percent": "cpu_limit_percent",
        "execution_pool_size": "max_concurrent_executions",
        "caching_enabled": "enable_result_caching",
        "cache_ttl_seconds": "cache_ttl_ms",
    },
    scale={
        "single_operation_max_s": SECONDS,
        "batch_operation_max_s": SECONDS,
        "max_execution_time_seconds": SECONDS,
        "cache_ttl_seconds": SECONDS,
    },
)
LIFECYCLE = KeyTable(
    names={
        "initialization_timeout_s": "initialization_timeout_ms",
        "initialization_timeout_seconds": "initialization_timeout_ms",
        "cleanup_timeout_s": "cleanup_timeout_ms",
        "health_check_interval_s": "health_check_interval_ms",
        "shutdown_timeout_seconds": "shutdown_timeout_ms",
        "startup_timeout_seconds": "startup_timeout_ms",
    },
    scale={
        "initialization_timeout_s": SECONDS,
        "initialization_timeout_seconds": SECONDS,
        "cleanup_timeout_s": SECONDS,
        "health_check_interval_s": SECONDS,
        "shutdown_timeout_seconds": SECONDS,
        "startup_timeout_seconds": SECONDS,
    },
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
    """A block of no one shape, kept as it is."""
    return node


BLOCKS: Mapping[str, tuple[tuple[str, ...], ToShape]] = {
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
"""Field: the other keys it stands under, and its shape."""


def behaviour(draft: MapBuilder, notes: Notes) -> None:
    for field, (others, shape) in BLOCKS.items():
        if field not in draft:
            draft.put(field, draft.take(*others))
        if field in draft:
            entry = draft.entries[field]
            draft.entries[field] = entry._replace(node=shape(entry.node, notes))
    life = draft.entries.get("lifecycle")
    if life is not None and isinstance(life.node, YamlScalar) and text_of(life.node):
        draft.entries.pop("lifecycle")
        draft.put("lifecycle_stage", life)
    for field in ("runtime_profiles", "protocol_interfaces"):
        if field in draft:
            draft.entries[field] = draft.entries[field]._replace(node=texts(draft.entries[field].node, notes))
    for field in ("status", "author", "documentation_url", "fingerprint"):
        if field in draft:
            draft.entries[field] = draft.entries[field]._replace(node=text(draft.entries[field].node, notes))
    if "tags" in draft:
        draft.entries["tags"] = draft.entries["tags"]._replace(node=texts(draft.entries["tags"].node, notes))
