"""A circuit breaker that lives: the values of ``kernel.retry`` and a clock. Who makes calls asks first and reports each."""

from __future__ import annotations

import sys

from ..kernel.retry import Breaker, BreakerPolicy, EnumBreakerState, allow, record, retry_after_s, withdraw
from ..ports import Clock


class CircuitBreaker:
    """Every call that ``allow`` let through is ended by one of ``record`` and ``withdraw``."""

    __slots__ = ("_breaker", "_clock", "policy")

    def __init__(self, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self._clock, self.policy = clock, policy or BreakerPolicy()
        self._breaker = Breaker()

    def allow(self) -> bool:
        """Whether to call now. One that is half open lets ``policy.probes`` calls through."""
        self._breaker, allowed = allow(self._breaker, self.policy, self._now_us)
        return allowed

    def record(self, *, succeeded: bool) -> None:
        """Reports one call. So many failures in a row open it, and a trial that succeeds closes it."""
        self._breaker = record(self._breaker, self.policy, self._now_us, succeeded=succeeded)

    def withdraw(self) -> None:
        """The call ended without telling anything, for example cancelled."""
        self._breaker = withdraw(self._breaker)

    @property
    def state(self) -> EnumBreakerState:
        """Closed, open or half open. One whose time has run out is half open from the next ``allow`` on."""
        return self._breaker.state

    @property
    def is_closed(self) -> bool:
        """Calls are let through without asking."""
        return self._breaker.state is EnumBreakerState.CLOSED

    @property
    def room(self) -> int:
        """How many calls would be let through now; without an end while it is closed."""
        if self._breaker.state is EnumBreakerState.CLOSED:
            return sys.maxsize
        if self._breaker.state is EnumBreakerState.OPEN:
            return 0 if self.retry_after_s else self.policy.probes
        return max(0, self.policy.probes - self._breaker.probing)

    @property
    def retry_after_s(self) -> float:
        """0.0 when a call would be let through now."""
        return retry_after_s(self._breaker, self.policy, self._now_us)

    @property
    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1e6)
