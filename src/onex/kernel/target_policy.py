"""TargetPolicy: how many calls of one target may run at once, how many may begin in a second, and when to leave it alone.

A target is what serves intents: a service, a database, a function of the user's. Its policy is said once and holds for all intents
that name it, within one workflow type and one process. What it holds back waits; nothing is refused and no try is used up.

The rate is a bucket of tokens, kept as one number (``quota.admit``): in any span of t seconds at most ``burst + rate_per_s * t``
calls begin. The circuit breaker is the pure machine of ``retry``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from .errors import ValidationError
from .quota import COUNT_MOST, Rate
from .retry import BreakerPolicy

CONCURRENCY_MOST = 10_000
OPEN_S_MOST = 366 * 24 * 3600.0
CALLS_MOST = 1_000


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Left out, there is no such policy; ``concurrency`` is then that of the intents. Raises ValidationError, out of range.

    ``burst``: so many calls may begin at once. By default a tenth of a second's worth, at least 1.
    """

    concurrency: int | None = None
    rate_per_s: float | None = None
    burst: int | None = None
    circuit_breaker: BreakerPolicy | None = None

    def __post_init__(self) -> None:
        _check_count("concurrency", self.concurrency, CONCURRENCY_MOST)
        _check_count("burst", self.burst, COUNT_MOST)
        rate: object = self.rate_per_s
        if rate is not None and not (type(rate) in (int, float) and 0 < float(str(rate)) <= COUNT_MOST):
            raise ValidationError(f"rate_per_s is {rate!a}; give a number above 0, at most {COUNT_MOST}")
        if self.burst is not None and rate is None:
            raise ValidationError("burst says how many may begin at once within a rate; give rate_per_s too")
        breaker: object = self.circuit_breaker
        if breaker is None:
            return
        if not isinstance(breaker, BreakerPolicy):
            raise ValidationError(
                f"circuit_breaker is {breaker!a}; give BreakerPolicy(failures=5, open_s=30.0, probes=1)"
            )
        _check_count("failures of circuit_breaker", breaker.failures, CALLS_MOST)
        _check_count("probes of circuit_breaker", breaker.probes, CALLS_MOST)
        open_s: object = breaker.open_s
        if (
            type(open_s) not in (int, float)
            or not isfinite(float(str(open_s)))
            or not 0 < float(str(open_s)) <= OPEN_S_MOST
        ):
            raise ValidationError(f"open_s of circuit_breaker is {open_s!a}; give seconds, above 0 and at most a year")

    @property
    def rate(self) -> Rate | None:
        """None: calls begin as they come."""
        if self.rate_per_s is None:
            return None
        burst = self.burst if self.burst is not None else max(1, round(self.rate_per_s / 10))
        return Rate(1.0 / self.rate_per_s, burst / self.rate_per_s)

    @property
    def holds_back(self) -> bool:
        """Some call may have to wait though a place is free."""
        return self.rate_per_s is not None or self.circuit_breaker is not None


def _check_count(name: str, value: object, most: int) -> None:
    if value is not None and not (type(value) is int and 1 <= value <= most):
        raise ValidationError(f"{name} is {value!a}; give a whole number from 1 to {most}")


NO_POLICY = TargetPolicy()


def joined(first: TargetPolicy, second: TargetPolicy) -> TargetPolicy:
    """What two places say of one target: ``first`` where both do. A ``burst`` belongs to the rate beside it."""
    rated = first if first.rate_per_s is not None else second
    return TargetPolicy(
        first.concurrency if first.concurrency is not None else second.concurrency,
        rated.rate_per_s,
        rated.burst,
        first.circuit_breaker if first.circuit_breaker is not None else second.circuit_breaker,
    )


def contradictions(first: TargetPolicy, second: TargetPolicy) -> list[str]:
    """The policies that both say, and differently."""
    return [
        name
        for name in ("concurrency", "rate_per_s", "burst", "circuit_breaker")
        if (said := getattr(first, name)) is not None and (other := getattr(second, name)) is not None and said != other
    ]
