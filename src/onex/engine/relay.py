"""IntentRelay: each committed intent meets its effect, and what came of it returns as the next action.

The outbox row is the promise; the queue here is only the fast way to keep it. A crash leaves every row where it was, and the
next owner takes all of them: claims need no time-out, because the fence of the dead one is void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from pydantic import BaseModel

from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.canonical import detached_copy
from ..kernel.errors import EffectFailed, EffectUnknown, KilledItsProcess, OnexError, ValidationError
from ..kernel.intent import (
    EnumDelivery,
    EnumIntentPriority,
    EnumIntentType,
    EnumOutcome,
    Failure,
    ModelIntent,
    outcome_id,
    sent_id,
)
from ..kernel.user_code import describe, plain_text
from ..ports import Clock, EnumOutboxState, Note, Pointer, Reader, Result
from .attempt import GRACE_S, effect_error, timeout_error, typed_result, wrong_result
from .dead_letters import DeadLetters
from .delivery import Delivery
from .delivery_queue import HORIZON_US, DeliveryQueue, TargetQueue
from .dispatch import ReducerService
from .mailbox import Fresh
from .takeover import Takeover
from .task_supervisor import TaskSupervisor

TAKEOVER_US = 60_000_000
RELOAD_S = HORIZON_US / 2e6
CLOSE_S = 2 * GRACE_S  # an executor takes GRACE_S; who needs longer has no end
AGAIN_S = 1.0  # a store that could not be read is asked again


class IntentRelay:
    """Runs the intents of one engine. ``Limits.kept`` bounds what it holds in memory; the rest waits in the store."""

    def __init__(self, service: ReducerService, clock: Clock, reader: Reader) -> None:
        self.service, self.clock, self.reader = service, clock, reader
        self._takeover = Takeover(service, reader)
        self._stopped = DeadLetters(service, clock, reader, self._takeover, self._run_again)
        self._queue = DeliveryQueue(clock, self._run, service.limits.kept)
        self._supervisor = TaskSupervisor(clock, service.events, service.lose)
        self._record_until_us = 0
        self._first_own: dict[int, int] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what the store holds: first, alone and one by one, what ran at two crashes; then everything."""
        self._record_until_us = self.clock.now_us() + TAKEOVER_US
        alone = await self._take_over()
        await self._load_timers()
        for work in alone:
            await self._attempt(work)
        await self._stopped.deliver_of_other_code()
        self._reload_s = self.clock.monotonic() + RELOAD_S
        self._supervisor.keep(self._watch_due, "onex-due")
        self._queue.open()
        self._make_room()

    async def _take_over(self) -> list[Delivery]:
        """Read what waits in the store until memory is full. Gives back what is to run alone."""
        alone: list[Delivery] = []
        async for found in self._takeover.waiting(self._queue):
            if found.ends is not None:
                self._queue.hold(found.work)
                dead = isinstance(found.ends, KilledItsProcess)
                self._finish_badly(found.work, found.ends, EnumOutcome.UNKNOWN, dead=dead)
                continue
            if self._is_own(found.work.fresh.pointer) and found.work.attempt == 1:
                found.work.maybe_done = False  # nobody but this process could have run it, and it did not
            if found.alone:
                self._queue.hold(found.work)
                alone.append(found.work)
            elif not self._queue.add(found.work, found.due_us):
                break
        return alone

    async def close(self) -> None:
        """Running effects are given up: their rows stay, the next owner runs them again with the same key.

        Returns within CLOSE_S: what does not stop when it is told to is left behind.
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

    def offer(self, fresh: Sequence[Fresh]) -> None:
        """Take intents just committed. What memory has no room for waits in the store and is read when there is."""
        now_us = self.clock.now_us()
        for one in fresh:
            self._first_own.setdefault(one.pointer.shard, one.pointer.n)
            if not self._queue.add(Delivery(one, now_us), one.due_us):
                return

    def _is_own(self, pointer: Pointer) -> bool:
        """Whether this process committed it, as far as it knows."""
        first = self._first_own.get(pointer.shard)
        return first is not None and pointer.n >= first

    def rows_ended(self, pointers: Sequence[Pointer]) -> None:
        self._queue.forget(pointers)
        self._make_room()

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
            alone = await self._take_over()
            await self._load_timers()
        except OnexError:
            self._queue.overflowed = True
            await self.clock.sleep(AGAIN_S)
            alone = []
        finally:
            self._queue.end_read()
        for work in alone:
            await self._attempt(work)
        if self.service.closed is None:
            self._make_room()

    async def _load_timers(self) -> None:
        """Timers due within the next minute; later ones stay in the store until their minute comes."""
        async for found in self._takeover.timers(self.clock.now_us() + HORIZON_US):
            if found.work.fresh.pointer not in self._queue:
                self._queue.add(found.work, found.due_us)

    async def _watch_due(self) -> None:
        """Wakes at each due time; every half minute, by a clock that nobody sets, reads the timers of the minute to come."""
        if self.clock.monotonic() >= self._reload_s:
            pause_s = RELOAD_S
            try:
                await self._load_timers()
            except OnexError:
                pause_s = AGAIN_S
            self._reload_s = self.clock.monotonic() + pause_s
        later_us = self._queue.later_us
        if later_us is not None and later_us <= self.clock.now_us() + HORIZON_US // 2:
            self.read_outbox_again()
        self._make_room()
        await self._queue.wake_due(max(0.0, self._reload_s - self.clock.monotonic()))

    # --- held and dead -----------------------------------------------------------------------------------------------------

    async def deliver_held(self, key: WorkflowKey) -> None:
        """Every held outcome of one instance, again."""
        await self._stopped.deliver(key)

    async def redrive(self, pointer: Pointer, noting: Callable[[], None] | None = None) -> None:
        """A dead intent from attempt 1 with the same key; a held outcome as it was. Raises ValidationError."""
        await self._stopped.redrive(pointer, noting)

    def _run_again(self, work: Delivery) -> None:
        self._queue.add(work, 0)

    # --- running -----------------------------------------------------------------------------------------------------------

    def _run(self, lane: TargetQueue) -> None:
        self._supervisor.start(self._serve(lane), "onex-effects")

    async def _serve(self, lane: TargetQueue) -> None:
        """One runner of a lane: takes the most urgent until nothing waits."""
        try:
            while (work := self._queue.next(lane)) is not None:
                await self._attempt(work)
        finally:
            self._queue.left(lane)

    async def _attempt(self, work: Delivery) -> None:
        """One try, and what follows from it. Raises nothing but cancellation."""
        spec = work.fresh.emitted.spec
        try:
            if spec.kind == EnumIntentType.TIMER:
                self._fire(work)
            elif spec.kind == EnumIntentType.ACTION_SEND:
                await self._send(work)
            else:
                await self._perform(work)
        except Exception as error:
            # when the engine is closing or lost the store, the row stays and nothing is lost; else it can have no end
            if self.service.closed is None:
                told = error if isinstance(error, OnexError) else OnexError(describe(error))
                self._finish_badly(work, told, EnumOutcome.UNKNOWN, dead=True)

    def _fire(self, work: Delivery) -> None:
        fresh = work.fresh
        name = fresh.emitted.name
        pending = work.pending(self.clock, fresh.key, fresh.emitted.spec.trigger, NOTHING, outcome_id(work.id))
        pending.timer = name
        pending.issued_us = max(pending.issued_us, fresh.emitted.due_us)  # though the clock was set back just now
        self.service.accept(pending)

    async def _send(self, work: Delivery) -> None:
        """Deliver to another instance; applied there once, under an id that follows from the intent."""
        fresh = work.fresh
        emitted = fresh.emitted
        spec = emitted.spec
        try:
            to = WorkflowKey.of(spec.target, emitted.to)
            self.service.registry[spec.target].payload_model(spec.trigger)
            payload = emitted.payload if emitted.payload is not None else NOTHING
            pending = work.pending(self.clock, to, spec.trigger, payload, sent_id(work.id), issuer=str(fresh.key))
            pending.settles = None if spec.outcomes else fresh.pointer
            pending.sent = True
            pending.given_id = True  # before a crash it may have been applied: then it is not refused now
            await self.service.done(self.service.accept(pending))
        except OnexError as error:
            if self.service.closed is not None:
                raise
            self._failed_attempt(work, error, done=False, again=error.retryable)
            return
        if spec.outcomes:
            self._deliver(work, EnumOutcome.SUCCEEDED, Result(None))

    async def _perform(self, work: Delivery) -> None:
        fresh = work.fresh
        spec = fresh.emitted.spec
        executor = self.service.registry[fresh.key.workflow_type].executors.get(spec.target)
        if executor is None:
            work.attempt += work.maybe_done  # so that a re-drive knows
            missing = OnexError(f"nothing serves {spec.kind} {spec.target!r}: register an executor and re-drive")
            self._finish_badly(work, missing, EnumOutcome.FAILED, dead=True)
            return
        # a compute task is pure and runs in a process of its own: it cannot take the engine with it, nothing of a try that
        # failed was done, and its time-out is the pool's, which does not count the wait for a free worker
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        risky = not pure and self.clock.now_us() < self._record_until_us
        once = spec.delivery is EnumDelivery.AT_MOST_ONCE
        if risky or once:
            await self._record_start(work)
        self.service.counters.effects_run += 1
        limit = asyncio.timeout(None if pure else spec.timeout_s)
        task = asyncio.current_task()
        try:
            async with limit:
                result = await executor.execute(self.intent_of(work))
        except BaseException as error:
            if issubclass(type(error), asyncio.CancelledError) and task is not None and task.cancelling():
                if risky and not once:
                    self._unrecord_start(work)
                raise  # we are closing; any other cancellation is the effect's own
            came = timeout_error(error, spec.timeout_s) if limit.expired() else effect_error(error)
            self._failed_attempt(work, came, done=isinstance(came, EffectUnknown) and not pure, again=came.retry)
        else:
            self._succeeded(work, result)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # it came to its end in spite of our closing: nothing is begun after it

    async def _record_start(self, work: Delivery) -> None:
        note = Note(work.fresh.pointer, attempt=work.attempt, started=True, crashes=work.crashes)
        try:
            await self.service.note_durably(note)
        except asyncio.CancelledError:
            self._unrecord_start(work)
            raise

    def _unrecord_start(self, work: Delivery) -> None:
        """An orderly end is no crash of the effect's: the next owner counts none."""
        self.service.note(Note(work.fresh.pointer, attempt=work.attempt, crashes=work.crashes))

    def intent_of(self, work: Delivery) -> ModelIntent[BaseModel]:
        fresh = work.fresh
        emitted = fresh.emitted
        name = work.id
        return ModelIntent(
            intent_id=name,
            intent_type=emitted.spec.kind,
            target=emitted.spec.target,
            payload=NOTHING
            if emitted.payload is None
            else detached_copy(emitted.payload),  # an effect may change a list of its own
            correlation_id=UUID(bytes=fresh.correlation),
            idempotency_key=emitted.idempotency_key or str(name),
            name=emitted.name,
            workflow_key=fresh.key,
            version=fresh.version,
            n=fresh.n,
            attempt=work.attempt,
            priority=EnumIntentPriority(emitted.priority),
        )

    def _succeeded(self, work: Delivery, result: Result) -> None:
        spec = work.fresh.emitted.spec
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        if not spec.outcomes:
            self._settle(work)
            return
        workflow = self.service.registry[work.fresh.key.workflow_type]
        try:
            kept = typed_result(result, workflow.payload_model(spec.outcomes[EnumOutcome.SUCCEEDED]))
            self._deliver(work, EnumOutcome.SUCCEEDED, kept)
        except ValidationError as error:  # it is done, and what it gave back cannot be kept: promise 35
            self._failed_attempt(work, wrong_result(error.message, error.code), done=not pure, again=False)
        except EffectUnknown as error:
            self._failed_attempt(work, error, done=not pure, again=False)

    # --- what came of it -----------------------------------------------------------------------------------------------------

    def _failed_attempt(self, work: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        """promise 23. ``done``: this try may have had its effect. ``again``: the policy may be asked."""
        spec = work.fresh.emitted.spec
        work.maybe_done = work.maybe_done or done
        may_repeat = not done or spec.delivery is EnumDelivery.AT_LEAST_ONCE
        delay_s = spec.retry.delay_s(work.attempt, work.fresh.action_id) if again and may_repeat else None
        if delay_s is None:
            outcome = EnumOutcome.UNKNOWN if work.maybe_done else EnumOutcome.FAILED
            self._finish_badly(work, error, outcome)
            return
        work.attempt += 1
        self.service.counters.effects_retried += 1
        due_us = self.clock.now_us() + int(delay_s * 1e6)
        pointer = work.fresh.pointer
        told = plain_text(error.message)
        self.service.note(Note(pointer, attempt=work.attempt, due_us=due_us, crashes=work.crashes, error=told))
        self._queue.wait_until(due_us, work)

    def _finish_badly(self, work: Delivery, error: OnexError, outcome: EnumOutcome, *, dead: bool = False) -> None:
        spec = work.fresh.emitted.spec
        told = plain_text(error.message)
        if dead or not spec.outcomes:
            note = Note(work.fresh.pointer, EnumOutboxState.DEAD, work.attempt, crashes=work.crashes, error=told)
            self.service.note(note)
            return
        code = error.reason if isinstance(error, EffectFailed | EffectUnknown) else error.code
        self._deliver(work, outcome, Result(Failure(code=plain_text(code), message=told, attempts=work.attempt)))

    def _deliver(self, work: Delivery, outcome: EnumOutcome, result: Result) -> None:
        fresh = work.fresh
        trigger = fresh.emitted.spec.outcomes[outcome]
        model = self.service.registry[fresh.key.workflow_type].payload_model(trigger)
        value = result.value if isinstance(result.value, model) else NOTHING
        pending = work.pending(self.clock, fresh.key, trigger, value, outcome_id(work.id), blobs=result.blobs)
        self.service.accept(pending)

    def _settle(self, work: Delivery) -> None:
        """Fire and forget that succeeded: its row is settled, and nobody is told."""
        self.service.settle(work.fresh.pointer)
