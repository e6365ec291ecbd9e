"""Routing: from a key to the worker it belongs to."""

from __future__ import annotations

import time
from pathlib import Path

from ..adapters.clock import SystemClock
from ..engine.route import ReducerInstance, WorkflowRouter
from .result import Options, Value, number, result, scratch
from .workload import keys


def run(options: Options) -> dict[str, Value]:
    """Options: routes (200,000), workers (16), quick. ``p99`` is of batches of 100, in microseconds each."""
    count, workers = int(number(options, "routes", 200_000, 2000)), int(number(options, "workers", 16))
    router = WorkflowRouter(SystemClock())
    for number_ in range(workers):
        router.register(ReducerInstance(f"worker-{number_}"))
    targets = keys(100)
    taken: list[float] = []
    for _ in range(count // 100):
        begun = time.perf_counter()
        for key in targets:
            router.route(key)
        taken.append((time.perf_counter() - begun) * 1e4)
    taken.sort()
    detail: dict[str, Value] = {"p99_us": round(taken[int(len(taken) * 0.99)], 3), "workers": workers, "routes": count}
    with scratch() as name:
        return result("us mean", sum(taken) / len(taken), Path(name), detail=detail)
