"""EngineMetrics: what one engine has done and holds, as text for Prometheus. Every name of the source documents stands here.

Theory of operation. Nothing is kept for Prometheus: the engine counts for itself (``Counters``, ``LabelledCounts``), and ``text``
reads that when somebody asks. What stands in the store is asked by probes, under a time limit, and is left out when the store does
not answer a cheap question; ``onex_store_up`` says so. Counting a large table may take longer: then the last counts are shown.
Prometheus-client, which is imported here only, writes the families.

Labels are types, triggers, targets and codes, of which there are few. No key of an instance and no id is a label: they have no
bound, and stand in the log. A histogram is made from ``Latency``: its sum is within 1 %.

A rate of Prometheus does not see the first step of a series that begins above 0. So what alerts are made of is told from the start,
as 0: each type with each fault, each target with each result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from ..contracts.orchestration.expansion import PAUSED
from ..engine.labelled_counts import FAULTS, LabelledCounts
from ..engine.metrics import Latency
from ..engine.probe import Probe, ProbeAnswer
from ..engine.shard_projections import ProjectionOfShards
from ..kernel.errors import OnexError
from ..kernel.retry import EnumBreakerState
from ..orchestration.progress import PlanState
from ..ports import Counts, EnumAttempt
from ..wiring.engine import WiredEngine
from .engine_probes import EngineProbes
from .resources import LoopLag, resident_bytes

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_MS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0)
BOUNDS_ROWS: Final = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 10_000.0)
BREAKERS: Final = {EnumBreakerState.CLOSED: 0, EnumBreakerState.HALF_OPEN: 1, EnumBreakerState.OPEN: 2}


L = TypeVar("L", bound=tuple[str, ...])
Answered = TypeVar("Answered")


class StoreFigures(NamedTuple):
    """What the store said, None where it did not answer."""

    up: bool = False
    counts: Counts | None = None
    late_ms: Mapping[str, float] | None = None
    missed: int | None = None


class EngineMetrics:
    """Of one engine, which counts in detail from here on. ``probes`` and ``lag`` are the caller's to close."""

    def __init__(self, engine: WiredEngine, probes: EngineProbes, lag: LoopLag | None = None) -> None:
        self._engine, self._probes, self._lag = engine, probes, lag
        self._stored = StoreFigures()
        self._registry: CollectorRegistry | None = None
        self.labelled = engine.service.labelled = engine.service.labelled or LabelledCounts()

    async def text(self) -> bytes:
        """One page of metrics. Raises nothing, and waits for the store for some seconds at most."""
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

        await self._ask_store()
        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            GCCollector(registry=self._registry)
            self._registry.register(self)
        return generate_latest(self._registry)

    async def points(self) -> list[tuple[str, Mapping[str, str], float]]:
        """The rows of the page as values, and the memory of the process. Raises nothing, and waits as ``text`` does."""
        await self._ask_store()
        rows = [(row.name, row.labels, row.value) for family in self.collect() for row in family.samples]
        return [*rows, ("process_resident_memory_bytes", {}, float(resident_bytes()))]

    async def _ask_store(self) -> None:
        probes = self._probes
        up, counts, late_ms, missed = await asyncio.gather(
            _answer(probes.stopped), _answer(probes.counts), _answer(probes.late_ms), _answer(probes.missed)
        )
        self._stored = StoreFigures()
        if up is not None:
            counts = counts or probes.counts.last
            self._stored = StoreFigures(
                True, counts and counts.value, late_ms and late_ms.value, missed and missed.value
            )

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not read the engine to know the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """For prometheus-client."""
        yield from self._actions()
        yield from self._intents()
        yield from self._projections()
        yield from self._bus()
        yield from self._process()

    # --- families -----------------------------------------------------------------------------------------------------

    def _actions(self) -> Iterator[Metric]:
        counters, labelled = self._engine.counters, self.labelled
        by_type = {(of,): 0 for of in self._types}
        for (of, _), number in labelled.applied.items():
            by_type[of,] = by_type.get((of,), 0) + number
        faults = {(of, fault): 0 for of in self._types for fault in FAULTS}
        codes: dict[tuple[str, str], int] = {}
        for (of, fault, code), number in labelled.refused.items():
            faults[of, fault] = faults.get((of, fault), 0) + number
            codes[of, code] = codes.get((of, code), 0) + number
        failed = sum(number for (_, fault), number in faults.items() if fault != "sender")
        done = sum(by_type.values())
        type_only = ("workflow_type",)
        yield _histogram("reducer_pattern_routing_latency_ms", "From accepted to durable.", counters.latency)
        yield _gauge(
            "reducer_pattern_routing_success_rate",
            "Of judged actions, without those that the sender got wrong; 1 of none.",
            {(): done / (done + failed) if done + failed else 1.0},
        )
        yield _counter(
            "reducer_pattern_workflow_state_transitions_total",
            "Applied actions.",
            labelled.applied,
            ("workflow_type", "trigger"),
        )
        yield _counter("reducer_successful_actions_total", "Applied actions.", by_type, type_only)
        yield _counter(
            "reducer_failed_actions_total",
            "Refused actions. fault: sender, workflow (its code) or engine.",
            faults,
            ("workflow_type", "fault"),
        )
        yield _counter("onex_rejections_total", "Refused actions.", codes, ("workflow_type", "code"))
        yield _counter("reducer_conflict_attempts_total", "Changes judged again after a conflict.", counters.conflicts)
        yield _histogram("reducer_backoff_ms", "Waits after a conflict.", counters.backoff)
        yield _counter("canonical_store_state_commits_total", "Actions made durable.", by_type, type_only)
        yield _counter("canonical_store_state_conflicts_total", "Changes that met another version.", counters.conflicts)
        yield _counter("canonical_store_get_state_total", "Reads of a state in this process.", counters.states_read)
        yield _histogram("canonical_store_commit_latency_ms", "Of the store, for each batch.", labelled.commit)
        yield _counter("onex_batches_total", "Commits of this process.", counters.batches)
        yield _counter("onex_duplicate_actions_total", "Actions that were applied before.", counters.duplicates)
        yield _counter("onex_overloaded_total", "Calls refused because a queue was full.", counters.overloaded)
        yield _counter("onex_over_rate_total", "Calls refused by a quota of actions.", counters.over_rate)
        yield _counter("onex_store_failures_total", "Commits that the store refused for now.", counters.store_failures)
        yield _counter("onex_instance_cache_hits_total", "Instances that were in memory.", counters.cache_hits)
        yield _counter("onex_instance_cache_misses_total", "Those read from the store.", counters.cache_misses)
        instances, held_bytes, waiting = self._engine.service.in_memory
        yield _gauge("onex_actions_waiting", "Accepted and not durable yet.", {(): waiting})
        yield _gauge("onex_instances_in_memory", "Instances that are held in memory.", {(): instances})
        yield _gauge(
            "reducer_pattern_isolation_memory_usage_bytes",
            "Memory of an instance that is held, on average.",
            {(): held_bytes / instances if instances else 0},
        )
        if (counts := self._stored.counts) is not None:
            yield _gauge(
                "reducer_pattern_workflow_active_instances",
                "Instances that have not ended, in the whole store.",
                self._active(counts),
                type_only,
            )
            yield _gauge(
                "onex_orchestrations_paused",
                "Orchestrations that wait for a person to resume them, in the whole store.",
                self._paused(counts),
                type_only,
            )
            yield _gauge("onex_rejections_kept", "Rows of refused actions.", {(): counts.rejections})
        if self._stored.missed is not None:
            yield _counter(
                "onex_schedules_missed_total", "Firings that were due while no engine ran.", self._stored.missed
            )

    @property
    def _types(self) -> list[str]:
        return [workflow.reducer.workflow_type for workflow in self._engine.registry.workflows]

    def _active(self, counts: Counts) -> Mapping[tuple[str], int]:
        active = {(of,): 0 for of in self._types}
        for (of, status), number in counts.by_status.items():
            workflow = self._engine.registry.find(of)
            if workflow is not None and status not in workflow.reducer.terminal:
                active[of,] += number
        return active

    def _paused(self, counts: Counts) -> Mapping[tuple[str], int]:
        workflows = self._engine.registry.workflows
        plans = [one.reducer.workflow_type for one in workflows if issubclass(one.reducer.state_type, PlanState)]
        return {(of,): counts.by_status.get((of, PAUSED), 0) for of in plans}

    def _intents(self) -> Iterator[Metric]:
        counters, labelled = self._engine.counters, self.labelled
        yield _counter("onex_effects_run_total", "Tries that were begun.", counters.effects_run)
        targets = {target for workflow in self._engine.registry.workflows for target in workflow.executors}
        tries = {(target, result.value): 0 for target in sorted(targets) for result in EnumAttempt} | labelled.tries
        yield _counter("onex_effect_calls_total", "Tries of intents that have ended.", tries, ("target", "result"))
        retried = {("retry", code): number for (code,), number in labelled.retried.items()}
        yield _counter(
            "error_recovery_attempts_total", "Tries that failed and are repeated.", retried, ("strategy", "error_type")
        )
        yield _counter("error_recovery_success_total", "Intents done at a later try.", labelled.recovered)
        yield _counter("error_recovery_failures_total", "Intents that failed at their last try.", labelled.given_up)
        yield _histograms(
            "node_execution_time_ms",
            "Run time of effects, compute functions, messages and nodes of your own.",
            labelled.times,
            ("node_type", "status", "error_type"),
        )
        yield _counter(
            "onex_breakers_opened_total", "Circuit breakers of targets that opened.", counters.breakers_opened
        )
        if (counts := self._stored.counts) is not None:
            yield _gauge(
                "onex_outbox_intents",
                "Intents that are not settled, in the whole store.",
                {(state,): number for state, number in counts.outbox.items()},
                ("state",),
            )

    def _projections(self) -> Iterator[Metric]:
        parts = {
            name: view.parts if isinstance(view, ProjectionOfShards) else (view,)
            for name, view in self._engine.views.items()
        }
        rows = {(name,): sum(part.materialized for part in of) for name, of in parts.items()}
        sizes = {(name,): _merged([part.batch_rows for part in of]) for name, of in parts.items()}
        one = ("projection",)
        yield _counter("projection_materializer_projections_materialized_total", "Log rows applied.", rows, one)
        yield _histograms(
            "projection_materializer_batch_size", "Log rows of a transaction.", sizes, one, BOUNDS_ROWS, unit=1.0
        )
        if self._stored.late_ms is not None:
            late = {(name,): ms for name, ms in self._stored.late_ms.items()}
            yield _gauge("projection_materializer_wm_lag_ms", "Since the oldest row not yet applied.", late, one)

    def _bus(self) -> Iterator[Metric]:
        states: dict[tuple[str, ...], float] = {}
        if (bus := self._engine.bus) is not None:
            states["bus",] = BREAKERS[bus.service.state]
            topic = ("topic",)
            published = {(name,): number for name, number in bus.service.published.items()}
            consumed = {(name,): number for name, number in bus.service.consumed.items()}
            yield _counter("event_bus_events_published_total", "Messages that are on the bus.", published, topic)
            yield _counter("event_bus_events_consumed_total", "Messages that were read.", consumed, topic)
            over = {(name,): number for name, number in bus.service.passed_over.items()}
            yield _counter("event_bus_events_passed_over_total", "Messages that no workflow wants.", over, topic)
            yield _counter("event_bus_timeout_total", "Messages that the bus did not take.", bus.service.timeouts)
        waiting: dict[tuple[str, ...], float] = {}
        for target in self._engine.relay.targets:
            name = f"{target.workflow_type}.{target.target}"
            waiting[name,] = target.waiting
            if target.breaker is not None:
                states[name,] = BREAKERS[target.breaker]
        yield _gauge("onex_target_intents_waiting", "Held back by a rate or a circuit breaker.", waiting, ("target",))
        yield _gauge(
            "reducer_pattern_routing_circuit_breaker_state",
            "0 closed, 1 half open, 2 open.",
            states,
            ("target",),
        )

    def _process(self) -> Iterator[Metric]:
        rollout = self._engine.rollout
        if rollout is not None and rollout.shown is not None and rollout.shown.dashboard:
            share = {(rollout.shown.status,): rollout.shown.share}
            yield _gauge("onex_rollout_share_percent", "Of the instances that begin under it.", share, ("status",))
        yield _gauge("onex_store_up", "1 when the store has answered.", {(): int(self._stored.up)})
        yield _gauge("onex_shards_owned", "Shards of this process.", {(): len(self._engine.service.fences)})
        if self._lag is not None:
            yield _gauge(
                "onex_event_loop_lag_ms", "At worst in the last minute.", {(): round(1000 * self._lag.worst_s, 3)}
            )


