"""Faults: each seed hurts in its own subset of ways and with its own strength, and every way is counted when it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final

POINTS: Final = {
    "read fails": 0.10,
    "read is slow": 0.20,
    "read answers late": 0.30,
    "commit refused": 0.15,
    "commit answer lost": 0.15,
    "commit lost": 0.10,
    "commit is slow": 0.30,
    "commit answers late": 0.30,
    "commit lands after its owner died": 0.03,
    "crash before commit": 0.03,
    "crash after commit": 0.03,
    "crash at any time": 0.25,
    "restart": 0.15,
    "new code": 0.10,
    "ownership stolen": 0.08,
    "clock jumps": 0.25,
    "clock drifts": 0.10,
    "clock stands still": 0.10,
    "disk full": 0.08,
    "store held by another writer": 0.10,
    "disk read-only": 0.04,
    "effect refused": 0.15,
    "effect busy": 0.30,
    "effect fails before": 0.20,
    "effect fails after": 0.20,
    "effect hangs before": 0.10,
    "effect hangs after": 0.10,
    "effect is slow": 0.50,
    "effect kills its process before": 0.04,
    "effect kills its process after": 0.04,
    "effect kills its process always": 0.50,
    "effect leaks a cancellation": 0.10,
    "effect answers too much": 0.05,
    "effect answers poison": 0.20,
    "effect answers then": 0.20,
    "effect complains in hostile text": 0.50,
    "computing fails": 0.20,
    "computing is slow": 0.30,
    "a compute worker dies": 0.20,
    "action sent again": 0.30,
    "action sent twice at once": 0.15,
    "answer sent again": 0.20,
    "answer read again": 0.30,
    "action with a deadline": 0.10,
    "action for one version": 0.10,
    "failed start closed in order": 0.50,
    "id used for another body": 0.10,
    "client stops waiting": 0.10,
    "action without an id": 0.20,
    "bad input": 0.10,
    "poison": 0.15,
    "burst": 0.15,
    "submitted through the inbox": 0.20,
    "rubbish in the inbox": 0.10,
    "rollback": 0.10,
    "read from the projection": 0.20,
    "lease taken": 0.20,
    "lease run out": 0.10,
    "command under a lease": 0.25,
    "command under a foreign lease": 0.05,
    "command of an epoch": 0.50,
    "release": 0.15,
    "redrive": 0.20,
    "control through the inbox": 0.50,
    "projecting crashes": 0.20,
}
"""Chance of each fault at full strength, per call of the port it belongs to (or per second, for what just happens)."""

CRASHES: Final = 8
"""Crashes of one run at the most: enough for an effect that kills its process three times, and for some others."""


class Faults:
    """One seed's draw, or just what is given. After ``heal`` nothing hurts any more."""

    def __init__(self, chance: Random, counted: Counter[str], strength: Mapping[str, float] | None = None) -> None:
        self.chance = chance
        self.counted = counted
        self.crashes = 0
        self._strength = {
            point: p * chance.choice((0.2, 0.5, 1.0)) if chance.random() < 0.5 else 0.0 for point, p in POINTS.items()
        }
        if strength is not None:
            self._strength = {point: strength.get(point, 0.0) for point in POINTS}

    async def before(self, port: str) -> int:
        """A call of the port begins. Whoever counts calls fails one here, and gives back its number."""
        return 0

    async def after(self, port: str, call: int) -> None:
        """It has done what was asked, and its answer is on the way."""

    def hits(self, point: str) -> bool:
        p = self._strength[point]
        if not p or self.chance.random() >= p:
            return False
        self.counted[point] += 1
        return True

    def kills(self, point: str) -> bool:
        """As ``hits``, while there are crashes left to have."""
        if self.crashes >= CRASHES or not self.hits(point):
            return False
        self.crashes += 1
        return True

    def some_s(self, most: float) -> float:
        """A time between nothing and ``most`` seconds, mostly short."""
        return most * self.chance.random() ** 3

    def heal(self) -> None:
        self._strength = dict.fromkeys(POINTS, 0.0)
