"""IntentRelay: runs each committed intent, and brings its outcome back as the next action.

The outbox row is what guarantees that an intent is run. Whatever happens here, the row stays until a commit ends it. After a
crash the next owner reads every row that is left.

At the start, before the queue opens: ``_take_over`` reads the rows (``takeover``), then timers of the next minute are read.
Then those that ended their process at two crashes are run, one by one, while nothing else runs. Then the inbox is read: an
action that was stored while nobody ran is accepted before a timer that came due meanwhile. Then everything.

The way of one delivery:

1. ``offer`` takes it right after its commit. If memory is full, it is left to the store, and ``_make_room`` reads it later.
   The same read finds the intents of a commit whose answer was lost.
2. A runner of its target takes it (``_run_target``), the most urgent first; ``_attempt`` makes one try.
3. A timer becomes an action. A message becomes an action of another instance. Any other intent goes to its executor.
   In the first minute of an owner, and always for at-most-once, the start is made durable before the call. A crash then
   shows which effect ran. After that minute a start costs no write; a crash leaves every row "may have run".
4. What follows from the try is told by ``after_try``: an outcome, a next try at its time, or a dead row.
5. An outcome is an action that settles the row in its own commit. Its id follows from the intent's: after a crash between
   effect and commit the outcome comes again, and is applied once.

A crash or a close in steps 2 to 4 leaves the row to the next owner. There the effect runs again with the same key, or, if it
must run at most once, its outcome is ``unknown``. Only ``EffectFailed`` says that nothing was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence, Set
from functools import partial
from math import inf

from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.errors import KilledItsProcess, OnexError, OwnershipLost
from ..kernel.intent import (
    EnumIntentType,
    EnumOutcome,
    outcome_id,
    sent_id,
)
from ..kernel.user_code import describe
from ..ports import Clock, Pointer, Reader, Result, Sender
from .after_try import AfterTry
from .attempt import GRACE_S
from .attempt_recorder import AttemptRecorder
from .cancel_doubts import CancelDoubts
from .dead_letters import DeadLetters
from .delivery import PROGRESS, Delivery
from .delivery_queue import DeliveryQueue
from .dispatch import ReducerService
from .effect_runs import EffectRuns
from .messenger import AnswerSignal, Messenger
from .pending import Pending
from .running_tries import RunningTries
from .takeover import Takeover
from .target_gate import TargetStatus, report_breaker
from .target_queue import TargetQueue
from .task_supervisor import TaskSupervisor

TAKEOVER_US = 60_000_000  # so long after a takeover each start is recorded
CLOSE_S = 2 * GRACE_S  # an executor needs GRACE_S at most; what needs longer never ends
MOVED_S = 0.05  # after which a message is sent again whose receiver has moved to another worker
AGAIN_S = 1.0  # after which a store that could not be read is read again


class IntentRelay(EffectRuns):
    """Runs the intents of one engine. ``Limits.kept`` bounds what it holds in memory; the rest waits in the store."""

    def __init__(self, service: ReducerService, clock: Clock, reader: Reader) -> None:
        super().__init__()
        self.service, self.clock, self.reader = service, clock, reader
        self._takeover = Takeover(service, reader)
        horizon_s = service.limits.horizon_s
        self._horizon_us, self._look_s = (1 << 62 if horizon_s == inf else int(horizon_s * 1e6)), horizon_s / 2
        kept, policies = service.limits.kept, service.registry.policies
        self._queue = DeliveryQueue(
            clock, self._start_runner, kept, self._horizon_us, policies, partial(report_breaker, service)
        )
        self.dead_letters = DeadLetters(service, clock, reader, self._takeover, self._queue)
        self._attempts = AttemptRecorder(service, clock)
        self._after = AfterTry(service, clock, self._queue, self._attempts)
        self.cancel_doubts = CancelDoubts(self._queue, self._takeover)
        self._supervisor = TaskSupervisor(clock, service.events, service.lose)
        self._record_until_us = 0
        self._first_own: dict[int, int] = {}
        self._set_aside: list[Delivery] = []
        self._tries, self._alone = RunningTries(), asyncio.Lock()
        self.others: Messenger | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, read_inbox: Callable[[], Awaitable[None]]) -> None:
        """Take over what the store holds for us: first, alone and one by one, what ran at two crashes; then everything.

        ``read_inbox`` accepts what was sent while nobody ran. It comes before a timer that came due meanwhile.
        """
        await self._take_in()
        await self._run_alone()
        await self.dead_letters.deliver_of_other_code()
        await read_inbox()
        self._reload_s = self.clock.monotonic() + self._look_s
        self._supervisor.keep(self._watch_due, "onex-due")
        self._queue.open()
        self._make_room()

    def share(self, sender: Sender, changes: AnswerSignal) -> None:
        """Other workers have shards of this store: what is sent to one of their instances goes through its inbox."""
        self.others = Messenger(sender, changes, self.clock, self._supervisor)

    def beside(self, work: Coroutine[None, None, None], name: str) -> None:
        """Runs it until it ends or the relay closes."""
        self._supervisor.start(work, name)

    async def gain_shards(self, shards: Set[int]) -> None:
        """The same for shards that are ours since a moment, while what we had before goes on. Raises what the store raises."""
        for shard in shards:
            self._first_own.pop(shard, None)  # others may have committed there since
        self._queue.take_in(shards)
        while self._queue.reading:
            await self._queue.calmer()
        await self._take_in()
        await self.dead_letters.deliver_of_other_code()
        self._supervisor.start(self._run_alone(), "onex-alone")
        self._make_room()

    async def _take_in(self) -> None:
        self._record_until_us = self.clock.now_us() + TAKEOVER_US
        self._queue.begin_read()  # until it is over, memory does not hold all that is open
        try:
            async for delivery in self._takeover.cancelled():
                if delivery.pointer not in self._queue:
                    self._queue.hold(delivery)
                    self._after.end_cancelled(delivery)
            await self._take_over()
        finally:
            self._queue.end_read()
        if len(self._queue):
            self.service.events("intents_taken_over", intents=len(self._queue))
        await self._load_timers()

    async def _run_alone(self) -> None:
        """One by one what is to run alone: what it does to the process happens to none of the others."""
        async with self._alone:
            while self._set_aside:
                delivery = self._set_aside.pop(0)
                if self._queue.get(delivery.pointer) is delivery:  # else its shard is another's by now
                    await self._attempt(delivery)

    async def give_shards(self, shards: Set[int], within_s: float) -> None:
        """Begin nothing more of these, and let what runs end, for ``within_s`` at most. What runs longer is cut off: the next
        owner runs it again, or, where it must not run twice, tells its outcome as unknown."""
        self._queue.set_apart(shards)
        await self._tries.ended(shards, within_s)
        await self._tries.cut_off(shards, CLOSE_S)

    def parted(self, shards: Set[int]) -> None:
        """Another has these: nothing of them may go on here."""
        self._queue.forget_shards(shards)
        if self._tries.any_of(shards):
            self._supervisor.start(self._tries.cut_off(shards, CLOSE_S), "onex-cut-off")

    async def _take_over(self) -> None:
        """Read what waits in the store until memory is full. What is to run alone is set aside."""
        async for delivery in self._takeover.waiting(self._queue):
            if delivery.ends is not None:
                self._queue.hold(delivery)
                dead = isinstance(delivery.ends, KilledItsProcess)
                self._after.end_failed(delivery, delivery.ends, EnumOutcome.UNKNOWN, dead=dead)
                continue
            if self._is_own(delivery.pointer) and delivery.attempt == 1:
                delivery.maybe_done = False  # nobody but this process could have run it, and it did not
            if delivery.alone:
                self._queue.hold(delivery)
                self._set_aside.append(delivery)
            elif not self._queue.add(delivery):
                break

    async def close(self) -> None:
        """Running effects are given up: their rows stay, the next owner runs them again with the same key.

        Returns within CLOSE_S: what does not stop when it is cancelled is left behind.
        """
        self._queue.close()
        await self._supervisor.close(CLOSE_S)

    @property
    def busy(self) -> bool:
        """Something runs, could run now, or waits to be tried again. Timers of the future do not count."""
        return self._queue.busy

    @property
    def targets(self) -> tuple[TargetStatus, ...]:
        """The targets with a rate or a circuit breaker that had something to do, as they stand in this process."""
        return self._queue.targets()

    async def settled(self) -> None:
        """Returns when nothing runs, or when that may have changed."""
        await self._queue.calmer()

    # --- in ------------------------------------------------------------------------------------------------------------

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take intents just committed. What memory has no room for waits in the store and is read when there is."""
        now_us = self.clock.now_us()
        for delivery in deliveries:
            self._first_own.setdefault(delivery.pointer.shard, delivery.pointer.n)
            delivery.queued_us = now_us
            if not self._queue.add(delivery):
                return

    def _is_own(self, pointer: Pointer) -> bool:
        """Whether this process committed it, as far as it knows."""
        first = self._first_own.get(pointer.shard)
        return first is not None and pointer.n >= first

    def rows_ended(self, pointers: Sequence[Pointer]) -> None:
        self._queue.forget(pointers)
        self._make_room()

    async def open_intents(self, key: WorkflowKey) -> list[Delivery]:
        """Every intent of the instance that waits or runs, timers aside. Where memory does not hold all, the store is read."""
        stored = [] if self._queue.holds_all_of(key) else [one async for one in self._takeover.open_of(key)]
        held = [one for one in self._queue.of_key(key) if one.emitted.spec.kind != EnumIntentType.TIMER]
        known = {one.pointer for one in held}
        return held + [one for one in stored if one.pointer not in known]

    def withhold(self, pointers: Sequence[Pointer]) -> None:
        self._queue.withhold(pointers)

    def give_back(self) -> None:
        if self._queue.give_back():
            self._make_room()

    def tell(self, pointers: Sequence[Pointer]) -> None:
        """These were cancelled while they ran. One whose try has ended meanwhile is not tried again."""
        self.service.forget_notes(pointers)
        self.give_back()
        for pointer in pointers:
            delivery = self._queue.get(pointer)
            if delivery is not None:
                delivery.cancel()
                if not delivery.taken:
                    self._queue.take_back(delivery)
                    self._after.end_cancelled(delivery)

    def erased(self, key: WorkflowKey) -> int:
        """The store holds every open row of this instance as dead: what waits here is forgotten, and what runs is told to stop. How
        many run."""
        known = list(self._queue.of_key(key))
        self.service.forget_notes([one.pointer for one in known])
        self.rows_ended([one.pointer for one in known if not one.taken])
        running = [one for one in known if one.taken]
        for delivery in running:
            delivery.cancel()
        return len(running)

    def doubt(self, running: Sequence[Pointer]) -> None:
        """Nobody knows whether these, which run, were cancelled: what they tell of their progress must not undo that."""
        self.service.forget_notes(running, PROGRESS)
        self.cancel_doubts.add(running)

    def read_outbox_again(self) -> None:
        """The store may hold intents that are not known here: the answer to their commit was lost, or they were not due."""
        self._queue.overflowed = True
        self._make_room()

    def _make_room(self) -> None:
        if self._queue.overflowed and self._queue.has_room and not self._queue.reading:
            self._queue.begin_read()
            self._supervisor.start(self._refill(), "onex-refill")

    async def _refill(self) -> None:
        try:
            await self.cancel_doubts.resolve(self.tell)
            await self._take_over()
            await self._load_timers()
        except OnexError:
            self._queue.overflowed = True
            await self.clock.sleep(AGAIN_S)
        finally:
            self._queue.end_read()
        await self._run_alone()
        if self.service.closed is None:
            self._make_room()

    async def _load_timers(self) -> None:
        """Timers due within the horizon; later ones stay in the store until their time comes near."""
        async for delivery in self._takeover.timers(self.clock.now_us() + self._horizon_us):
            if delivery.pointer not in self._queue:
                self._queue.add(delivery)

    async def _watch_due(self) -> None:
        """Wakes at each due time; each half horizon, by the monotonic clock, it reads the timers of the horizon to come."""
        if self.clock.monotonic() >= self._reload_s:
            pause_s = self._look_s
            try:
                await self._load_timers()
            except OnexError:
                pause_s = AGAIN_S
            self._reload_s = self.clock.monotonic() + pause_s
        later_us = self._queue.later_us
        if later_us is not None and later_us <= self.clock.now_us() + self._horizon_us // 2:
            self.read_outbox_again()
        self._make_room()
        await self._queue.wake_due(max(0.0, self._reload_s - self.clock.monotonic()))

    # --- running -----------------------------------------------------------------------------------------------------------

    def _start_runner(self, target: TargetQueue) -> None:
        self._supervisor.start(self._run_target(target), "onex-effects")

    async def _run_target(self, target: TargetQueue) -> None:
        """One runner: takes the most urgent of its target until nothing waits."""
        try:
            while (delivery := self._queue.next(target)) is not None:
                try:
                    await self._attempt(delivery)
                finally:
                    self._queue.tried(target, delivery)
        finally:
            self._queue.left(target)

    async def _attempt(self, delivery: Delivery) -> None:
        """One try, and what follows from it. Raises nothing but cancellation."""
        spec = delivery.emitted.spec
        self._tries.begins(delivery.pointer)
        try:
            if spec.kind == EnumIntentType.TIMER:
                self._fire_timer(delivery)
            elif spec.kind == EnumIntentType.ACTION_SEND:
                await self._send(delivery)
            else:
                await self._run_effect(delivery)
        except OwnershipLost:
            pass  # the row is another's: it begins there anew
        except Exception as error:
            # when the engine is closing or lost the store, the row stays and nothing is lost; else it can have no end
            if self.service.closed is None:
                reason = error if isinstance(error, OnexError) else OnexError(describe(error))
                self._after.end_failed(delivery, reason, EnumOutcome.UNKNOWN, dead=True)
        finally:
            self._tries.ends(delivery.pointer)

    def _fire_timer(self, delivery: Delivery) -> None:
        emitted = delivery.emitted
        pending = delivery.pending(self.clock, delivery.key, emitted.spec.trigger, NOTHING, outcome_id(delivery.id))
        self.service.accept(pending)

    async def _send(self, delivery: Delivery) -> None:
        """Deliver to another instance; applied there once, under an id that follows from the intent."""
        emitted = delivery.emitted
        spec = emitted.spec
        self._attempts.began(delivery)
        try:
            to = WorkflowKey.of(spec.target, emitted.to)
            self.service.registry[spec.target].payload_model(spec.trigger)
            payload = emitted.payload if emitted.payload is not None else NOTHING
            pending = delivery.pending(self.clock, to, spec.trigger, payload, sent_id(delivery.id), sent=True)
            settled = await self.bring(pending)
        except OnexError as error:
            if self.service.closed is not None:
                raise
            self._after.failed_attempt(delivery, error, done=False, again=error.retryable)
            return
        self._attempts.succeeded(delivery)
        if spec.outcomes:
            self._after.deliver(delivery, EnumOutcome.SUCCEEDED, Result(None))
        elif not settled:
            self.service.settle(delivery.pointer)

    async def bring(self, pending: Pending) -> bool:
        """A message to its receiver, wherever that is. Returns when it is applied: True if the same commit has settled its row.
        Not so the first time if an earlier owner of the row wrote it into our inbox, and that twin is in flight.

        Raises what it is refused with."""
        while True:
            shard = self.service.shard_of(pending)
            try:
                if self.others is not None and self.service.not_here(shard) is not None:
                    await self.others.send(pending, shard)
                    return False
                taken = self.service.accept(pending)
                return not (await self.service.done(taken)).duplicate and taken is pending
            except OwnershipLost:  # the receiver moved meanwhile; sent again it is applied once
                if self.service.closed is not None or (pending.settles and not self.service.has(pending.settles.shard)):
                    raise
                await self.clock.sleep(MOVED_S)
