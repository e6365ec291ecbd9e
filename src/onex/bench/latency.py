"""Latency at half load, in ms: an open loop sends on a schedule; measured from due time to durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from ..engine.pattern_engine import ReducerPatternEngine
from .load import CLIENTS, drive, entries, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, quantile
from .options import Options

COUNTED = 10_000  # a p99 of fewer means little
GATES = {"sqlite": (10.0, 1.5), "postgres": (25.0, 5.0)}


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    clients = options.clients or CLIENTS
    async with opened(options.opens, folder) as engine:
        await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        reached = await drive(engine, clients, options.keys, options.window, options.seconds)
        rate = reached.rate / 2
        await open_loop(engine, rate, round(rate * min(1.0, options.seconds)), options.keys)
        waits = await open_loop(
            engine, rate, max(options.count(COUNTED, 50), round(rate * options.seconds)), options.keys
        )
    p99_ms = quantile(waits, 0.99) * 1e3
    return Measurement(
        "ms, p99",
        p99_ms,
        p50_ms=quantile(waits, 0.5) * 1e3,
        p99_ms=p99_ms,
        targets=[Goal("p99 in ms", p99_ms, *GATES.get(options.store, GATES["sqlite"]), at_most=True)],
        detail={
            "store": options.store,
            "counted": len(waits),
            "sent_per_s": round(rate),
            "reached_per_s": round(reached.rate),
            "max_ms": round(max(waits) * 1e3, 2),
        },
    )


async def open_loop(engine: ReducerPatternEngine, rate: float, count: int, keys: int) -> list[float]:
    """Seconds from the moment each action was due by the schedule to its answer; a late send counts as waiting."""
    waits: list[float] = []
    started = time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()

    async def send(first: int, upto: int) -> None:
        refuse_refusals(await engine.submit_many(entries(0, 1, keys, first, upto - first)))
        now = time.perf_counter()
        waits.extend(now - started - n / rate for n in range(first, upto))

    sent = 0
    while sent < count:
        due = min(count, int((time.perf_counter() - started) * rate) + 1)
        if due > sent:
            task = asyncio.create_task(send(sent, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent = due
        await asyncio.sleep(max(0.0005, sent / rate - (time.perf_counter() - started)))
    await asyncio.gather(*tasks)
    return waits
