"""The rules and objectives that hold without a word: the thresholds of the source documents, and what only this engine knows.

A file of alerts replaces one by a rule of its name, and leaves all out with ``defaults: false``. What to do at each:
docs/guides/monitoring.md. The names in Prometheus are made of these: ``error_rate`` is ``OnexErrorRate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .alerts_model import EnumAlertSeverity, ModelObjective, ModelRule

CRITICAL, HIGH, MEDIUM, LOW = EnumAlertSeverity

RULES: Final[Mapping[str, ModelRule]] = {
    "error_rate": ModelRule(metric="error_rate", above=0.01, window_s=300, for_s=60, severity=CRITICAL),
    "routing_latency": ModelRule(metric="p99_ms", above=50, window_s=300, for_s=300),
    "instance_memory": ModelRule(metric="instance_memory_bytes", above=100e6, for_s=300),
    "circuit_breaker_open": ModelRule(metric="breakers_open", above=0, for_s=60, severity=CRITICAL),
    "latency_objective": ModelRule(metric="p95_ms", above=5000, window_s=300, for_s=300, severity=CRITICAL),
    "process_memory": ModelRule(metric="process_memory_bytes", above=512e6, for_s=1800),
    "recovery_rate": ModelRule(metric="recovery_rate", below=0.85, window_s=600, for_s=600, severity=CRITICAL),
    "projection_late": ModelRule(metric="projection_lag_ms", above=250, for_s=60),
    "intents_held": ModelRule(metric="held_intents", above=0, for_s=60, severity=HIGH),
    "intents_dead": ModelRule(metric="dead_intents", above=0, for_s=60, severity=HIGH),
    "orchestration_paused": ModelRule(metric="orchestrations_paused", above=0, for_s=600),
    "schedules_missed": ModelRule(metric="schedules_missed", above=0, window_s=600, for_s=0, severity=HIGH),
    "effects_fail": ModelRule(metric="effect_failure_rate", above=0.1, window_s=300, for_s=300),
    "overloaded": ModelRule(metric="refused_for_load", above=0, window_s=300, for_s=300),
    "event_loop_late": ModelRule(metric="event_loop_lag_ms", above=2000, for_s=120),
}
OBJECTIVES: Final[Mapping[str, ModelObjective]] = {
    "latency": ModelObjective(metric="p95_ms", at_most=5000, window_s=3600, target=0.999),
    "availability": ModelObjective(metric="available", at_least=1, window_s=24 * 3600, target=0.999, severity=CRITICAL),
    "recovery": ModelObjective(metric="recovery_rate", at_least=0.9, window_s=6 * 3600, target=0.95),
    "cache_hits": ModelObjective(metric="cache_hit_rate", at_least=0.95, window_s=12 * 3600, target=0.99, severity=LOW),
}
"""Four objectives, with the windows and targets of the source documents."""
