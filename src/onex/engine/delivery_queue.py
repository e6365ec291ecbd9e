"""WorkQueue: the intents this process holds in memory, by target and by due time. What it forgets still waits in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from ..kernel.intent import EnumIntentType
from ..ports import Clock, Pointer
from .delivery import Delivery

HORIZON_US = 60_000_000  # timers due later stay in the store until their minute comes
AGE_US = 30_000_000  # one priority step per 30 s of waiting
NAP_S, LONGEST_NAP_S = 0.001, 0.1  # while a clock stands still before a due time
SENDS_AT_ONCE = 256  # an action_send waits only for a commit, which takes many at once


class TargetQueue:
    """The waiting work of one target, most urgent first, and how many runners serve it."""

    __slots__ = ("heap", "limit", "running")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.heap: list[tuple[int, Pointer, Delivery]] = []


class DeliveryQueue:
    """``run(lane)`` starts one more runner of a lane; none is started before ``open``. ``kept`` bounds what is held."""

    def __init__(self, clock: Clock, run: Callable[[TargetQueue], None], kept: int) -> None:
        self.clock, self.run, self.kept = clock, run, kept
        self.overflowed = False
        self.later_us: int | None = None
        self._gone: set[Pointer] | None = None
        self._known: dict[Pointer, Delivery] = {}
        self._lanes: dict[tuple[str, str], TargetQueue] = {}
        self._due: list[tuple[int, Pointer, Delivery]] = []
        self._awaited_us: int | None = None
        self._nap_s = 0.0
        self._alarm = asyncio.Event()
        self._calm = asyncio.Event()
        self._open = False

    def open(self) -> None:
        self._open = True
        for lane in list(self._lanes.values()):
            self._fill(lane)

    def close(self) -> None:
        self._open = False

    # --- in and out -----------------------------------------------------------------------------------------------------

    def add(self, work: Delivery, due_us: int) -> bool:
        """Hold it until it is settled. False when memory is full: the rest waits in the store. Twice is once.

        What is due later than in the minute to come is not held: years of it would leave no room for what can run now.
        Timers are read in their minute anyway; for the rest ``later_us`` says when to read again.
        """
        pointer = work.fresh.pointer
        now_us = self.clock.now_us()
        if pointer in self._known:
            return True
        if due_us > now_us + HORIZON_US:
            self._leave(work, due_us)
            return True
        if len(self._known) >= self.kept:
            self.overflowed = True
            return False
        self._known[pointer] = work
        if due_us > now_us:
            self.wait_until(due_us, work)
        else:
            self._queue(work)
        return True

    def _leave(self, work: Delivery, due_us: int) -> None:
        """To the store, until its minute comes."""
        if work.fresh.emitted.spec.kind != EnumIntentType.TIMER:
            self.later_us = due_us if self.later_us is None else min(due_us, self.later_us)

    def hold(self, work: Delivery) -> None:
        """Known, but served by the caller."""
        self._known[work.fresh.pointer] = work

    def __contains__(self, pointer: object) -> bool:
        """Held, or ended since the read that is under way began."""
        return pointer in self._known or (self._gone is not None and pointer in self._gone)

    def forget(self, pointers: Sequence[Pointer]) -> None:
        """These have ended. What a read that is under way still shows of them is old."""
        for pointer in pointers:
            self._known.pop(pointer, None)
        if self._gone is not None:
            self._gone.update(pointers)

    def begin_read(self) -> None:
        """From here to ``end_read`` the store is read for what memory had no room for."""
        self._gone = set()
        self.overflowed, self.later_us = False, None

    def end_read(self) -> None:
        self._gone = None
        self._calm.set()

    @property
    def reading(self) -> bool:
        return self._gone is not None

    @property
    def has_room(self) -> bool:
        """Half of memory is free: enough to read on in the store."""
        return self._open and len(self._known) <= self.kept // 2

    def wait_until(self, due_us: int, work: Delivery) -> None:
        if not self._due or due_us < self._due[0][0]:
            self._alarm.set()
        heappush(self._due, (due_us, work.fresh.pointer, work))

    def next(self, lane: TargetQueue) -> Delivery | None:
        """The most urgent of a lane that is still wanted."""
        while lane.heap:
            _, pointer, work = heappop(lane.heap)
            if self._known.get(pointer) is work:
                return work
        return None

    def left(self, lane: TargetQueue) -> None:
        """A runner found nothing more to do."""
        lane.running -= 1
        self._calm.set()

    def _queue(self, work: Delivery) -> None:
        fresh = work.fresh
        spec = fresh.emitted.spec
        lane_of = (fresh.key.workflow_type, spec.target or spec.name)
        lane = self._lanes.get(lane_of)
        if lane is None:
            limit = SENDS_AT_ONCE if spec.kind == EnumIntentType.ACTION_SEND else spec.concurrency
            lane = self._lanes[lane_of] = TargetQueue(max(1, limit))
        heappush(lane.heap, (work.queued_us + fresh.emitted.priority.rank * AGE_US, fresh.pointer, work))
        if self._open:
            self._fill(lane)

    def _fill(self, lane: TargetQueue) -> None:
        for _ in range(min(lane.limit - lane.running, len(lane.heap))):
            lane.running += 1
            self.run(lane)

    # --- due things ------------------------------------------------------------------------------------------------------

    def next_due_us(self) -> int | None:
        """When the next timer or retry held here is due."""
        while self._due and self._known.get(self._due[0][1]) is not self._due[0][2]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    async def wake_due(self, at_most_s: float) -> None:
        """Queue what is due, then wait for the next due time, for an earlier one that is set meanwhile, or ``at_most_s``.

        A clock that stands still never comes to that time: who has slept until then, and finds that it is not, naps.
        """
        self._alarm.clear()
        now_us = self.clock.now_us()
        while (due_us := self.next_due_us()) is not None and due_us <= now_us:
            self._queue(heappop(self._due)[2])
        if due_us is not None and due_us > now_us + 2 * HORIZON_US:
            self._leave_all()  # the clock was set back, or tries are far apart
        stands = due_us is not None and due_us == self._awaited_us
        self._nap_s = min(max(2 * self._nap_s, NAP_S), LONGEST_NAP_S) if stands else 0.0
        wait_s = at_most_s if due_us is None else min(at_most_s, max(self._nap_s, (due_us - now_us) / 1e6))
        sleeper = asyncio.ensure_future(self.clock.sleep(wait_s))
        alarm = asyncio.ensure_future(self._alarm.wait())
        try:
            await asyncio.wait((sleeper, alarm), return_when=asyncio.FIRST_COMPLETED)
            self._awaited_us = due_us if sleeper.done() and wait_s < at_most_s else None
        finally:
            sleeper.cancel()
            alarm.cancel()

    def _leave_all(self) -> None:
        for due_us, pointer, work in self._due:
            if self._known.get(pointer) is work:
                del self._known[pointer]
                self._leave(work, due_us)
        self._due.clear()

    # --- looking -----------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Something runs, could run now, or waits to be tried again. Timers of the future do not count."""
        if self.overflowed or self.reading or any(lane.running or lane.heap for lane in self._lanes.values()):
            return True
        return any(
            work.fresh.emitted.spec.kind != EnumIntentType.TIMER and self._known.get(pointer) is work
            for _, pointer, work in self._due
        )

    async def calmer(self) -> None:
        """Returns when nothing runs, or when that may have changed."""
        if self.busy:
            self._calm.clear()
            await self._calm.wait()
