"""When the engine of a demo is killed: drawn from a seed, as a number of seen effects and a short wait behind it."""

from __future__ import annotations

import random
from math import ceil
from typing import NamedTuple

KILLS = ((0.25, 0.50, False), (0.55, 0.80, True))
"""Shares of the expected effects: from, until; and whether an acknowledgement is withheld."""
WAIT_S_MAX = 0.025


class KillMoment(NamedTuple):
    """Kill ``wait_s`` after ``at`` effects were seen. Until then at most ``until`` effects are written down."""

    at: int
    until: int
    wait_s: float
    withhold: bool


def kill_moments(effects: int, chance: random.Random) -> tuple[KillMoment, ...]:
    """One random moment inside each window of KILLS."""
    chosen: list[KillMoment] = []
    for low, high, withhold in KILLS:
        until = max(1, int(effects * high))
        at = chance.randint(min(until, max(1, ceil(effects * low))), until)
        chosen.append(KillMoment(at, until, chance.uniform(0.0, WAIT_S_MAX), withhold))
    return tuple(chosen)
