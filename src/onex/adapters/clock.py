"""The system's clock, and ids that follow it."""

from __future__ import annotations

import asyncio
import time
from secrets import randbits

_MS = 1_000_000  # nanoseconds
_TAIL_BITS = 61  # one bit less than an id has: room for 2**61 more ids in the same millisecond
_VARIANT = 0b10 << 62


class SystemClock:
    """``now_us`` may go back when the host's clock is set. Code that needs an order compares with stored times."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class UuidV7:
    """UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits that count up within one millisecond.

    Each id of one object is greater than the last, also when the clock goes back. Use one object in one process and thread
    only: two processes that share its state after a fork would give the same ids.
    """

    __slots__ = ("_head", "_ms", "_tail")

    def __init__(self) -> None:
        self._ms = 0
        self._head = 0
        self._tail = 0

    def new(self) -> bytes:
        ms = time.time_ns() // _MS
        if ms > self._ms:
            self._ms = ms
            self._head = ms << 80 | 7 << 76 | randbits(12) << 64 | _VARIANT
            self._tail = randbits(_TAIL_BITS)
        else:
            self._tail += 1
        return (self._head | self._tail).to_bytes(16, "big")