async def _answer(probe: Probe[Answered]) -> ProbeAnswer[Answered] | None:
    try:
        return await probe.answer()
    except OnexError:
        return None


# --- shapes of prometheus-client ------------------------------------------------------------------------------------------


def _counter(name: str, about: str, values: int | Mapping[L, int], labels: Sequence[str] = ()) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, about, labels=labels)
    if isinstance(values, int):
        family.add_metric((), values)
        return family
    for row, value in values.items():
        family.add_metric(row, value)
    return family


def _gauge(name: str, about: str, values: Mapping[L, float], labels: Sequence[str] = ()) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, about, labels=labels)
    for row, value in values.items():
        family.add_metric(row, value)
    return family


def _histogram(name: str, about: str, latency: Latency) -> Metric:
    return _histograms(name, about, {(): latency})


def _histograms(
    name: str,
    about: str,
    values: Mapping[L, Latency],
    labels: Sequence[str] = (),
    bounds: Sequence[float] = BOUNDS_MS,
    *,
    unit: float = 1000.0,
) -> Metric:
    """``unit``: how many of it the value 1 of a ``Latency`` is."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, about, labels=labels)
    for row, latency in values.items():
        counts, total = latency.cumulative([bound / unit for bound in bounds])
        buckets = [(str(bound), number) for bound, number in zip(bounds, counts, strict=True)]
        family.add_metric(row, [*buckets, ("+Inf", latency.count)], sum_value=total * unit)
    return family


def _merged(of: Sequence[Latency]) -> Latency:
    whole = Latency()
    for one in of:
        whole.merge(one)
    return whole
