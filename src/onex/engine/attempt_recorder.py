"""AttemptRecorder: what is kept and reported of each try of an intent.

A try that fails is kept in the store, with its time, its reason and where code of the user raised; so is the one that succeeds
after others had failed. It goes along with the commit that the relay makes anyway, for the next try or for the outcome. A first
try that succeeds costs no row. A try that the close of its engine cut off is kept as that: nobody knows what it did.
Text from marked fields (``Secret``) is replaced before anything is kept or reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from ..kernel.errors import EffectFailed, EffectUnknown, OnexError
from ..kernel.intent import EnumIntentType
from ..kernel.secret import secret_texts
from ..kernel.user_code import plain_text
from ..kernel.user_trace import innermost_of, without
from ..ports import Attempt, Clock, EnumAttempt
from .attempt import CODE_CHARACTERS, CUT_OFF, NotBegun
from .delivery import Delivery
from .dispatch import ReducerService
from .failure_trace import kept_message

NODE_TYPES: Final[Mapping[str, str]] = {EnumIntentType.COMPUTE_TASK: "compute", EnumIntentType.ACTION_SEND: "message"}
"""Whose time a try is, in the metrics; any other kind is an effect."""


class AttemptRecorder:
    """Of one relay."""

    def __init__(self, service: ReducerService, clock: Clock) -> None:
        self._service, self._clock = service, clock

    def began(self, delivery: Delivery) -> None:
        delivery.began_us = self._clock.now_us()
        if delivery.alone:
            delivery.alone = False  # a further try waits in the queue as others do
            timeout_s = delivery.emitted.spec.timeout_s
            self._service.events("intent_runs_alone", **_named(delivery), crashes=delivery.crashes, timeout_s=timeout_s)
        if self._service.events.details:
            self._service.events("attempt_began", **_named(delivery))

    def succeeded(self, delivery: Delivery) -> None:
        ended_us = self._clock.now_us()
        self._count(delivery, ended_us, EnumAttempt.SUCCEEDED)
        if delivery.attempt > 1 or delivery.redriven:
            number, began_us = delivery.attempt, delivery.began_us
            self._service.tried(Attempt(delivery.pointer, number, began_us, ended_us, EnumAttempt.SUCCEEDED))
        if self._service.events.details:
            self._service.events("attempt_succeeded", **_named(delivery), ms=_ms(delivery, ended_us))

    def failed(self, delivery: Delivery, error: OnexError, *, done: bool, next_s: float | None) -> None:
        """``done``: this try may have had its effect. ``next_s``: after which it is tried again; None when it is not."""
        ended_us = self._clock.now_us()
        secrets = secret_texts(delivery.emitted.payload)
        code = plain_text(reason_of_attempt(error), CODE_CHARACTERS)
        message, trace = kept_message(error, delivery.emitted.payload), without(secrets, error.trace)
        outcome = EnumAttempt.UNKNOWN if done else EnumAttempt.FAILED
        self._count(delivery, ended_us, outcome, code, again=next_s is not None)
        self._service.tried(
            Attempt(delivery.pointer, delivery.attempt, delivery.began_us, ended_us, outcome, code, message, trace)
        )
        self._service.events(
            "attempt_failed",
            **_named(delivery),
            ms=_ms(delivery, ended_us),
            code=code,
            error=message,
            next_s=None if next_s is None else round(next_s, 3),
            where=innermost_of(trace),
            trace=trace,
        )

    def cut_off(self, delivery: Delivery, error: BaseException) -> bool:
        """The engine closes, and the try was cancelled with ``error``. Whether it had begun; if not, there is nothing to keep."""
        if issubclass(type(error), NotBegun):
            return False
        ended_us = self._clock.now_us()
        self._service.counters.effects_cut_off += 1
        self._count(delivery, ended_us, EnumAttempt.CUT_OFF, EnumAttempt.CUT_OFF.value)
        self._service.tried(
            Attempt(
                delivery.pointer, delivery.attempt, delivery.began_us, ended_us, EnumAttempt.CUT_OFF, message=CUT_OFF
            )
        )
        self._service.events("attempt_cut_off", **_named(delivery), ms=_ms(delivery, ended_us))
        return True

    def _count(
        self, delivery: Delivery, ended_us: int, result: EnumAttempt, code: str = "", *, again: bool = False
    ) -> None:
        labelled, spec = self._service.labelled, delivery.emitted.spec
        if labelled is None:
            return
        seconds = _ms(delivery, ended_us) / 1000
        labelled.tried(spec.target, NODE_TYPES.get(spec.kind, "effect"), result.value, code, seconds, again=again)
        if delivery.attempt > 1 and not again and result is not EnumAttempt.CUT_OFF:
            labelled.recovered += result is EnumAttempt.SUCCEEDED
            labelled.given_up += result is not EnumAttempt.SUCCEEDED

    def dead(self, delivery: Delivery, error: OnexError) -> None:
        message = kept_message(error, delivery.emitted.payload)
        self._service.events(
            "intent_dead", **_named(delivery), error=message, redrive=":".join(map(str, delivery.pointer))
        )


def reason_of_attempt(error: OnexError) -> str:
    """The code that the effect gave, else the error's own."""
    return error.reason if isinstance(error, EffectFailed | EffectUnknown) else error.code


def _named(delivery: Delivery) -> dict[str, str | int | UUID]:
    """``n`` is left out for the first intent of its name, so a lone one has none."""
    return {
        "key": str(delivery.key),
        "intent": delivery.emitted.name,
        **({"n": delivery.n} if delivery.n else {}),
        "attempt": delivery.attempt,
        "correlation": UUID(bytes=delivery.correlation),
    }


def _ms(delivery: Delivery, ended_us: int) -> float:
    return max(0, ended_us - delivery.began_us) / 1000
