"""Retries, circuit breakers, health checks and limits. Kept and reported only: no engine here runs nodes of others."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import PROSE, ROWS_MAX, Part, Prose, Word


class ModelRetryPolicy(Part):
    """``max_attempts`` counts the first try as well, ``max_retries`` does not."""

    enabled: bool | None = None
    max_retries: int | None = None
    max_attempts: int | None = None
    backoff_strategy: Word | None = None
    base_delay_ms: float | None = None
    max_delay_ms: float | None = None
    multiplier: float | None = None
    jitter: float | bool | None = None
    retryable_status_codes: tuple[int | str, ...] = ()
    retryable_errors: tuple[Word, ...] = ()
    non_retryable_errors: tuple[Word, ...] = ()
    timeout_ms: float | None = None
    circuit_breaker_enabled: bool | None = None
    circuit_breaker_threshold: float | None = None
    description: Annotated[Prose, PROSE] = ""


class ModelCircuitBreaker(Part):
    enabled: bool | None = None
    failure_threshold: float | None = None
    success_threshold: float | None = None
    timeout_ms: float | None = None
    half_open_requests: int | None = None
    error_rate_threshold: float | None = None
    monitoring_window_ms: float | None = None
    description: Annotated[Prose, PROSE] = ""


class ModelErrorCase(Part):
    """An error by its name, and how it is handled."""

    name: Word
    description: Annotated[Prose, PROSE] = ""
    code: Word | None = None
    recoverable: bool | None = None
    retry_strategy: Word | None = None
    max_retries: int | None = None
    action: Prose | None = None
    fallback: JsonValue = None
    propagates: bool | None = None
    severity: Word | None = None
    http_status: int | None = None


class ModelErrorHandling(Part):
    strategy: Word | None = None
    description: Annotated[Prose, PROSE] = ""
    retry_policy: ModelRetryPolicy | None = None
    circuit_breaker: ModelCircuitBreaker | None = None
    errors: Annotated[tuple[ModelErrorCase, ...], Field(max_length=ROWS_MAX)] = ()
    fallback: JsonValue = None
    recovery: JsonValue = None
    dead_letter: JsonValue = None
    logging: JsonValue = None
    timeout_ms: float | None = None


class ModelHealthProbe(Part):
    name: Word
    check_type: Word | None = None
    critical: bool | None = None
    description: Annotated[Prose, PROSE] = ""
    env_var: Word | None = None
    endpoint: Word | None = None
    threshold_ms: float | None = None
    timeout_ms: float | None = None


class ModelHealthCheck(Part):
    enabled: bool | None = None
    endpoint: Word | None = None
    method: Word | None = None
    interval_ms: float | None = None
    timeout_ms: float | None = None
    failure_threshold: int | None = None
    description: Annotated[Prose, PROSE] = ""
    checks: tuple[ModelHealthProbe, ...] = ()
    test_payload: JsonValue = None


class ModelPerformance(Part):
    """Limits and targets; times in milliseconds, memory in MiB."""

    single_operation_max_ms: float | None = None
    batch_operation_max_ms: float | None = None
    max_execution_time_ms: float | None = None
    throughput_per_second: float | None = None
    memory_limit_mb: float | None = None
    cpu_limit_percent: float | None = None
    max_concurrent_executions: int | None = None
    enable_result_caching: bool | None = None
    cache_ttl_ms: float | None = None
    max_cache_entries: int | None = None
    targets: JsonValue = None


class ModelLifecycle(Part):
    initialization_timeout_ms: float | None = None
    startup_timeout_ms: float | None = None
    shutdown_timeout_ms: float | None = None
    cleanup_timeout_ms: float | None = None
    health_check_interval_ms: float | None = None
    error_recovery_enabled: bool | None = None
    state_persistence_enabled: bool | None = None
    hot_reload_enabled: bool | None = None
