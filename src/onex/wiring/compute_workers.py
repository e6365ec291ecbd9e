"""Worker processes for compute functions: those of an engine, and those of a program that has none, as a node or a test."""

from __future__ import annotations

import os

from ..adapters.forked_workers import ForkedWorkers
from ..adapters.ray_workers import RayWorkers
from ..adapters.worker_pool import WorkerPool
from ..settings import read_settings

WORKER_ENTRY = "onex.worker:perform"


def compute_workers(max_workers: int | None = None, timeout_s: float | None = None) -> WorkerPool:
    """``max_workers`` at most (one per processor of this machine), made when they are needed. ``await close()`` ends them.

    They are processes of this machine, or actors of Ray where ONEX_COMPUTE says so. ``timeout_s`` bounds each task.
    """
    where, at_once = read_settings().compute, max_workers or os.cpu_count() or 1
    source = RayWorkers(WORKER_ENTRY, where, at_once) if where else ForkedWorkers(WORKER_ENTRY)
    return WorkerPool(source, max_workers=at_once, timeout_s=timeout_s)


async def reached_workers(max_workers: int | None) -> WorkerPool:
    """The same for an engine: a cluster that is not there is told now, and not at the first task. Raises what ``start`` raises."""
    pool = compute_workers(max_workers)
    if read_settings().compute:
        try:
            await pool.start()
        except BaseException:
            await pool.close(grace_s=0.0)
            raise
    return pool
