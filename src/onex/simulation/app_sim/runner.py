"""A season: many lives of one app, over all cores, told in the order of their seeds: the same with one process as with eight.

It ends with the first seed that breaks something; what later seeds did is not counted.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .observer import Seen
from .run import Life, Place, live
from .schedule import Script, StoreKind
from .stage import Stage, set_stage

CHUNK: Final = 4
AHEAD: Final = 2
ALONE: Final = 8
"""So few lives are over before other processes would have started."""
STORES: Final = ("sqlite", "memory", "both")


@dataclass(frozen=True, slots=True)
class Season:
    """``store`` is one of STORES; both: even seeds on the SQLite core, odd ones in memory. ``seeds`` None: without end."""

    app: str
    first: int = 0
    seeds: int | None = None
    store: str = "both"
    real_compute: bool = False

    def script(self, seed: int) -> Script:
        stores: tuple[StoreKind, StoreKind] = ("sqlite", "memory")
        return Script(seed, stores[seed % 2] if self.store == "both" else stores[self.store == "memory"])

    def chunks(self) -> Iterator[list[int]]:
        seeds = count(self.first) if self.seeds is None else iter(range(self.first, self.first + self.seeds))
        while chunk := list(islice(seeds, CHUNK)):
            yield chunk


@dataclass
class Total:
    """What some lives came to together. ``broken`` is the one that broke something; it is the last that is counted."""

    lives: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)
    failures: dict[str, str] = field(default_factory=dict)
    broken: Life | None = None

    def take(self, life: Life) -> None:
        self.lives += 1
        self.steps += life.steps
        self.virtual_s += life.virtual_s
        self.counted.update(life.counted)
        self.seen.add(life.seen)
        self.failures = {**life.failures, **self.failures}
        self.broken = life if life.violations else None

    def add(self, other: Total) -> None:
        self.lives += other.lives
        self.steps += other.steps
        self.virtual_s += other.virtual_s
        self.counted.update(other.counted)
        self.seen.add(other.seen)
        self.failures = {**other.failures, **self.failures}
        self.broken = other.broken


@contextmanager
def place() -> Iterator[Place]:
    """For the stores of lives lived in this process."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        where = Place(Path(folder))
        try:
            yield where
        finally:
            where.watchdog.close()


def play_season(season: Season, processes: int) -> Generator[Total, None, None]:
    """Chunk after chunk, in order; the last may be broken. Close it early and no further life is begun."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        lone = season.seeds is not None and season.seeds <= ALONE
        if processes == 1 or lone:
            yield from _until_broken(_chunk(season, chunk, folder) for chunk in season.chunks())
            return
        # spawned, not forked: a fork copies whatever threads and connections this process happens to have
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _deaf)
        try:
            yield from _until_broken(_ahead(pool, season, folder, processes))
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(pool: ProcessPoolExecutor, season: Season, folder: str, processes: int) -> Iterator[Total]:
    """So many chunks under way that nobody waits, and no more."""
    chunks = season.chunks()
    under_way: deque[Future[Total]] = deque()
    while True:
        for chunk in islice(chunks, AHEAD * processes - len(under_way)):
            with _unheard():
                under_way.append(pool.submit(_chunk, season, chunk, folder))
        if not under_way:
            return
        yield under_way.popleft().result()


def _until_broken(totals: Iterator[Total]) -> Iterator[Total]:
    for total in totals:
        yield total
        if total.broken is not None:
            return


@contextmanager
def _unheard() -> Iterator[None]:
    """Ctrl-C waits, and a process that is started in here is born without it: it comes to no import of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _deaf() -> None:
    """Ctrl-C is for the process that asked; these end when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunk(season: Season, seeds: list[int], folder: str) -> Total:
    stage, where = _ready(season.app, season.real_compute, folder)
    total = Total()
    for seed in seeds:
        total.take(live(stage, season.script(seed), where, drawn=True))
        if total.broken is not None:
            break
    return total


@lru_cache(1)
def _ready(app: str, real_compute: bool, folder: str) -> tuple[Stage, Place]:
    """Once in each process: an app takes as long to load as a life takes to live."""
    own = Path(folder) / str(os.getpid())
    own.mkdir()
    return set_stage(app, real_compute=real_compute), Place(own)
