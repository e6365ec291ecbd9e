"""Faults: every simulated port asks here, at each of its calls, whether something goes wrong at this call.

Theory of operation
    A port names a fault point ("commit lost") and calls ``hits``. True: the port acts as if that fault had happened.
    The answer comes from a random stream of the seed, so the same seed and the same order of calls give the same faults.
    Most points have a chance per call. Each seed draws a strength per point first (``drawn_strengths``): half of the
    points stay away for the whole run, the others get a share of their chance. So one run has few kinds of faults and
    many of each, another run has other kinds. Rare combinations are met that a fixed chance would almost never give.
    ``kills`` is for faults that end the engine's process. They are limited per run: an engine that does nothing but crash shows
    nothing else.
    ``stop`` ends all of it. After that a run must come to rest, and what was promised is checked.

Who implements it: the engine's own simulation draws each fault (tests/engine_sim/seeded_faults.py), or lets exactly the n-th
call fail (tests/engine_sim/nth_call.py). ``app_sim.fault_plan`` also writes down what it drew, to repeat and shrink it.

The names of points are not hashed into the seed. Their number and order decide what is drawn, so a new point changes every run:
the planted bugs must be measured again then (tests/simulation/planted.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

CRASHES: Final = 8
"""Crashes of one run at the most: enough for an effect that kills its process three times, and for some others."""


def drawn_strengths(chance: Random, points: Mapping[str, float], levels: Sequence[float]) -> dict[str, float]:
    """The chance of each point in one run: 0 for about half of them, else its full chance times one of ``levels``."""
    return {point: p * chance.choice(levels) if chance.random() < 0.5 else 0.0 for point, p in points.items()}


class Faults(ABC):
    """``counted[point]`` is how often it hit. ``chance`` is for choices that belong to a fault, such as its duration."""

    def __init__(self, chance: Random, counted: Counter[str]) -> None:
        self.chance = chance
        self.counted = counted
        self.crashes = 0

    async def before(self, port: str) -> int:
        """A call of ``port`` begins. An implementation that counts calls may fail it here; it returns the call's number."""
        return 0

    async def after(self, port: str, call: int) -> None:  # noqa: B027 - most implementations lose nothing here
        """The call has done its work, and its answer is on the way: it can still be lost here."""

    @abstractmethod
    def hits(self, point: str) -> bool:
        """Whether this fault happens at this call."""

    def kills(self, point: str) -> bool:
        """As ``hits``, for a fault that ends the engine's process: False once the run has had ``CRASHES`` of them."""
        if self.crashes >= CRASHES or not self.hits(point):
            return False
        self.crashes += 1
        return True

    def some_s(self, most: float) -> float:
        """A time between 0 and ``most`` seconds, mostly short."""
        return most * self.chance.random() ** 3

    @abstractmethod
    def stop(self) -> None:
        """From now on nothing hits any more."""
