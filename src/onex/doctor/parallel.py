"""Work over many things, spread over the cores when there are enough of both; the results are those of one process, in order."""

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
    """``work`` of all ``things``, batch by batch. It is a function of a module; what it takes and gives can be pickled.

    Few things, one core, or threads that a fork would lose: then it is done here. So it is for the rest when a process
    dies under it.
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
    """As many batches as could be done before a process died, from the first on."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # forked, since what this process has imported is most of what a young one would be busy with
    pool = ProcessPoolExecutor(processes, get_context("fork"), _deaf)
    try:
        yield from pool.map(work, batches)
    except BrokenProcessPool:
        return
    finally:
        # one that is not waited for closes its pipe while the interpreter that ends writes to it, and keeps a thread alive
        # beside which the next call would not fork
        pool.shutdown(wait=True, cancel_futures=True)


def _deaf() -> None:
    """Ctrl-C is the parent's: it stops handing out, and these end with what they have."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
