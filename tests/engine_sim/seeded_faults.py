"""The faults of the engine's own simulation: every point there is, and one seed's draw of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import ClassVar, Final

from onex.simulation.faults import Faults, drawn_strengths

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


class SeededFaults(Faults):
    """Each point hits by its chance. ``strength`` sets the chances instead of drawing them; a point not in it never hits."""

    points: ClassVar[Mapping[str, float]] = POINTS
    levels: ClassVar[tuple[float, ...]] = (0.2, 0.5, 1.0)

    def __init__(self, chance: Random, counted: Counter[str], strength: Mapping[str, float] | None = None) -> None:
        super().__init__(chance, counted)
        # drawn in any case: what ``chance`` gives afterwards must not depend on ``strength``
        drawn = drawn_strengths(chance, self.points, self.levels)
        self._strength = drawn if strength is None else {point: strength.get(point, 0.0) for point in self.points}

    def hits(self, point: str) -> bool:
        p = self._strength[point]
        if not p or self.chance.random() >= p:
            return False
        self.counted[point] += 1
        return True

    def stop(self) -> None:
        self._strength = dict.fromkeys(self.points, 0.0)
