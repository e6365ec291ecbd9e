"""IntentRelay: runs each committed intent, and brings its outcome back as the next action.

The outbox row is what guarantees that an intent is run. Whatever happens here, the row stays until a commit ends it. After a
crash the next owner reads every row that is left.

At the start, before the queue opens: ``_take_over`` reads the rows (``takeover``), then timers of the next minute are read.
Then those that ended their process at two crashes are run, one by one, while nothing else runs. Then everything.

The way of one delivery:

1. ``offer`` takes it right after its commit. If memory is full, it is left to the store, and ``_make_room`` reads it later.
   The same read finds the intents of a commit whose answer was lost.
2. A runner of its target takes it (``_run_target``), the most urgent first; ``_attempt`` makes one try.
3. A timer becomes an action. A message becomes an action of another instance. Any other intent goes to its executor.
   In the first minute of an owner, and always for at-most-once, the start is made durable before the call. A crash then
   shows which effect ran. After that minute a start costs no write; a crash leaves every row "may have run".
4. Success goes through ``_succeeded``, a failed try through ``_failed_attempt``. That either notes the next try in the
   row and waits for its time, or ends the intent: with an outcome if the contract maps one, else as a dead row.
5. An outcome is an action that settles the row in its own commit. Its id follows from the intent's: after a crash between
   effect and commit the outcome comes again, and is applied once.

A crash or a close in steps 2 to 4 leaves the row to the next owner. There the effect runs again with the same key, or, if it
must run at most once, its outcome is ``unknown``. Only ``EffectFailed`` says that nothing was done. ``maybe_done`` remembers
anything else over all tries, so that ``failed`` is never reported of what may have happened (promise 23).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf

from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.errors import EffectUnknown, KilledItsProcess, OnexError, ValidationError
from ..kernel.intent import (
    EnumDelivery,
    EnumIntentType,
    EnumOutcome,
    Failure,
    outcome_id,
    sent_id,
)
from ..kernel.user_code import describe, plain_text
from ..ports import Clock, EnumOutboxState, Note, Pointer, Reader, Result
from .attempt import CUT_OFF, GRACE_S, effect_error, stopped_error, timeout_error, typed_result, wrong_result
from .attempt_recorder import AttemptRecorder, reason_of_attempt
from .cancel_doubts import CancelDoubts
from .dead_letters import DeadLetters
from .delivery import Delivery
from .delivery_queue import DeliveryQueue, TargetQueue
from .dispatch import ReducerService
from .failure_trace import kept_message
from .takeover import Takeover
from .task_supervisor import TaskSupervisor

TAKEOVER_US = 60_000_000  # so long after a takeover each start is recorded
CLOSE_S = 2 * GRACE_S  # an executor needs GRACE_S at most; what needs longer never ends
AGAIN_S = 1.0  # after which a store that could not be read is read again


class IntentRelay:
    """Runs the intents of one engine. ``Limits.kept`` bounds what it holds in memory; the rest waits in the store."""

    def __init__(self, service: ReducerService, clock: Clock, reader: Reader) -> None:
        self.service, self.clock, self.reader = service, clock, reader
        self._takeover = Takeover(service, reader)
        horizon_s = service.limits.horizon_s
        self._horizon_us, self._look_s = (1 << 62 if horizon_s == inf else int(horizon_s * 1e6)), horizon_s / 2
        self._queue = DeliveryQueue(clock, self._start_runner, service.limits.kept, self._horizon_us)
        self.dead_letters = DeadLetters(service, clock, reader, self._takeover, self._queue)
        self._attempts = AttemptRecorder(service, clock)
        self.cancel_doubts = CancelDoubts(self._queue, self._takeover)
        self._supervisor = TaskSupervisor(clock, service.events, service.lose)
        self._record_until_us = 0
        self._first_own: dict[int, int] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what the store holds: first, alone and one by one, what ran at two crashes; then everything."""
        self._record_until_us = self.clock.now_us() + TAKEOVER_US
        self._queue.begin_read()  # until it is over, memory does not hold all that is open
        async for delivery in self._takeover.cancelled():
            self._queue.hold(delivery)
            self._end_cancelled(delivery)
        alone = await self._take_over()
        self._queue.end_read()
        if len(self._queue):
            self.service.events("intents_taken_over", intents=len(self._queue))
        await self._load_timers()
        for delivery in alone:
            await self._attempt(delivery)
        await self.dead_letters.deliver_of_other_code()
        self._reload_s = self.clock.monotonic() + self._look_s
        self._supervisor.keep(self._watch_due, "onex-due")
        self._queue.open()
        self._make_room()

    async def _take_over(self) -> list[Delivery]:
        """Read what waits in the store until memory is full. Gives back what is to run alone."""
        alone: list[Delivery] = []
        async for delivery in self._takeover.waiting(self._queue):
            if delivery.ends is not None:
                self._queue.hold(delivery)
                dead = isinstance(delivery.ends, KilledItsProcess)
                self._end_failed(delivery, delivery.ends, EnumOutcome.UNKNOWN, dead=dead)
                continue
            if self._is_own(delivery.pointer) and delivery.attempt == 1:
                delivery.maybe_done = False  # nobody but this process could have run it, and it did not
            if delivery.alone:
                self._queue.hold(delivery)
                alone.append(delivery)
            elif not self._queue.add(delivery):
                break
        return alone

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
                    self._end_cancelled(delivery)

    def _end_cancelled(self, delivery: Delivery) -> None:
        """It does not run any more. Only if no try of it may have been done is it ``failed`` (promise 23)."""
        self._end_failed(delivery, stopped_error(), EnumOutcome.UNKNOWN if delivery.maybe_done else EnumOutcome.FAILED)

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
            alone = await self._take_over()
            await self._load_timers()
        except OnexError:
            self._queue.overflowed = True
            await self.clock.sleep(AGAIN_S)
            alone = []
        finally:
            self._queue.end_read()
        for delivery in alone:
            await self._attempt(delivery)
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
                await self._attempt(delivery)
        finally:
            self._queue.left(target)

    async def _attempt(self, delivery: Delivery) -> None:
        """One try, and what follows from it. Raises nothing but cancellation."""
        spec = delivery.emitted.spec
        try:
            if spec.kind == EnumIntentType.TIMER:
                self._fire_timer(delivery)
            elif spec.kind == EnumIntentType.ACTION_SEND:
                await self._send(delivery)
            else:
                await self._run_effect(delivery)
        except Exception as error:
            # when the engine is closing or lost the store, the row stays and nothing is lost; else it can have no end
            if self.service.closed is None:
                reason = error if isinstance(error, OnexError) else OnexError(describe(error))
                self._end_failed(delivery, reason, EnumOutcome.UNKNOWN, dead=True)

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
            await self.service.done(self.service.accept(pending))
        except OnexError as error:
            if self.service.closed is not None:
                raise
            self._failed_attempt(delivery, error, done=False, again=error.retryable)
            return
        self._attempts.succeeded(delivery)
        if spec.outcomes:
            self._deliver(delivery, EnumOutcome.SUCCEEDED, Result(None))

    async def _run_effect(self, delivery: Delivery) -> None:
        spec = delivery.emitted.spec
        executor = self.service.registry[delivery.key.workflow_type].executors.get(spec.target)
        if executor is None:
            delivery.attempt += delivery.maybe_done  # so that a re-drive knows
            missing = OnexError(f"nothing serves {spec.kind} {spec.target!r}: register an executor and re-drive")
            self._end_failed(delivery, missing, EnumOutcome.FAILED, dead=True)
            return
        # a compute task is pure and runs in a process of its own: it cannot take the engine with it, nothing of a try that
        # failed was done, and its time-out is the pool's, which does not count the wait for a free worker
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        risky = not pure and self.clock.now_us() < self._record_until_us
        once = spec.delivery is EnumDelivery.AT_MOST_ONCE
        if risky or once:
            await self._record_start(delivery)
        if delivery.is_cancelled:
            self._end_cancelled(delivery)
            return
        self._attempts.began(delivery)
        self.service.counters.effects_run += 1
        limit = asyncio.timeout(None if pure else spec.timeout_s)
        task = asyncio.current_task()
        try:
            async with limit:
                result = await executor.execute(delivery.intent())
        except BaseException as error:
            if issubclass(type(error), asyncio.CancelledError) and task is not None and task.cancelling():
                began = self._attempts.cut_off(delivery, error)
                if risky or once:
                    self._unrecord_start(delivery, stays=once and began)
                raise  # we are closing; any other cancellation is the effect's own
            failure = timeout_error(error, spec.timeout_s) if limit.expired() else effect_error(error)
            done = isinstance(failure, EffectUnknown) and not pure
            self._failed_attempt(delivery, failure, done=done, again=failure.retry)
        else:
            self._succeeded(delivery, result)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # its end came within the grace time of our close: nothing is begun after it

    async def _record_start(self, delivery: Delivery) -> None:
        note = Note(delivery.pointer, attempt=delivery.attempt, started=True, crashes=delivery.crashes)
        try:
            await self.service.note_durably(note)
        except asyncio.CancelledError:
            self._unrecord_start(delivery)
            raise

    def _unrecord_start(self, delivery: Delivery, *, stays: bool = False) -> None:
        """An orderly end is no crash of the effect's: the next owner counts none. ``stays``: it began, and must not run twice."""
        if delivery.is_cancelled:
            return  # its row says so, and must go on saying so
        attempt, crashes, why = delivery.attempt, delivery.crashes, CUT_OFF if stays else ""
        self.service.note(Note(delivery.pointer, attempt=attempt, started=stays, crashes=crashes, error=why))

    def _succeeded(self, delivery: Delivery, result: Result) -> None:
        spec = delivery.emitted.spec
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        if not spec.outcomes:
            self._attempts.succeeded(delivery)
            self.service.settle(delivery.pointer)  # fire and forget: no action follows
            return
        workflow = self.service.registry[delivery.key.workflow_type]
        try:
            kept = typed_result(result, workflow.payload_model(spec.outcomes[EnumOutcome.SUCCEEDED]))
            self._deliver(delivery, EnumOutcome.SUCCEEDED, kept)
            self._attempts.succeeded(delivery)
        except ValidationError as error:  # it is done, and what it returned cannot be kept: promise 35
            self._failed_attempt(delivery, wrong_result(error.message, error.code), done=not pure, again=False)
        except EffectUnknown as error:
            self._failed_attempt(delivery, error, done=not pure, again=False)

    # --- outcomes --------------------------------------------------------------------------------------------------------------

    def _failed_attempt(self, delivery: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        """promise 23. ``done``: this try may have had its effect. ``again``: the policy may be asked."""
        spec = delivery.emitted.spec
        delivery.maybe_done = delivery.maybe_done or done
        may_repeat = (not done or spec.delivery is EnumDelivery.AT_LEAST_ONCE) and not delivery.is_cancelled
        delay_s = spec.retry.delay_s(delivery.attempt, delivery.action_id) if again and may_repeat else None
        self._attempts.failed(delivery, error, done=done, next_s=delay_s)
        if delay_s is None:
            outcome = EnumOutcome.UNKNOWN if delivery.maybe_done else EnumOutcome.FAILED
            self._end_failed(delivery, error, outcome)
            return
        delivery.attempt += 1
        self.service.counters.effects_retried += 1
        delivery.due_us = due_us = self.clock.now_us() + int(delay_s * 1e6)
        attempt, crashes, reason = delivery.attempt, delivery.crashes, kept_message(error, delivery.emitted.payload)
        self.service.note(Note(delivery.pointer, attempt=attempt, due_us=due_us, crashes=crashes, error=reason))
        self._queue.wait_until_due(delivery)

    def _end_failed(self, delivery: Delivery, error: OnexError, outcome: EnumOutcome, *, dead: bool = False) -> None:
        spec = delivery.emitted.spec
        if delivery.is_cancelled and not spec.outcomes:
            self.service.settle(delivery.pointer)  # nobody waits for an outcome
            return
        if dead or not spec.outcomes:
            reason = kept_message(error, delivery.emitted.payload)
            note = Note(
                delivery.pointer, EnumOutboxState.DEAD, delivery.attempt, crashes=delivery.crashes, error=reason
            )
            self.service.note(note)
            self._attempts.dead(delivery, error)
            return
        # a payload like any other: what the reducer is told is the effect's own message, secrets and all
        code, message = plain_text(reason_of_attempt(error)), plain_text(error.message)
        self._deliver(delivery, outcome, Result(Failure(code=code, message=message, attempts=delivery.attempt)))

    def _deliver(self, delivery: Delivery, outcome: EnumOutcome, result: Result) -> None:
        trigger = delivery.emitted.spec.outcomes[outcome]
        model = self.service.registry[delivery.key.workflow_type].payload_model(trigger)
        value = result.value if isinstance(result.value, model) else NOTHING
        pending = delivery.pending(
            self.clock, delivery.key, trigger, value, outcome_id(delivery.id), blobs=result.blobs
        )
        self.service.accept(pending)
