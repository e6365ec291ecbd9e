"""AfterTry: what follows from one try of an intent: its outcome, its next try, or a dead row.

Success leads to the outcome that the contract maps, or, where it maps none, to the end of the row. A try that failed is
either repeated, by the policy of the contract and not before the far side wants it (``retry_after_s``), or ends the intent.
``maybe_done`` remembers over all tries whether one of them may have been done, so that ``failed`` is never reported of what may
have happened (promise 23).

Nothing here waits. The row in the outbox changes with the next commit: if that never comes, the next owner finds the row as it was.
"""

from __future__ import annotations

from ..kernel.action import NOTHING
from ..kernel.errors import EffectUnknown, OnexError, StateTooNew, ValidationError
from ..kernel.intent import EnumDelivery, EnumIntentType, EnumOutcome, Failure, outcome_id
from ..kernel.user_code import plain_text
from ..ports import Clock, EnumOutboxState, Note, Result
from .attempt import retry_after_s, stopped_error, typed_result, wrong_result
from .attempt_recorder import AttemptRecorder, reason_of_attempt
from .delivery import Delivery
from .delivery_queue import DeliveryQueue
from .dispatch import ReducerService
from .failure_trace import kept_message
from .target_gate import is_answer


class AfterTry:
    """Of one relay."""

    def __init__(self, service: ReducerService, clock: Clock, queue: DeliveryQueue, attempts: AttemptRecorder) -> None:
        self.service, self.clock = service, clock
        self._queue, self._attempts = queue, attempts

    def succeeded(self, delivery: Delivery, result: Result) -> None:
        spec = delivery.emitted.spec
        delivery.answered = True
        pure = spec.kind == EnumIntentType.COMPUTE_TASK
        if not spec.outcomes:
            self._attempts.succeeded(delivery)
            self.service.settle(delivery.pointer)  # fire and forget: no action follows
            return
        try:
            kept = typed_result(result, delivery.workflow.payload_model(spec.outcomes[EnumOutcome.SUCCEEDED]))
            self.deliver(delivery, EnumOutcome.SUCCEEDED, kept)
            self._attempts.succeeded(delivery)
        except ValidationError as error:  # it is done, and what it returned cannot be kept: promise 35
            self.failed_attempt(delivery, wrong_result(error.message, error.code), done=not pure, again=False)
        except EffectUnknown as error:
            self.failed_attempt(delivery, error, done=not pure, again=False)

    def failed_attempt(self, delivery: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        """promise 23. ``done``: this try may have had its effect. ``again``: the policy may be asked.

        A message to an instance that newer code has written waits for that code, however many tries it takes.
        """
        spec = delivery.emitted.spec
        delivery.answered = is_answer(error)
        delivery.maybe_done = delivery.maybe_done or done
        may_repeat = (not done or spec.delivery is EnumDelivery.AT_LEAST_ONCE) and not delivery.is_cancelled
        delay_s = spec.retry.delay_s(delivery.attempt, delivery.action_id) if again and may_repeat else None
        if delay_s is None and may_repeat and isinstance(error, StateTooNew):
            delay_s = spec.retry.max_s
        if delay_s is not None:
            delay_s = max(delay_s, retry_after_s(error))
        self._attempts.failed(delivery, error, done=done, next_s=delay_s)
        if delay_s is None:
            outcome = EnumOutcome.UNKNOWN if delivery.maybe_done else EnumOutcome.FAILED
            self.end_failed(delivery, error, outcome)
            return
        delivery.attempt += 1
        self.service.counters.effects_retried += 1
        delivery.due_us = due_us = self.clock.now_us() + int(delay_s * 1e6)
        attempt, crashes, reason = delivery.attempt, delivery.crashes, kept_message(error, delivery.emitted.payload)
        self.service.note(Note(delivery.pointer, attempt=attempt, due_us=due_us, crashes=crashes, error=reason))
        self._queue.wait_until_due(delivery)

    def end_failed(self, delivery: Delivery, error: OnexError, outcome: EnumOutcome, *, dead: bool = False) -> None:
        spec = delivery.emitted.spec
        if self.service.judged is not None and not delivery.is_cancelled:
            self.service.judged.gave_up(delivery)
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
        self.deliver(delivery, outcome, Result(Failure(code=code, message=message, attempts=delivery.attempt)))

    def deliver(self, delivery: Delivery, outcome: EnumOutcome, result: Result) -> None:
        trigger = delivery.emitted.spec.outcomes[outcome]
        model = delivery.workflow.payload_model(trigger)
        value = result.value if isinstance(result.value, model) else NOTHING
        pending = delivery.pending(
            self.clock, delivery.key, trigger, value, outcome_id(delivery.id), blobs=result.blobs
        )
        self.service.accept(pending)

    def end_cancelled(self, delivery: Delivery) -> None:
        """It does not run any more. Only if no try of it may have been done is it ``failed`` (promise 23)."""
        self.end_failed(delivery, stopped_error(), EnumOutcome.UNKNOWN if delivery.maybe_done else EnumOutcome.FAILED)
