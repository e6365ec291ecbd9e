"""Time, ids and chance on a simulated host are functions of the seed and of virtual time, and of nothing else."""

from __future__ import annotations

import asyncio
import math
from random import Random

EPOCH_US = 1_767_225_600_000_000
"""Where virtual time begins: 2026-01-01T00:00:00Z."""

_COUNTER_BITS = 12
_CHANCE_BITS = 62


def stream(seed: int, purpose: str) -> Random:
    """A random generator for one purpose: drawing more from one never changes what another gives.

    It is seeded with text, which ``random`` hashes with SHA-512: PYTHONHASHSEED does not matter. ``purpose`` is part of that
    text, so another word for it changes every run of every seed. That is why some of these words are old ones.
    """
    return Random(f"onex {seed} {purpose}")  # noqa: S311 - a simulation must be predictable


class SimClock:
    """The Clock port over virtual time. It stands still while code runs; only a wait moves it.

    ``skew_s`` is how far the wall clock is ahead of true time. Setting it while the host runs makes the clock jump, also
    backwards. ``drift`` is by how much the clock runs too fast: 0.01 gains a second in a hundred, -1 stands still.
    ``monotonic`` has neither, but counts from ``origin_s``, which differs at every boot, as on real machines: a reading that
    is stored or sent to another host means nothing there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, skew_s: float = 0.0, origin_s: float = 0.0) -> None:
        self._loop = loop
        self._origin_s = origin_s
        self._set_s = 0.0
        self.skew_s = skew_s
        self.drift = 0.0

    def set(self, skew_s: float, drift: float = 0.0) -> None:
        """From now on: this far ahead of true time, and this much too fast."""
        self.skew_s, self.drift, self._set_s = skew_s, drift, self._loop.time()

    def now_us(self) -> int:
        time_s = self._loop.time()
        return EPOCH_US + round((time_s + self.skew_s + self.drift * (time_s - self._set_s)) * 1e6)

    def monotonic(self) -> float:
        return self._loop.time() + self._origin_s

    async def sleep(self, seconds: float) -> None:
        """Waits at least ``seconds``; 0 and less give other tasks one turn.

        A wait too short for a float would end at the instant it began, and code that sleeps until a deadline would try for
        ever. So the shortest wait is the smallest difference that ``monotonic`` can show.
        """
        await asyncio.sleep(max(seconds, math.ulp(self.monotonic())) if seconds > 0 else 0)


class SimIds:
    """The Ids port: UUIDv7 (RFC 9562, method 1: a 12-bit counter behind the millisecond).

    Ids rise even when the clock is set back.
    """

    def __init__(self, clock: SimClock, chance: Random) -> None:
        self._clock = clock
        self._chance = chance
        self._ms = 0
        self._count = 0

    def new(self) -> bytes:
        ms = self._clock.now_us() // 1000
        if ms > self._ms:
            self._ms, self._count = ms, 0
        else:
            self._count += 1
            if self._count >> _COUNTER_BITS:
                # more than 4,096 ids in one virtual millisecond are common: here a burst takes no time
                self._ms, self._count = self._ms + 1, 0
        head = (self._ms << 4 | 7) << _COUNTER_BITS | self._count
        tail = 0b10 << _CHANCE_BITS | self._chance.getrandbits(_CHANCE_BITS)
        return (head << 64 | tail).to_bytes(16, "big")
