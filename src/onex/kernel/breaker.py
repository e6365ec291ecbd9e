"""Breaker: stop asking what does not answer, and ask again carefully. A value and two pure functions; the caller has the clock."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class EnumBreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerPolicy(NamedTuple):
    """Opens after ``failures`` in a row; after ``open_s`` lets ``probes`` calls through, and closes when all succeed."""

    failures: int = 5
    open_s: float = 30.0
    probes: int = 1


class Breaker(NamedTuple):
    """One breaker's whole state."""

    state: EnumBreakerState = EnumBreakerState.CLOSED
    failures: int = 0
    opened_us: int = 0
    probing: int = 0
    succeeded: int = 0


def allow(breaker: Breaker, policy: BreakerPolicy, now_us: int) -> tuple[Breaker, bool]:
    """Whether to call now, and the breaker after asking."""
    if breaker.state is EnumBreakerState.CLOSED:
        return breaker, True
    if breaker.state is EnumBreakerState.OPEN:
        if now_us - breaker.opened_us < policy.open_s * 1e6:
            return breaker, False
        breaker = Breaker(EnumBreakerState.HALF_OPEN, 0, breaker.opened_us)
    if breaker.probing >= policy.probes:
        return breaker, False
    return breaker._replace(probing=breaker.probing + 1), True


def record(breaker: Breaker, policy: BreakerPolicy, now_us: int, *, succeeded: bool) -> Breaker:
    """The breaker after a call came back."""
    if breaker.state is EnumBreakerState.HALF_OPEN:
        if not succeeded:
            return Breaker(EnumBreakerState.OPEN, breaker.failures, now_us)
        done = breaker.succeeded + 1
        return Breaker() if done >= policy.probes else breaker._replace(succeeded=done)
    if succeeded:
        return breaker._replace(failures=0) if breaker.failures else breaker
    failures = breaker.failures + 1
    if breaker.state is EnumBreakerState.CLOSED and failures >= policy.failures:
        return Breaker(EnumBreakerState.OPEN, failures, now_us)
    return breaker._replace(failures=failures)
