"""WorkflowRouter, a preset over ``kernel/route.py`` (where a key goes) and ``kernel/retry.py`` (whom to call: breakers).

    slots[crc32("type:instance") % 1024] -> worker

Each slot is placed by rendezvous hashing when workers come or go. So a route is one look-up, a worker that leaves moves
only its own keys, and every process that knows the same workers agrees. Nothing of the engine uses it: within one owner
each instance has its own mailbox.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zlib import crc32

from pydantic import JsonValue

from ..engine.arguments import checked, text
from ..engine.circuit_breaker import CircuitBreaker
from ..engine.metrics import Latency
from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey, NoAvailableSubreducersError, ValidationError
from ..kernel.retry import BreakerPolicy
from ..kernel.route import rendezvous
from ..kernel.user_code import describe
from ..ports import Clock

SLOTS: Final = 1024
TIMED_EVERY: Final = 16  # a clock read twice costs as much as a route


@dataclass(frozen=True, slots=True)
class ReducerInstance:
    """A worker that can be routed to. One of ``weight`` 2 gets twice the keys; no ``workflow_types`` means every type."""

    name: str
    weight: float = 1.0
    workflow_types: frozenset[str] = frozenset()


@dataclass(slots=True)
class RoutingMetrics:
    """What one router has seen. ``refused``: no worker could be named. ``latency`` holds every 16th route, in seconds.

    ``succeeded`` and ``failed`` count the calls that were reported, by worker; those of a worker that has left stay.
    """

    routed: int = 0
    rerouted: int = 0
    refused: int = 0
    succeeded: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)

    @property
    def success_rate(self) -> float:
        """Of the calls that were reported; 1.0 of none."""
        good, bad = sum(self.succeeded.values()), sum(self.failed.values())
        return good / (good + bad) if good + bad else 1.0

    def as_json(self, breakers: Mapping[str, CircuitBreaker]) -> dict[str, JsonValue]:
        """By the names of the source documents. ``breakers`` are those of the router, by worker."""
        waits: dict[str, JsonValue] = {f"p{q * 100:.0f}": self.latency.quantile_s(q) * 1e3 for q in (0.5, 0.99)}
        return {
            "reducer_pattern.routing.latency_ms": {"count": self.latency.count, **waits},
            "reducer_pattern.routing.success_rate": self.success_rate,
            "reducer_pattern.routing.circuit_breaker_state": {
                name: breaker.state.value for name, breaker in breakers.items()
            },
        }


class _Worker(NamedTuple):
    instance: ReducerInstance
    breaker: CircuitBreaker


class WorkflowRouter:
    """Routes keys over the registered workers, past those whose breaker is open.

    The caller of a worker reports with ``record`` whether it succeeded; a breaker knows nothing else.
    """

    def __init__(self, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self.clock = clock
        self.policy = policy or BreakerPolicy()
        self.metrics = RoutingMetrics()
        self._workers: dict[str, _Worker] = {}
        self._slots: dict[str, list[_Worker]] = {}

    @property
    def workers(self) -> tuple[ReducerInstance, ...]:
        """In the order in which they were first registered."""
        return tuple(worker.instance for worker in self._workers.values())

    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """Of each registered worker, by its name."""
        return {name: worker.breaker for name, worker in self._workers.items()}

    def register(self, worker: ReducerInstance) -> None:
        """Keys go to it from now on. One of the same name is replaced, with a closed breaker. Raises ValidationError."""
        name, weight = checked(text, "a worker's name", worker.name), worker.weight
        if not name or not name.isprintable():
            raise ValidationError(
                f"a worker needs a name and a weight above 0; {name[:80]!a} is no name that can be printed"
            )
        if type(weight) not in (int, float) or not 0 < weight < math.inf:
            raise ValidationError(f"a worker needs a name and a weight above 0; {weight!a} of {name} is no such number")
        self._workers[worker.name] = _Worker(worker, CircuitBreaker(self.clock, self.policy))
        self._place()

    def unregister(self, name: str) -> None:
        """Its keys go elsewhere at once. A name that is not registered is no error: it is gone either way."""
        self._workers.pop(name, None)
        self._place()

    def route(self, key: WorkflowKey) -> ReducerInstance:
        """Raises NoAvailableSubreducersError when no worker of the type may be called now, InvalidKey for what is no key."""
        metrics = self.metrics
        metrics.routed += 1
        if metrics.routed % TIMED_EVERY:
            return self._route(key)
        started = self.clock.monotonic()
        worker = self._route(key)
        metrics.latency.add(self.clock.monotonic() - started)
        return worker

    def route_workflow(self, workflow_type: str, instance_id: str) -> ReducerInstance:
        """The same for a key in two parts. Raises InvalidKey as well."""
        return self.route(WorkflowKey.of(workflow_type, instance_id))

    def record(self, name: str, *, succeeded: bool) -> None:
        """Reports one call to this worker. One of a worker that has left tells nothing any more."""
        if name in self._workers:
            self._workers[name].breaker.record(succeeded=succeeded)
            counted = self.metrics.succeeded if succeeded else self.metrics.failed
            counted[name] = counted.get(name, 0) + 1

    # --- how ----------------------------------------------------------------------------------------------------------

    def _route(self, key: WorkflowKey) -> ReducerInstance:
        try:
            slots = self._slots.get(key.workflow_type)
            slot = crc32(f"{key.workflow_type}:{key.instance_id}".encode()) % SLOTS
        except (AttributeError, TypeError, UnicodeError) as error:  # looked at only now: a route is one look-up
            raise InvalidKey(f"this is no workflow key: {describe(error)}; give a WorkflowKey") from error
        if slots is None:
            slots = self._placed(key.workflow_type)
        worker = slots[slot]
        return worker.instance if worker.breaker.is_closed else self._around(key, slot)

    def _around(self, key: WorkflowKey, slot: int) -> ReducerInstance:
        """The best worker for the slot that may be called: its own, when the breaker lets a trial call through."""
        left = self._serving(key.workflow_type)
        while (name := rendezvous(str(slot), left)) is not None:
            instance, breaker = self._workers[name]
            if breaker.is_closed:
                self.metrics.rerouted += 1
                return instance
            if breaker.allow():
                return instance
            del left[name]
        self.metrics.refused += 1
        raise NoAvailableSubreducersError(
            f"every worker that serves {key.workflow_type!r} has failed {self.policy.failures} times in a row; "
            f"each is tried again after {self.policy.open_s} s",
            workflow_type=key.workflow_type,
        )

    def _placed(self, workflow_type: str) -> list[_Worker]:
        serving = self._serving(workflow_type)
        names = [rendezvous(str(slot), serving) for slot in range(SLOTS)]
        slots = [self._workers[name] for name in names if name is not None]
        if not slots:
            self.metrics.refused += 1
            raise NoAvailableSubreducersError(
                f"no worker that serves {workflow_type!r} is registered; {len(self._workers)} serve other types",
                workflow_type=workflow_type,
            )
        self._slots[workflow_type] = slots
        return slots

    def _place(self) -> None:
        """Again for every type seen so far: now, rather than in the middle of somebody's route."""
        seen, self._slots = self._slots, {}
        for workflow_type in seen:
            if self._serving(workflow_type):
                self._placed(workflow_type)

    def _serving(self, workflow_type: str) -> dict[str, float]:
        return {
            worker.name: worker.weight
            for worker, _ in self._workers.values()
            if not worker.workflow_types or workflow_type in worker.workflow_types
        }


# The source documents look both up by a name, in one table for the process. Here each router has its own, and two do not mix.


def get_metrics_collector(router: WorkflowRouter) -> RoutingMetrics:
    """What the router has seen so far, and counts on."""
    return router.metrics


def get_circuit_breaker(router: WorkflowRouter, worker: str) -> CircuitBreaker:
    """The breaker of one worker: what is recorded there routes the next key. Raises ValidationError for no such worker."""
    breaker = router.breakers.get(checked(text, "worker", worker))
    if breaker is None:
        known = ", ".join(router.breakers) or "none"
        raise ValidationError(f"no worker {worker[:80]!a} is registered; there is {known}")
    return breaker
