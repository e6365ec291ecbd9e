"""A plan: many runs of one app, over all cores, told in the order of their seeds: the same with one process as with eight.

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

from .app_under_test import AppUnderTest, load_app_under_test
from .observer import Coverage
from .run import AppRun, Workspace, run_app
from .schedule import Script, StoreKind

CHUNK: Final = 4
AHEAD: Final = 2
ALONE: Final = 8
"""So few runs are over before other processes would have started."""
STORES: Final = ("sqlite", "memory", "both")


@dataclass(frozen=True, slots=True)
class RunPlan:
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
class RunTotals:
    """What some runs came to together. ``broken`` is the one that broke something; it is the last that is counted."""

    runs: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    failures: dict[str, str] = field(default_factory=dict)
    broken: AppRun | None = None

    def take(self, result: AppRun) -> None:
        self.runs += 1
        self.steps += result.steps
        self.virtual_s += result.virtual_s
        self.counted.update(result.counted)
        self.coverage.add(result.coverage)
        self.failures = {**result.failures, **self.failures}
        self.broken = result if result.violations else None

    def add(self, other: RunTotals) -> None:
        self.runs += other.runs
        self.steps += other.steps
        self.virtual_s += other.virtual_s
        self.counted.update(other.counted)
        self.coverage.add(other.coverage)
        self.failures = {**other.failures, **self.failures}
        self.broken = other.broken


@contextmanager
def workspace() -> Iterator[Workspace]:
    """For the stores of runs lived in this process."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        where = Workspace(Path(folder))
        try:
            yield where
        finally:
            where.watchdog.close()


def run_all(plan: RunPlan, processes: int) -> Generator[RunTotals, None, None]:
    """Chunk after chunk, in order; the last may be broken. Close it early and no further run is begun."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        lone = plan.seeds is not None and plan.seeds <= ALONE
        if processes == 1 or lone:
            yield from _until_broken(_chunk(plan, chunk, folder) for chunk in plan.chunks())
            return
        # spawned, not forked: a fork copies whatever threads and connections this process happens to have
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _deaf)
        try:
            yield from _until_broken(_ahead(pool, plan, folder, processes))
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(pool: ProcessPoolExecutor, plan: RunPlan, folder: str, processes: int) -> Iterator[RunTotals]:
    """So many chunks under way that nobody waits, and no more."""
    chunks = plan.chunks()
    under_way: deque[Future[RunTotals]] = deque()
    while True:
        for chunk in islice(chunks, AHEAD * processes - len(under_way)):
            with _unheard():
                under_way.append(pool.submit(_chunk, plan, chunk, folder))
        if not under_way:
            return
        yield under_way.popleft().result()


def _until_broken(totals: Iterator[RunTotals]) -> Iterator[RunTotals]:
    for one in totals:
        yield one
        if one.broken is not None:
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


def _chunk(plan: RunPlan, seeds: list[int], folder: str) -> RunTotals:
    under_test, where = _ready(plan.app, plan.real_compute, folder)
    totals = RunTotals()
    for seed in seeds:
        totals.take(run_app(under_test, plan.script(seed), where, drawn=True))
        if totals.broken is not None:
            break
    return totals


@lru_cache(1)
def _ready(app: str, real_compute: bool, folder: str) -> tuple[AppUnderTest, Workspace]:
    """Once in each process: an app takes as long to load as a run takes to live."""
    own = Path(folder) / str(os.getpid())
    own.mkdir()
    return load_app_under_test(app, real_compute=real_compute), Workspace(own)
