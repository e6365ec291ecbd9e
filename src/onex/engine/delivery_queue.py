"""DeliveryQueue: the deliveries that this process holds in memory, by target and by due time.

The outbox row is the record; this queue is a cache of part of it. What it forgets, or has no room for, still waits in the
store and is read again later. So every bound here may drop a delivery, but none may end one.

A delivery is *known* from ``add`` or ``hold`` until ``forget``, which the commit that ends its row brings about. Known ones
stand in one of two places: in the heap of their target when they can run now, or in the heap of due times. An entry of a heap
is valid only while ``_known`` still names the same object. So forgetting is one deletion; the stale entry is skipped later.

1. ``add`` refuses what memory has no room for and sets ``overflowed``: the relay reads the store when half is free.
2. What is due later than ``horizon_us`` is not held. Timers are read again each half of it; ``later_us`` is the time of the
   earliest other one, ``_left`` the instances that have such (None: too many to name). A clock that was set back makes known
   ones "later": they are dropped too, in ``_drop_later``. It may be set forth again, so ``wake_due``
   returns each second for a while.
3. A target is served by up to ``limit`` runners. A runner ends when its queue is empty; ``TargetQueues.fill`` starts another when
   work comes. ``running`` counts from the call of ``run``, so a runner whose task has not begun is counted already.
   A target with a policy (``target_gate``) gives out no more than that lets through. A runner that finds no room ends, and
   it is remembered when to look again: the target is filled then, by ``wake_due``, or when a call of it has ended (``tried``).
4. While the store is read in pages, a row may end after its page was read. ``forget`` then adds it to
   ``_ended_during_read``, and ``in`` says that it is held, so that an old page does not run it again.
5. A shard that is being given, or is another's, is ``apart``: nothing of it is taken in or given out, until it is ours again.
6. ``wake_due`` sleeps until the next due time by the wall clock, which may stand still or be set while it sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from heapq import heappop, heappush

from ..kernel.action import WorkflowKey
from ..kernel.intent import EnumIntentType
from ..kernel.target_policy import TargetPolicy
from ..ports import Clock, Pointer
from .delivery import Delivery
from .target_gate import TargetStatus
from .target_queue import NAP_S, BreakerTurned, TargetName, TargetQueue, TargetQueues, nobody

LONGEST_NAP_S = 0.1  # while a clock stands still before a due time
LOOK_AGAIN_S, LOOK_FOR_S = 1.0, 600.0  # at a clock that was set back


class DeliveryQueue:
    """``run(target)`` starts one more runner of a target; none is started before ``open``. ``kept`` bounds what is held, and
    what is due later than ``horizon_us`` from now stays in the store until its time comes near. ``policies`` are those of the
    targets that have one; ``turned`` hears of each new state of a breaker."""

    def __init__(
        self,
        clock: Clock,
        run: Callable[[TargetQueue], None],
        kept: int,
        horizon_us: int,
        policies: Mapping[TargetName, TargetPolicy] | None = None,
        turned: BreakerTurned = nobody,
    ) -> None:
        self.clock, self.run, self.kept, self.horizon_us = clock, run, kept, horizon_us
        self.overflowed = False
        self.later_us: int | None = None
        self._left: set[WorkflowKey] | None = set()
        self._ended_during_read: set[Pointer] | None = None
        self._known: dict[Pointer, Delivery] = {}
        self._of_key: dict[WorkflowKey, dict[Pointer, Delivery]] = {}
        self._withheld: dict[Pointer, Delivery | None] = {}
        self._doubted: dict[Pointer, Delivery | None] = {}
        self.answer_lost = False
        self._stopped: set[Pointer] = set()
        self._apart: set[int] = set()
        self._alarm = asyncio.Event()
        self._targets = TargetQueues(clock, run, policies or {}, turned, self._alarm.set, kept)
        self._due: list[tuple[int, Pointer, Delivery]] = []
        self._awaited_us: int | None = None
        self._nap_s = 0.0
        self._look_until_s = 0.0
        self._calm = asyncio.Event()
        self._open = False

    def open(self) -> None:
        self._open = True
        self._targets.open()

    def close(self) -> None:
        self._open = self._targets.is_open = False

    # --- in and out -----------------------------------------------------------------------------------------------------

    def add(self, delivery: Delivery) -> bool:
        """Hold it until it is ended. False when memory is full: it waits in the store. Adding it twice does nothing.

        What is due beyond the horizon is not held: years of it would leave no room for what can run now.
        """
        pointer, due_us = delivery.pointer, delivery.due_us
        now_us = self.clock.now_us()
        if pointer in self._known or pointer.shard in self._apart:
            return True
        if due_us > now_us + self.horizon_us:
            self._leave(delivery)
            return True
        if len(self._known) >= self.kept:
            self.overflowed = True
            return False
        if self._targets.gated and self._targets.leaves(delivery):
            self._note_left(delivery)
            return True
        if pointer in self._withheld or pointer in self._doubted:
            return True  # it is being cancelled; if it is not, the store is read again
        self._keep(delivery)
        if due_us > now_us:
            self.wait_until_due(delivery)
        else:
            self._queue(delivery)
        return True

    def _leave(self, delivery: Delivery) -> None:
        """To the store, until its time comes near. Timers are read then anyway."""
        if delivery.emitted.spec.kind != EnumIntentType.TIMER:
            self.later_us = delivery.due_us if self.later_us is None else min(delivery.due_us, self.later_us)
            self._note_left(delivery)

    def _note_left(self, delivery: Delivery) -> None:
        if self._left is not None:
            self._left.add(delivery.key)
            if len(self._left) > self.kept:
                self._left = None

    def hold(self, delivery: Delivery) -> None:
        """Known, but run by the caller."""
        delivery.taken = True
        self._keep(delivery)

    def _keep(self, delivery: Delivery) -> None:
        if self._targets.policies and delivery.pointer not in self._known:
            self._targets.held(delivery, 1)
        self._known[delivery.pointer] = delivery
        self._of_key.setdefault(delivery.key, {})[delivery.pointer] = delivery

    def _drop(self, pointer: Pointer) -> None:
        delivery = self._known.pop(pointer, None)
        if delivery is not None:
            self._stopped.discard(pointer)
            if self._targets.gated and self._targets.held(delivery, -1):
                self.overflowed = True
            of_key = self._of_key[delivery.key]
            del of_key[pointer]
            if not of_key:
                del self._of_key[delivery.key]

    def get(self, pointer: Pointer) -> Delivery | None:
        return self._known.get(pointer)

    # --- shards ---------------------------------------------------------------------------------------------------------

    def set_apart(self, shards: Set[int]) -> None:
        """Nothing of these is given out from now on. What waits is let go of; what runs stays known until it has ended."""
        self._apart |= shards
        for pointer in [one for one, delivery in self._known.items() if one.shard in shards and not delivery.taken]:
            self._drop(pointer)
        for marked in (self._withheld, self._doubted):
            for pointer in [one for one in marked if one.shard in shards]:
                del marked[pointer]

    def forget_shards(self, shards: Set[int]) -> None:
        """These are another's: nothing of them is known here any more."""
        self.set_apart(shards)
        self.forget([pointer for pointer in self._known if pointer.shard in shards])

    def take_in(self, shards: Set[int]) -> None:
        """These are ours. What waits in them is still to be added."""
        self._apart -= shards

    # --- cancelling -----------------------------------------------------------------------------------------------------

    def of_key(self, key: WorkflowKey) -> Sequence[Delivery]:
        """What is held of one instance."""
        return tuple(self._of_key.get(key, {}).values())

    def holds_all_of(self, key: WorkflowKey) -> bool:
        """Nothing of the instance waits in the store alone, timers aside."""
        if self.overflowed or self.reading or self.answer_lost or self._doubted:
            return False
        return self._left is not None and key not in self._left

    def withhold(self, pointers: Sequence[Pointer]) -> None:
        """These are not given out, until ``forget`` or ``give_back``."""
        self._withheld.update(dict.fromkeys(pointers))

    def give_back(self) -> bool:
        """Those that are withheld and were not forgotten may run. Whether there are any."""
        left, self._withheld = self._withheld, {}
        for pointer, delivery in left.items():
            if delivery is not None and self._known.get(pointer) is delivery:
                self._queue(delivery)
        self.overflowed = self.overflowed or bool(
            left
        )  # some may have come from the store meanwhile, and were not taken
        return bool(left)

    def doubt(self, running: Sequence[Pointer]) -> None:
        """Nobody knows whether the commit was made that cancels what is withheld, and these, which run. None begins a try until
        ``resolve``. Those that waited are left to the store: it tells whether they wait still.
        """
        for pointer in self._withheld:
            self._drop(pointer)
        self._doubted.update(dict.fromkeys((*self._withheld, *running)))
        self._withheld = {}

    @property
    def doubted(self) -> frozenset[Pointer]:
        return frozenset(self._doubted)

    def resolve(self, pointers: Iterable[Pointer]) -> None:
        """The store has told what became of these: what is known and was not cancelled may be tried again."""
        for pointer in pointers:
            delivery = self._doubted.pop(pointer, None)
            if delivery is not None and self._known.get(pointer) is delivery and not delivery.is_cancelled:
                self._queue(delivery)

    def __contains__(self, pointer: object) -> bool:
        """Held, or ended since the read that is under way began."""
        return pointer in self._known or (self._ended_during_read is not None and pointer in self._ended_during_read)

    def __len__(self) -> int:
        return len(self._known)

    def forget(self, pointers: Sequence[Pointer]) -> None:
        """These have ended. A read that is under way may still show them."""
        for pointer in pointers:
            self._drop(pointer)
        if self._withheld or self._doubted:
            for pointer in pointers:
                self._withheld.pop(pointer, None)
                self._doubted.pop(pointer, None)
        if self._ended_during_read is not None:
            self._ended_during_read.update(pointers)

    def begin_read(self) -> None:
        """From here to ``end_read`` the store is read for what memory had no room for."""
        self._ended_during_read = set()
        self.overflowed, self.later_us, self._left = False, None, set()
        self._targets.none_left()

    def end_read(self) -> None:
        self._ended_during_read = None
        self._calm.set()

    @property
    def reading(self) -> bool:
        return self._ended_during_read is not None

    @property
    def has_room(self) -> bool:
        """Half of memory is free: enough to read on in the store."""
        return self._open and len(self._known) <= self.kept // 2

    def wait_until_due(self, delivery: Delivery) -> None:
        """To the due times. Called for one that is known: new, or to be tried again."""
        delivery.taken = False
        if not self._due or delivery.due_us < self._due[0][0]:
            self._alarm.set()
        heappush(self._due, (delivery.due_us, delivery.pointer, delivery))

    def take_back(self, delivery: Delivery) -> None:
        """It waits no more: it stays known until its row has ended, and is not given out."""
        delivery.taken = True
        self._stopped.add(delivery.pointer)

    def next(self, target: TargetQueue) -> Delivery | None:
        """The next of a target that is still wanted; None when there is none, or when its policy lets none through now."""
        if target.gate is not None and not target.gate.room():
            self._targets.shut(target)
            return None
        while (delivery := target.take()) is not None:
            pointer = delivery.pointer
            if self._known.get(pointer) is not delivery:
                continue
            if pointer in self._stopped or pointer.shard in self._apart:
                continue
            if pointer in self._withheld:
                self._withheld[pointer] = delivery
                continue
            if pointer in self._doubted:
                self._doubted[pointer] = delivery
                continue
            delivery.taken = True
            if target.gate is not None:
                delivery.answered, delivery.turn = None, target.gate.begin()
            return delivery
        return None

    def tried(self, target: TargetQueue, delivery: Delivery) -> None:
        """A try of one that ``next`` gave has ended, or did not begin."""
        if target.gate is not None:
            target.gate.ended(delivery.turn, delivery.answered)
            self._targets.fill(target)

    def left(self, target: TargetQueue) -> None:
        """A runner has ended: it found nothing more to do, or its try was cut off."""
        target.running -= 1
        self._targets.fill(target)
        self._calm.set()

    def _queue(self, delivery: Delivery) -> None:
        target = self._targets.of(delivery)
        target.put(delivery)
        self._targets.fill(target)

    # --- due times -------------------------------------------------------------------------------------------------------

    def next_due_us(self) -> int | None:
        """When the next timer or retry held here is due."""
        while self._due and self._known.get(self._due[0][1]) is not self._due[0][2]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    async def wake_due(self, at_most_s: float) -> None:
        """Queue what is due, then wait for the next due time, for an earlier one that is set meanwhile, or ``at_most_s``.

        The sleep is monotonic and the due time is not. A wall clock that stands still is asked again after each sleep; to ask
        it without a pause would take a whole core. So who slept for a due time and finds it still ahead sleeps 1 ms next,
        then twice as long each time, up to 100 ms.
        """
        self._alarm.clear()
        now_us = self.clock.now_us()
        while (due_us := self.next_due_us()) is not None and due_us <= now_us:
            self._queue(heappop(self._due)[2])
        if due_us is not None and due_us > now_us + 2 * self.horizon_us:
            self._drop_later()  # the clock was set back, or tries are far apart
        if self.clock.monotonic() < self._look_until_s:
            at_most_s = min(at_most_s, LOOK_AGAIN_S)
        stands = due_us is not None and due_us == self._awaited_us
        self._nap_s = min(max(2 * self._nap_s, NAP_S), LONGEST_NAP_S) if stands else 0.0
        wait_s = at_most_s if due_us is None else min(at_most_s, max(self._nap_s, (due_us - now_us) / 1e6))
        sleeps_for_due = wait_s < at_most_s
        if (gate_s := self._targets.look()) < wait_s:
            wait_s, sleeps_for_due = max(0.0, gate_s), False
        sleeper = asyncio.ensure_future(self.clock.sleep(wait_s))
        alarm = asyncio.ensure_future(self._alarm.wait())
        try:
            await asyncio.wait((sleeper, alarm), return_when=asyncio.FIRST_COMPLETED)
            self._awaited_us = due_us if sleeper.done() and sleeps_for_due else None
        finally:
            sleeper.cancel()
            alarm.cancel()

    def _drop_later(self) -> None:
        self._look_until_s = self.clock.monotonic() + LOOK_FOR_S
        for due_us, pointer, delivery in self._due:
            if self._known.get(pointer) is delivery:
                self._drop(pointer)
                self._leave(delivery)
                self.later_us = due_us if self.later_us is None else min(due_us, self.later_us)  # of timers, too
        self._due.clear()

    # --- asked from outside ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Something runs, could run now, or waits to be tried again. Timers of the future do not count."""
        if self.overflowed or self.reading or self._targets.busy:
            return True
        return any(
            delivery.emitted.spec.kind != EnumIntentType.TIMER and self._known.get(pointer) is delivery
            for _, pointer, delivery in self._due
        )

    async def calmer(self) -> None:
        """Returns when nothing runs, or when that may have changed."""
        if self.busy:
            self._calm.clear()
            await self._calm.wait()

    def targets(self) -> tuple[TargetStatus, ...]:
        """The targets with a rate or a breaker that had something to do, as they stand now."""
        return self._targets.status()
