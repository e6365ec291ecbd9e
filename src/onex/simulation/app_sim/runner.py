"""Many runs of one app over all cores, counted in the order of their seeds: the result is the same with one process as with eight.

Theory of operation
    Seeds are cut into chunks of ``CHUNK``. Each process takes chunk after chunk; their totals are added up in the order of the
    seeds, however early a later chunk is done. The first seed that violates something ends it, and later seeds are not
    counted. So which seed is reported does not depend on the number of processes.
    Processes are spawned, not forked: a fork would copy the threads and connections of this process. Ctrl-C reaches the
    parent only; the others ignore it and end when the parent shuts the pool down, so no traceback of theirs is printed.
    Each process loads the app once, and keeps a folder of its own for the stores of its runs. A process needs a second until it
    runs anything, so the first chunk is run here meanwhile, seed by seed: the first result is there at once.
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
from typing import Final, Self

from .app_under_test import AppUnderTest, load_app_under_test
from .observer import Coverage
from .run import AppRun, Workspace, run_app
from .schedule import Script, StoreKind

CHUNK: Final = 4
AHEAD: Final = 2
FEW: Final = 8
"""As many runs are over before other processes would have started."""
STORES: Final = ("sqlite", "memory", "both")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """``store`` is one of STORES; "both": even seeds on the SQLite core, odd ones in memory. ``seeds`` None: without end."""

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
    """The sum of some runs. ``broken`` is the run that violated something; it is the last one that is counted."""

    runs: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    failures: dict[str, str] = field(default_factory=dict)
    broken: AppRun | None = None

    @classmethod
    def of(cls, result: AppRun) -> Self:
        broken = result if result.violations else None
        counted, coverage, failures = result.counted, result.coverage, result.failures
        return cls(1, result.steps, result.virtual_s, counted, coverage, failures, broken)

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
    """For runs in this process."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        where = Workspace(Path(folder))
        try:
            yield where
        finally:
            where.watchdog.close()


def run_all(plan: RunPlan, processes: int) -> Generator[RunTotals, None, None]:
    """The totals of each chunk, in the order of seeds; only the last may be ``broken``. Closed early, it begins no further run."""
    with TemporaryDirectory(prefix="onex-simulate-") as folder:
        lone = plan.seeds is not None and plan.seeds <= FEW
        if processes == 1 or lone:
            yield from _until_broken(_chunk(plan, chunk, folder) for chunk in plan.chunks())
            return
        # spawned, not forked: a fork copies whatever threads and connections this process happens to have
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _ignore_ctrl_c)
        try:
            yield from _until_broken(_ahead(pool, plan, folder, processes))
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(pool: ProcessPoolExecutor, plan: RunPlan, folder: str, processes: int) -> Iterator[RunTotals]:
    """Keeps ``AHEAD`` chunks per process under way, so that none waits, and no more."""
    chunks = plan.chunks()
    own = next(chunks, [])
    under_way: deque[Future[RunTotals]] = deque()
    while True:
        for chunk in islice(chunks, AHEAD * processes - len(under_way)):
            with _ctrl_c_blocked():
                under_way.append(pool.submit(_chunk, plan, chunk, folder))
        while own:
            yield _chunk(plan, [own.pop(0)], folder)
        if not under_way:
            return
        yield under_way.popleft().result()


def _until_broken(totals: Iterator[RunTotals]) -> Iterator[RunTotals]:
    for one in totals:
        yield one
        if one.broken is not None:
            return


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Delays Ctrl-C. A process that is started inside begins with it blocked, so it cannot end in the middle of an import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_ctrl_c() -> None:
    """Ctrl-C is for the parent process; the others end when it tells them to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunk(plan: RunPlan, seeds: list[int], folder: str) -> RunTotals:
    under_test, where = _ready(plan.app, plan.real_compute, folder)
    totals = RunTotals()
    for seed in seeds:
        totals.add(RunTotals.of(run_app(under_test, plan.script(seed), where, drawn=True)))
        if totals.broken is not None:
            break
    return totals


@lru_cache(1)
def _ready(app: str, real_compute: bool, folder: str) -> tuple[AppUnderTest, Workspace]:
    """Once in each process: loading an app takes as long as a run of it."""
    own = Path(folder) / str(os.getpid())
    own.mkdir()
    return load_app_under_test(app, real_compute=real_compute), Workspace(own)
