"""SIGNALS: what a rule or an objective may be about, by name. Each is a figure of ``/metrics``, or made of some.

``scope`` says whose figure it is: of one process, or of the whole store, which each process tells alike. ``absent_is_bad``: a
minute in which nobody measured it counts against an objective; for the others such a minute counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from .series import Equals, Form, Gauge, Increase, Quantile, Ratio, Series

ROUTING: Final = Series("reducer_pattern_routing_latency_ms")
NOT_BY_SENDER: Final = Series("reducer_failed_actions_total", without=(("fault", "sender"),))
APPLIED: Final = Series("reducer_successful_actions_total")
RECOVERED: Final = Series("error_recovery_success_total")
GIVEN_UP: Final = Series("error_recovery_failures_total")
IN_MEMORY: Final = Series("onex_instance_cache_hits_total")
FROM_STORE: Final = Series("onex_instance_cache_misses_total")
CALLS: Final = "onex_effect_calls_total"
MISSED: Final = Series("onex_schedules_missed_total")
"""Told by what runs schedules. Where nothing tells it, a rule on it has no value and never fires."""


class Signal(NamedTuple):
    """``labels``: by which a rule may narrow it, with ``where:``."""

    form: Form
    about: str
    unit: str = ""
    scope: Literal["process", "store"] = "process"
    labels: tuple[str, ...] = ()
    absent_is_bad: bool = False


SIGNALS: Final[Mapping[str, Signal]] = {
    "error_rate": Signal(
        Ratio((NOT_BY_SENDER,), (APPLIED, NOT_BY_SENDER)),
        "the part of the judged actions that fail, and not by their sender's fault",
        labels=("workflow_type",),
    ),
    "p50_ms": Signal(Quantile(0.5, ROUTING), "half of the actions are durable within this time", "ms"),
    "p95_ms": Signal(Quantile(0.95, ROUTING), "95 % of the actions are durable within this time", "ms"),
    "p99_ms": Signal(Quantile(0.99, ROUTING), "99 % of the actions are durable within this time", "ms"),
    "instance_memory_bytes": Signal(
        Gauge(Series("reducer_pattern_isolation_memory_usage_bytes")), "memory of an instance, on average", "B"
    ),
    "process_memory_bytes": Signal(Gauge(Series("process_resident_memory_bytes")), "memory of the process", "B"),
    "breakers_open": Signal(
        Equals(Series("reducer_pattern_routing_circuit_breaker_state"), 2),
        "targets that are left alone because their calls failed",
        labels=("target",),
    ),
    "recovery_rate": Signal(
        Ratio((RECOVERED,), (RECOVERED, GIVEN_UP)), "of the intents that failed at first, the part that succeeds later"
    ),
    "effect_failure_rate": Signal(
        Ratio((Series(CALLS, without=(("result", "succeeded"),)),), (Series(CALLS),)),
        "the part of the calls of effects that fail",
        labels=("target",),
    ),
    "cache_hit_rate": Signal(
        Ratio((IN_MEMORY,), (IN_MEMORY, FROM_STORE)),
        "the part of the instances that were in memory when an action came for them",
    ),
    "event_loop_lag_ms": Signal(Gauge(Series("onex_event_loop_lag_ms")), "how late the event loop was", "ms"),
    "refused_for_load": Signal(Increase(Series("onex_overloaded_total")), "calls refused because a queue was full"),
    "actions_waiting": Signal(Gauge(Series("onex_actions_waiting")), "actions that are accepted and not durable yet"),
    "projection_lag_ms": Signal(
        Gauge(Series("projection_materializer_wm_lag_ms")),
        "how late a projection is",
        "ms",
        "store",
        ("projection",),
    ),
    "held_intents": Signal(
        Gauge(Series("onex_outbox_intents", (("state", "held"),)), "sum"), "intents that are held", scope="store"
    ),
    "dead_intents": Signal(
        Gauge(Series("onex_outbox_intents", (("state", "dead"),)), "sum"), "intents that are dead", scope="store"
    ),
    "orchestrations_paused": Signal(
        Gauge(Series("onex_orchestrations_paused"), "sum"),
        "orchestrations that wait to be resumed",
        scope="store",
        labels=("workflow_type",),
    ),
    "schedules_missed": Signal(Increase(MISSED), "firings of schedules that were missed", scope="store"),
    "available": Signal(
        Gauge(Series("onex_store_up"), "min"), "1 while the engine runs and its store answers", absent_is_bad=True
    ),
}
"""By the name that ``metric:`` has."""
