"""TargetQueue: the waiting deliveries of one target, and in which order they are taken.

Most targets have no policy: the most urgent is taken first, and urgency is the time of queueing plus 30 s per step of priority.

``GatedQueue`` is for a target with a rate or a breaker (``target_gate``). There many may wait long, so the order must be fair:
within a priority instances take turns. One instance with a thousand intents delays another's one by one turn of each instance that
waits, not by its thousand. Between priorities the next in turn of each is compared as above, so a low one grows old and is taken.

``held`` counts what memory holds of the target; ``full`` of them and more stay in the store (``left``), so that a target that is
left alone for an hour does not fill the memory that the others need. They are read again when half of ``full`` has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from math import inf

from ..kernel.action import WorkflowKey
from ..kernel.intent import EnumIntentType
from ..kernel.retry import EnumBreakerState
from ..kernel.target_policy import NO_POLICY, TargetPolicy
from ..ports import Clock, Pointer
from .delivery import Delivery
from .target_gate import TargetGate, TargetStatus

AGE_US = 30_000_000  # one priority step per 30 s of waiting
NAP_S = 0.001  # nobody looks at a clock more often
SENDS_AT_ONCE = 256  # an action_send waits only for a commit, which takes many at once

TargetName = tuple[str, str]
"""Workflow type, and target."""
BreakerTurned = Callable[[TargetName, EnumBreakerState], None]


def nobody(name: TargetName, state: EnumBreakerState) -> None:
    """Hears of breakers where nobody wants to."""


class TargetQueue:
    """``limit`` runners at most serve it, ``running`` do now."""

    __slots__ = ("heap", "limit", "running")

    gate: TargetGate | None = None

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.heap: list[tuple[int, Pointer, Delivery]] = []

    def __len__(self) -> int:
        """Entries; some may be stale."""
        return len(self.heap)

    def put(self, delivery: Delivery) -> None:
        urgency = delivery.queued_us + delivery.emitted.priority.rank * AGE_US
        heappush(self.heap, (urgency, delivery.pointer, delivery))

    def take(self) -> Delivery | None:
        """The next one; it may be stale."""
        return heappop(self.heap)[2] if self.heap else None


class _Turns:
    """Instances in the order of their turns, each with what waits of it, oldest first."""

    __slots__ = ("_of_key", "_order")

    def __init__(self) -> None:
        self._order: deque[WorkflowKey] = deque()
        self._of_key: dict[WorkflowKey, list[tuple[int, Pointer, Delivery]]] = {}

    def put(self, delivery: Delivery) -> None:
        waiting = self._of_key.get(delivery.key)
        if waiting is None:
            waiting = self._of_key[delivery.key] = []
            self._order.append(delivery.key)
        heappush(waiting, (delivery.queued_us, delivery.pointer, delivery))

    @property
    def first_us(self) -> int | None:
        """Since when the next in turn waits; None when nothing waits."""
        return self._of_key[self._order[0]][0][0] if self._order else None

    def take(self) -> Delivery:
        key = self._order.popleft()
        waiting = self._of_key[key]
        delivery = heappop(waiting)[2]
        if waiting:
            self._order.append(key)
        else:
            del self._of_key[key]
        return delivery


class GatedQueue(TargetQueue):
    """Of a target with a rate or a breaker."""

    __slots__ = ("_by_rank", "_entries", "full", "gate", "held", "left")

    gate: TargetGate

    def __init__(self, limit: int, gate: TargetGate, full: int) -> None:
        super().__init__(limit)
        self.gate, self.full = gate, full
        self.held, self.left = 0, False
        self._by_rank: dict[int, _Turns] = {}
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def put(self, delivery: Delivery) -> None:
        self._by_rank.setdefault(delivery.emitted.priority.rank, _Turns()).put(delivery)
        self._entries += 1

    def take(self) -> Delivery | None:
        best: tuple[int, _Turns] | None = None
        for rank, turns in self._by_rank.items():
            since_us = turns.first_us
            if since_us is not None and (best is None or since_us + rank * AGE_US < best[0]):
                best = since_us + rank * AGE_US, turns
        if best is None:
            return None
        self._entries -= 1
        return best[1].take()


class TargetQueues:
    """Those of one process. ``run(target)`` starts one more runner; none is started before ``open``.

    ``turned`` hears of each new state of a breaker, ``sooner`` when ``look`` has to be asked anew.
    """

    def __init__(
        self,
        clock: Clock,
        run: Callable[[TargetQueue], None],
        policies: Mapping[TargetName, TargetPolicy],
        turned: BreakerTurned,
        sooner: Callable[[], None],
        kept: int,
    ) -> None:
        self.clock, self.run, self.policies = clock, run, policies
        self._turned, self._sooner, self._full = turned, sooner, max(1, kept // 4)
        self._all: dict[TargetName, TargetQueue] = {}
        self.gated: dict[TargetName, GatedQueue] = {}
        self._shut_until: dict[GatedQueue, float] = {}
        self.is_open = False

    def open(self) -> None:
        self.is_open = True
        for target in list(self._all.values()):
            self.fill(target)

    def of(self, delivery: Delivery) -> TargetQueue:
        """The queue of its target, made when it is first needed."""
        name = _name_of(delivery)
        target = self._all.get(name)
        if target is not None:
            return target
        spec, policy = delivery.emitted.spec, self.policies.get(name, NO_POLICY)
        limit = SENDS_AT_ONCE if spec.kind == EnumIntentType.ACTION_SEND else policy.concurrency or spec.concurrency
        target = TargetQueue(max(1, limit))
        if policy.holds_back:
            gate = TargetGate(self.clock, policy, partial(self._turned, name))
            target = self.gated[name] = GatedQueue(max(1, limit), gate, self._full)
        self._all[name] = target
        return target

    def fill(self, target: TargetQueue) -> None:
        """Start as many runners as have something to do now."""
        if not self.is_open:
            return
        free = min(target.limit - target.running, len(target))
        if target.gate is not None and free > 0:
            free = min(free, target.gate.room())
            if not free:
                self.shut(target)
        for _ in range(free):
            target.running += 1
            self.run(target)

    # --- policies -------------------------------------------------------------------------------------------------------

    def shut(self, target: TargetQueue) -> None:
        """Its policy lets nothing through now. Without a time, it is looked at when a call of it has ended."""
        if isinstance(target, GatedQueue) and len(target) and (wait_s := target.gate.wait_s()) is not None:
            until_s = self.clock.monotonic() + max(NAP_S, wait_s)
            if until_s < self._shut_until.get(target, inf):
                self._shut_until[target] = until_s
                self._sooner()

    def look(self) -> float:
        """Fill the targets whose time has come; in how many seconds the next one's comes."""
        if not self._shut_until:
            return inf
        now_s = self.clock.monotonic()
        for target in [one for one, until_s in self._shut_until.items() if until_s <= now_s]:
            del self._shut_until[target]
            self.fill(target)
        return max(0.0, min(self._shut_until.values(), default=inf) - now_s)

    def leaves(self, delivery: Delivery) -> bool:
        """Whether its target holds so many already that this one stays in the store."""
        target = self.gated.get(_name_of(delivery))
        if target is None or target.held < target.full:
            return False
        target.left = True
        return True

    def held(self, delivery: Delivery, more: int) -> bool:
        """Count what memory holds of its target. Whether what was left in the store has room now."""
        target = self.of(delivery)
        if not isinstance(target, GatedQueue):
            return False
        target.held += more
        return more < 0 and target.left and target.held <= target.full // 2

    def none_left(self) -> None:
        """The store is read again for what was left there."""
        for target in self.gated.values():
            target.left = False

    # --- asked from outside ---------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Something runs, waits, or was left in the store."""
        return any(target.running or len(target) for target in self._all.values()) or any(
            target.left for target in self.gated.values()
        )

    def status(self) -> tuple[TargetStatus, ...]:
        """Of the targets with a rate or a breaker that had something to do."""
        return tuple(
            TargetStatus(
                *name,
                target.running,
                len(target),
                None if (breaker := target.gate.breaker) is None else breaker.state,
                0.0 if breaker is None else breaker.retry_after_s,
            )
            for name, target in self.gated.items()
        )


def _name_of(delivery: Delivery) -> TargetName:
    spec = delivery.emitted.spec
    return delivery.key.workflow_type, spec.target or spec.name
