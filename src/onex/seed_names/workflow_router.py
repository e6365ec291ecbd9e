"""WorkflowRouter, a preset over ``kernel/route.py`` (where a key goes) and ``kernel/retry.py`` (whom to call: breakers).

    slots[crc32("type:instance") % 1024] -> worker

Each slot is placed by rendezvous hashing when workers come or go. So a route is one look-up, a worker that leaves moves
only its own keys, and every process that knows the same workers agrees. Nothing of the engine uses it: within one owner
each instance has its own mailbox.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from ..engine.arguments import checked, text
from ..engine.metrics import Latency
from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey, NoAvailableSubreducersError, ValidationError
from ..kernel.retry import Breaker, BreakerPolicy, EnumBreakerState, allow, record
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


class WorkflowRouter:
    """Routes keys over the registered workers, past those whose breaker is open.

    The caller of a worker reports with ``record`` whether it succeeded; a breaker knows nothing else. ``latency`` holds
    every 16th route.
    """

    def __init__(self, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self.clock = clock
        self.policy = policy or BreakerPolicy()
        self.latency = Latency()
        self.routed = 0
        self.rerouted = 0
        self._workers: dict[str, ReducerInstance] = {}
        self._slots: dict[str, list[ReducerInstance]] = {}
        self._breakers: dict[str, Breaker] = {}
        self._not_closed: set[str] = set()

    @property
    def workers(self) -> tuple[ReducerInstance, ...]:
        """In the order in which they were first registered."""
        return tuple(self._workers.values())

    def register(self, worker: ReducerInstance) -> None:
        """Keys go to it from now on. One of the same name is replaced, with a closed breaker. Raises ValidationError."""
        name, weight = checked(text, "a worker's name", worker.name), worker.weight
        if not name or not name.isprintable():
            raise ValidationError(
                f"a worker needs a name and a weight above 0; {name[:80]!a} is no name that can be printed"
            )
        if type(weight) not in (int, float) or not 0 < weight < math.inf:
            raise ValidationError(f"a worker needs a name and a weight above 0; {weight!a} of {name} is no such number")
        self._workers[worker.name] = worker
        self._forget(worker.name)
        self._place()

    def unregister(self, name: str) -> None:
        """Its keys go elsewhere at once. A name that is not registered is no error: it is gone either way."""
        self._workers.pop(name, None)
        self._forget(name)
        self._place()

    def route(self, key: WorkflowKey) -> ReducerInstance:
        """Raises NoAvailableSubreducersError when no worker of the type may be called now, InvalidKey for what is no key."""
        self.routed += 1
        if self.routed % TIMED_EVERY:
            return self._route(key)
        started = self.clock.monotonic()
        worker = self._route(key)
        self.latency.add(self.clock.monotonic() - started)
        return worker

    def route_workflow(self, workflow_type: str, instance_id: str) -> ReducerInstance:
        """The same for a key in two parts. Raises InvalidKey as well."""
        return self.route(WorkflowKey.of(workflow_type, instance_id))

    def record(self, name: str, *, succeeded: bool) -> None:
        """Reports one call to this worker."""
        before = self._breakers.get(name, Breaker())
        after = record(before, self.policy, self.clock.now_us(), succeeded=succeeded)
        self._keep(name, after)

    def breaker(self, name: str) -> Breaker:
        """The breaker of this worker; a closed one when nothing was recorded."""
        return self._breakers.get(name, Breaker())

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
        return self._around(key, slot) if worker.name in self._not_closed else worker

    def _around(self, key: WorkflowKey, slot: int) -> ReducerInstance:
        """The best worker for the slot that may be called: its own, when the breaker lets a trial call through."""
        left = self._serving(key.workflow_type)
        while (name := rendezvous(str(slot), left)) is not None:
            if name not in self._not_closed:
                self.rerouted += 1
                return self._workers[name]
            breaker, allowed = allow(self._breakers[name], self.policy, self.clock.now_us())
            self._keep(name, breaker)
            if allowed:
                return self._workers[name]
            del left[name]
        raise NoAvailableSubreducersError(
            f"every worker that serves {key.workflow_type!r} has failed {self.policy.failures} times in a row; "
            f"each is tried again after {self.policy.open_s} s",
            workflow_type=key.workflow_type,
        )

    def _placed(self, workflow_type: str) -> list[ReducerInstance]:
        serving = self._serving(workflow_type)
        names = [rendezvous(str(slot), serving) for slot in range(SLOTS)]
        slots = [self._workers[name] for name in names if name is not None]
        if not slots:
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
            for worker in self._workers.values()
            if not worker.workflow_types or workflow_type in worker.workflow_types
        }

    def _keep(self, name: str, breaker: Breaker) -> None:
        if name not in self._workers:
            return
        self._breakers[name] = breaker
        if breaker.state is EnumBreakerState.CLOSED:
            self._not_closed.discard(name)
        else:
            self._not_closed.add(name)

    def _forget(self, name: str) -> None:
        self._breakers.pop(name, None)
        self._not_closed.discard(name)
