"""Time to route a key to its worker, with circuit breakers and counters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

from ..adapters.clock import SystemClock
from ..kernel.action import WorkflowKey
from ..seed_names.workflow_router import ReducerInstance, WorkflowRouter
from .measurement import Goal, Measurement, Result, quantile
from .options import Options

ROUTES = 100_000
WORKERS = 10


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    router = WorkflowRouter(SystemClock())
    for number in range(WORKERS):
        router.register(ReducerInstance(f"worker-{number}"))
    keys = [WorkflowKey("account", f"{number}") for number in range(chosen.count(ROUTES, 500))]
    router.route(keys[0])
    means = [_mean_us(router, keys) for _ in range(chosen.pairs)]
    each = _each_us(router, keys)
    mean_us, p99_us = median(means), quantile(each, 0.99)
    with chosen.place() as folder:
        return Measurement(
            "us, mean",
            mean_us,
            p50_ms=quantile(each, 0.5) / 1e3,
            p99_ms=p99_us / 1e3,
            targets=[
                Goal("mean in us", mean_us, 2.0, 0.2, at_most=True),
                Goal("p99 in us", p99_us, 10.0, 0.2, at_most=True),
            ],
            detail={"counted": len(each), "workers": WORKERS, "p99_us": round(p99_us, 3)},
        ).result(folder)


def _mean_us(router: WorkflowRouter, keys: list[WorkflowKey]) -> float:
    """In CPU time."""
    started = time.process_time()
    for key in keys:
        router.route(key)
    return (time.process_time() - started) / len(keys) * 1e6


def _each_us(router: WorkflowRouter, keys: list[WorkflowKey]) -> list[float]:
    """In wall time, including reading the clock."""
    taken: list[int] = []
    for key in keys:
        started = time.perf_counter_ns()
        router.route(key)
        taken.append(time.perf_counter_ns() - started)
    return [one / 1e3 for one in taken]
