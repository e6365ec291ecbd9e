"""Worker processes for compute functions, for a program that has no engine: a node, or a test."""

from __future__ import annotations

from ..adapters.worker_pool import WorkerPool
from .engine import WORKER_ENTRY


def compute_workers(max_workers: int | None = None, timeout_s: float | None = None) -> WorkerPool:
    """``max_workers`` processes at most (one per processor), started when they are needed. ``await close()`` ends them.

    ``timeout_s`` bounds each task.
    """
    return WorkerPool(WORKER_ENTRY, max_workers=max_workers, timeout_s=timeout_s)
