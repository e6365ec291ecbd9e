"""Durable actions per second of the whole engine, beside the most that the store alone can write on this disk."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from ..engine.pattern import ReducerPatternEngine
from .ceiling import append_ceiling
from .result import Options, Value, number, result, scratch
from .workload import Read, engine_on, keys

BATCH = 1000


async def load(engine: ReducerPatternEngine, clients: int, count: int, seconds: float, at_once: int) -> float:
    """``clients`` that each keep ``at_once`` actions under way over ``count`` keys; actions per second."""
    targets = keys(count)
    end = time.perf_counter() + seconds
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        rng = random.Random(number)  # noqa: S311  # which key is hit next needs no secrecy
        while time.perf_counter() < end:
            actions = [(targets[rng.randrange(count)], "read", Read(value=1.5)) for _ in range(at_once)]
            await engine.submit_many(actions)
            done += at_once

    begun = time.perf_counter()
    await asyncio.gather(*(client(n) for n in range(clients)))
    return done / (time.perf_counter() - begun)


def run(options: Options) -> dict[str, Value]:
    """Options: store, clients (32), keys (1,000), seconds (5), at_once (31 per client: a batch fills), quick."""
    seconds = number(options, "seconds", 5, 0.3)
    clients, count = int(number(options, "clients", 32)), int(number(options, "keys", 1000))
    at_once = int(number(options, "at_once", 31))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[float, float, float, float]:
            async with engine_on(folder, options.get("store", "sqlite")) as engine:
                await load(engine, clients, count, seconds / 5, at_once)
                cpu_s, committed = time.process_time(), engine.counters.committed
                rate = await load(engine, clients, count, seconds, at_once)
                cost_us = (time.process_time() - cpu_s) / max(1, engine.counters.committed - committed) * 1e6
                latency = engine.counters.latency
                return rate, latency.quantile_s(0.5) * 1000, latency.quantile_s(0.99) * 1000, cost_us

        before = append_ceiling(folder / "before.db", BATCH, seconds / 2)
        rate, p50_ms, p99_ms, cost_us = asyncio.run(go())
        after = append_ceiling(folder / "after.db", BATCH, seconds / 2)
        detail: dict[str, Value] = {"cpu_us_per_action": round(cost_us, 1), "clients": clients, "keys": count}
        ceiling = (before + after) / 2
        return result("actions/s", rate, folder, ceiling=ceiling, p50_ms=p50_ms, p99_ms=p99_ms, detail=detail)
