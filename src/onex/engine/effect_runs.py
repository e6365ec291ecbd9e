"""EffectRuns: the part of the relay that runs one try of an effect, and tells what came of it to ``AfterTry``.

In the first minute of an owner, and always for at-most-once, the start is made durable before the call: see ``relay``.
``timeout_s`` bounds the try; with ``heartbeat_s`` so does the time between two signs of life (``heartbeats``).
"""

from __future__ import annotations

import asyncio

from ..kernel.errors import EffectUnknown, OnexError
from ..kernel.intent import HARMLESS, EnumDelivery, EnumIntentType, EnumOutcome
from ..ports import Clock, Note
from .after_try import AfterTry
from .attempt import CUT_OFF, effect_error, timeout_error
from .attempt_recorder import AttemptRecorder
from .delivery import Delivery
from .delivery_queue import DeliveryQueue
from .dispatch import ReducerService
from .heartbeats import RunningTry, TryHeartbeats, progress_text


class EffectRuns:
    """Its methods are called by the relay, in the task of the try."""

    service: ReducerService
    clock: Clock
    _attempts: AttemptRecorder
    _after: AfterTry
    _queue: DeliveryQueue
    _record_until_us: int

    def __init__(self) -> None:
        self._beating: dict[Delivery, TryHeartbeats] = {}

    async def _run_effect(self, delivery: Delivery) -> None:
        spec = delivery.emitted.spec
        executor = delivery.workflow.executors.get(spec.target)
        if executor is None:
            delivery.attempt += delivery.maybe_done  # so that a re-drive knows
            missing = OnexError(f"nothing serves {spec.kind} {spec.target!r}: register an executor and re-drive")
            self._after.end_failed(delivery, missing, EnumOutcome.FAILED, dead=True)
            return
        # a compute task is pure and runs in a process of its own: it cannot take the engine with it, nothing of a try that
        # failed was done, and its time-out is the pool's, which does not count the wait for a free worker
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        risky = spec.kind not in HARMLESS and self.clock.now_us() < self._record_until_us
        once = spec.delivery is EnumDelivery.AT_MOST_ONCE
        if risky or once:
            await self._record_start(delivery)
        if delivery.is_cancelled:
            self._after.end_cancelled(delivery)
            return
        self._attempts.began(delivery)
        self.service.counters.effects_run += 1
        beats = TryHeartbeats(delivery, self.clock, self._note_started if risky or once else self._note_progress)
        limit = asyncio.timeout(None) if pure else beats.limit(spec.timeout_s, spec.heartbeat_s)
        task = asyncio.current_task()
        delivery.beat = self._beating[delivery] = beats
        try:
            async with limit:
                result = await executor.execute(delivery.intent())
        except BaseException as error:
            beats.over = True
            if issubclass(type(error), asyncio.CancelledError) and task is not None and task.cancelling():
                began = self._attempts.cut_off(delivery, error)
                if risky or once:
                    self._unrecord_start(delivery, stays=once and began)
                raise  # we are closing; any other cancellation is the effect's own
            stalled = limit.expired() and beats.stalls
            limit_s = spec.heartbeat_s if stalled else spec.timeout_s
            failure = timeout_error(error, limit_s, stalled=stalled) if limit.expired() else effect_error(error)
            done = isinstance(failure, EffectUnknown) and not pure
            self._after.failed_attempt(delivery, failure, done=done, again=failure.retry)
        else:
            beats.over = True
            self._after.succeeded(delivery, result)
        finally:
            del self._beating[delivery]
            delivery.beat = None  # both would know each other, and wait for the collector
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # its end came within the grace time of our close: nothing is begun after it

    @property
    def running(self) -> tuple[RunningTry, ...]:
        """The tries of effects that run in this process now, each with the progress that it told last."""
        return tuple(
            RunningTry(one.key, one.emitted.name, one.n, one.attempt, one.began_us, beats.progress, beats.beat_us)
            for one, beats in self._beating.items()
        )

    # --- the row of one that runs -------------------------------------------------------------------------------------------

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
        attempt, crashes = delivery.attempt, delivery.crashes
        why = CUT_OFF if stays else progress_text(delivery)
        self.service.note(Note(delivery.pointer, attempt=attempt, started=stays, crashes=crashes, error=why))

    def _note_progress(self, delivery: Delivery, progress: str, *, started: bool = False) -> None:
        if delivery.pointer not in self._queue.doubted:
            attempt, crashes = delivery.attempt, delivery.crashes
            self.service.note(Note(delivery.pointer, attempt=attempt, started=started, crashes=crashes, error=progress))

    def _note_started(self, delivery: Delivery, progress: str) -> None:
        """The same for one whose start is recorded, and must stay so."""
        self._note_progress(delivery, progress, started=True)
