"""CircuitBreaker: whether to call something that has failed lately. A value; the time comes from whoever asks.

``closed``: calls go through. After ``threshold`` failures in a row it is ``open``: calls are not made, for ``wait_s``. Then it
is ``half_open``: one call goes through. If that succeeds it is closed; if not it is open again, for twice as long, at most
``longest_s``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class EnumCircuit(StrEnum):
    """See above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker(NamedTuple):
    """``now_s`` is of a clock that only goes forward."""

    threshold: int = 3
    first_s: float = 0.5
    longest_s: float = 15.0
    failures: int = 0
    until_s: float = 0.0
    wait_s: float = 0.0

    def state(self, now_s: float) -> EnumCircuit:
        if self.failures < self.threshold:
            return EnumCircuit.CLOSED
        return EnumCircuit.OPEN if now_s < self.until_s else EnumCircuit.HALF_OPEN

    def after_success(self) -> CircuitBreaker:
        return self._replace(failures=0, until_s=0.0, wait_s=0.0)

    def after_failure(self, now_s: float) -> CircuitBreaker:
        failures = self.failures + 1
        if failures < self.threshold:
            return self._replace(failures=failures)
        wait_s = min(self.longest_s, 2 * self.wait_s or self.first_s)
        return self._replace(failures=failures, until_s=now_s + wait_s, wait_s=wait_s)

    def retry_after_s(self, now_s: float) -> float:
        """0.0 when a call may be made now."""
        return max(0.0, self.until_s - now_s) if self.failures >= self.threshold else 0.0
