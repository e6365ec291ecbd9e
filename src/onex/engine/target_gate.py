"""TargetGate: whether one more call of a target may begin now, by its rate and its circuit breaker.

Who runs calls asks ``room``, takes one place with ``begin`` for each call, and ends each with ``ended``. Nobody sleeps here and no
call is refused: what finds no room stays in its queue, and ``wait_s`` says when to look again.

A call is counted for the breaker that let it through. One that began before the breaker opened, and ends while it is open or
lets probes through, says nothing about the target of today: it is not counted.

    no outcome, or cancelled                 counts for nothing; a probe of it leaves its place to another
    EffectFailed(retryable=False), a result  the target answers, whatever it said
    a result that does not fit               the target answers
    anything else                            a failure
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..kernel.errors import EffectFailed, EffectUnknown, OnexError, PayloadTooLarge
from ..kernel.quota import admit
from ..kernel.retry import EnumBreakerState
from ..kernel.target_policy import TargetPolicy
from ..ports import Clock
from .attempt import CANCELLED, WRONG_RESULT
from .circuit_breaker import CircuitBreaker
from .dispatch import ReducerService

ANY = 1 << 30
TOLD_S = 1e-9  # as ``quota.admit`` rounds

Turned = Callable[[EnumBreakerState], None]


class TargetStatus(NamedTuple):
    """A target as it stands in this process. ``waiting`` for a place, a token or the breaker; ``retry_after_s``: of an open one."""

    workflow_type: str
    target: str
    running: int
    waiting: int
    breaker: EnumBreakerState | None = None
    retry_after_s: float = 0.0


def is_answer(error: OnexError) -> bool | None:
    """Whether a try that ended so has shown that its target answers; None: it has shown nothing."""
    if isinstance(error, EffectUnknown):
        return error.reason in (WRONG_RESULT, PayloadTooLarge.code)
    if isinstance(error, EffectFailed):
        return None if error.reason == CANCELLED else not error.retry
    return None


def report_breaker(service: ReducerService, name: tuple[str, str], state: EnumBreakerState) -> None:
    """Tell that a breaker has opened, or closed again. In between it lets probes through, and is told of no more."""
    workflow_type, target = name
    if state is EnumBreakerState.OPEN:
        service.counters.breakers_opened += 1
        service.events("breaker_opened", workflow_type=workflow_type, target=target)
    elif state is EnumBreakerState.CLOSED:
        service.events("breaker_closed", workflow_type=workflow_type, target=target)


class TargetGate:
    """Of one target with a policy. ``turned`` is called with each new state of the breaker."""

    __slots__ = ("_clock", "_full_at_s", "_rate", "_seen", "_turn", "_turned", "breaker")

    def __init__(self, clock: Clock, policy: TargetPolicy, turned: Turned) -> None:
        self._clock, self._turned = clock, turned
        self._rate, self._full_at_s = policy.rate, 0.0
        self.breaker = CircuitBreaker(clock, policy.circuit_breaker) if policy.circuit_breaker is not None else None
        self._turn, self._seen = 0, EnumBreakerState.CLOSED

    def room(self) -> int:
        """How many more calls may begin now."""
        room = ANY if self.breaker is None else min(ANY, self.breaker.room)
        if self._rate is None or not room:
            return room
        token_s, burst_s = self._rate
        ahead_s = max(0.0, self._full_at_s - self._clock.monotonic())
        return min(room, max(0, int((burst_s - ahead_s + TOLD_S) / token_s + TOLD_S)))

    def wait_s(self) -> float | None:
        """Asked when there is no room: how long from now. None: until a call that runs has ended."""
        breaker = self.breaker
        if breaker is not None and not breaker.room:
            return breaker.retry_after_s or None
        assert self._rate is not None, "only a rate and a breaker hold back"
        return admit(self._full_at_s, self._clock.monotonic(), self._rate)[1]

    def begin(self) -> int:
        """One call begins; ``ended`` is given what this returns. Called when there is room."""
        if self._rate is not None:
            self._full_at_s = max(self._full_at_s, self._clock.monotonic()) + self._rate.token_s
        if self.breaker is not None:
            self.breaker.allow()
            self._look()
        return self._turn

    def ended(self, turn: int, answered: bool | None) -> None:
        """A call that began in ``turn`` has ended. ``answered``: see ``is_answer``; True for one that succeeded."""
        if self.breaker is None or turn != self._turn:
            return
        if answered is None:
            self.breaker.withdraw()
        else:
            self.breaker.record(succeeded=answered)
        self._look()

    def _look(self) -> None:
        assert self.breaker is not None
        if self.breaker.state is not self._seen:
            self._seen = self.breaker.state
            self._turn += 1
            self._turned(self._seen)
