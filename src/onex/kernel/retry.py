"""When to call again after a failure: retry with backoff, and a circuit breaker.

Both are pure: a policy, values and functions. The caller has the clock, and does the waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff: ``min(max_s, initial_s * factor**(attempt-1))``, less up to ``jitter`` of it. Seconds.

    The defaults are those of an intent, wherever it is declared. ``max_attempts=1`` never tries again.

    Full-jitter backoff after Brooker, "Exponential Backoff And Jitter" (AWS, 2015), with a lower bound: jitter 0.5 leaves at
    least half the wait.
    """

    max_attempts: int = 5
    initial_s: float = 0.5
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5

    def delay_s(self, attempt: int, seed: bytes) -> float | None:
        """Seconds to wait after failed ``attempt`` (counted from 1); None: give up.

        The jitter follows from ``seed`` and the attempt: two writers wait for different times, and a replay for the same.
        """
        if attempt >= self.max_attempts:
            return None
        # factor**attempt overflows a float near attempt 1024; the cap is reached long before
        full = min(self.max_s, self.initial_s * self.factor ** min(attempt - 1, 64))
        unit = int.from_bytes(blake2b(seed + attempt.to_bytes(4, "big"), digest_size=4).digest()) / 2**32
        return full * (1 - self.jitter * unit)


class EnumBreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerPolicy(NamedTuple):
    """Opens after ``failures`` in a row; after ``open_s`` lets ``probes`` calls through, and closes when all succeed.

    When a probe fails it is open again, for twice as long each time up to ``longest_open_s``; by default for ``open_s``.
    """

    failures: int = 5
    open_s: float = 30.0
    probes: int = 1
    longest_open_s: float = 0.0


class Breaker(NamedTuple):
    """The whole state of one circuit breaker. ``reopened``: how many probes in a row have failed."""

    state: EnumBreakerState = EnumBreakerState.CLOSED
    failures: int = 0
    opened_us: int = 0
    probing: int = 0
    succeeded: int = 0
    reopened: int = 0


def retry_after_s(breaker: Breaker, policy: BreakerPolicy, now_us: int) -> float:
    """How long it stays open from now; 0.0 when it is not open, or when the next call is a probe."""
    if breaker.state is not EnumBreakerState.OPEN:
        return 0.0
    # 2**reopened overflows a float near 1024; the cap is reached long before
    open_s = min(max(policy.longest_open_s, policy.open_s), policy.open_s * 2.0 ** min(breaker.reopened, 64))
    return max(0.0, open_s - (now_us - breaker.opened_us) / 1e6)


def allow(breaker: Breaker, policy: BreakerPolicy, now_us: int) -> tuple[Breaker, bool]:
    """The breaker afterwards, and whether to call now."""
    if breaker.state is EnumBreakerState.CLOSED:
        return breaker, True
    if breaker.state is EnumBreakerState.OPEN:
        if retry_after_s(breaker, policy, now_us):
            return breaker, False
        breaker = Breaker(EnumBreakerState.HALF_OPEN, 0, breaker.opened_us, reopened=breaker.reopened)
    if breaker.probing >= policy.probes:
        return breaker, False
    return breaker._replace(probing=breaker.probing + 1), True


def withdraw(breaker: Breaker) -> Breaker:
    """The breaker when a call that was allowed has ended without an answer, for example cancelled: another may be made."""
    return breaker._replace(probing=max(0, breaker.probing - 1))


def record(breaker: Breaker, policy: BreakerPolicy, now_us: int, *, succeeded: bool) -> Breaker:
    """The breaker after a call has ended."""
    if breaker.state is EnumBreakerState.HALF_OPEN:
        if not succeeded:
            return Breaker(EnumBreakerState.OPEN, breaker.failures, now_us, reopened=breaker.reopened + 1)
        done = breaker.succeeded + 1
        return Breaker() if done >= policy.probes else breaker._replace(succeeded=done)
    if succeeded:
        return breaker._replace(failures=0) if breaker.failures else breaker
    failures = breaker.failures + 1
    if breaker.state is EnumBreakerState.CLOSED and failures >= policy.failures:
        return Breaker(EnumBreakerState.OPEN, failures, now_us)
    return breaker._replace(failures=failures)
