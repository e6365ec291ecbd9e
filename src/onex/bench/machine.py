"""Facts about this machine at the time of a measurement. Compare measurements of different times by their ratios only."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

from ..wiring.environment import git_revision
from .ceiling import fsync_us

LOOPS = 200_000


class HostFacts(NamedTuple):
    """``fsync_us``: median of appending one page durably. ``loop_ns``: one turn of an empty loop, the best of five."""

    fsync_us: float
    load: float
    python: str
    commit: str
    loop_ns: float


def measured(folder: Path) -> HostFacts:
    load, _, _ = os.getloadavg()
    commit = git_revision(Path(__file__).resolve().parent)
    return HostFacts(round(fsync_us(folder), 1), round(load, 2), platform.python_version(), commit, _loop_ns())


def _loop_ns() -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(LOOPS):
            pass
        best = min(best, time.perf_counter() - started)
    return round(best / LOOPS * 1e9, 2)
