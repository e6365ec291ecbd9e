"""Spreads work over the cores when there are many things and several cores. The results are those of one process, in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
MANY = 120
BATCH = 16
PROCESSES_MAX = 8


def spread(work: Callable[[Sequence[T]], list[R]], things: Sequence[T]) -> Iterator[R]:
    """``work`` applied to all ``things``, batch by batch. ``work`` is a function of a module; what it takes and
    gives is pickled.

    With fewer than 120 things, one core, or other threads (a fork would lose them) the work is done in this process. The same
    holds for the rest of it after a child process died.
    """
    batches = [things[n : n + BATCH] for n in range(0, len(things), BATCH)]
    processes = min(len(os.sched_getaffinity(0)), PROCESSES_MAX, len(batches))
    done = 0
    if len(things) >= MANY and processes > 1 and threading.active_count() == 1:
        for results in _forked(work, batches, processes):
            done += 1
            yield from results
    for batch in batches[done:]:
        yield from work(batch)


def _forked(
    work: Callable[[Sequence[T]], list[R]], batches: Sequence[Sequence[T]], processes: int
) -> Iterator[list[R]]:
    """The results of the batches, from the first on, until a process dies."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # forked: a new interpreter would spend most of its time on imports that this process has made
    pool = ProcessPoolExecutor(processes, get_context("fork"), _ignore_interrupt)
    try:
        yield from pool.map(work, batches)
    except BrokenProcessPool:
        return
    finally:
        # Wait. A pool that is not waited for closes its pipe while the interpreter writes to it at exit, and keeps a thread
        # alive, so the next call would not fork.
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Only the parent handles Ctrl-C: it hands out no more batches, and the children end after their current one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
