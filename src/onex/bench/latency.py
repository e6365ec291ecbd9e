"""From mailbox to durable at half the load the engine can take: an open loop, so a slow moment delays nobody's sending."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from .durable import load
from .result import Options, Value, number, result, scratch
from .workload import Read, engine_on, keys

TICK_S = 0.002


def run(options: Options) -> dict[str, Value]:
    """Options: store, keys (1,000), seconds (6, half of them to find the rate), quick. At least 10,000 samples."""
    seconds = number(options, "seconds", 6, 0.6)
    count = int(number(options, "keys", 1000))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[float, float, float, float, int]:
            async with engine_on(folder, options.get("store", "sqlite")) as engine:
                full = await load(engine, 32, count, seconds / 2, 31)
                await engine.idle()
                counters = engine.counters
                counters.latency = type(counters.latency)()
                targets = keys(count)
                least = 200 if options.get("quick") else 10_000
                begun, sent = time.perf_counter(), 0
                while (now := time.perf_counter() - begun) < seconds / 2 or sent < least:
                    due = int(now * full / 2)
                    for n in range(sent, due):
                        engine.service.accept(engine.door.pending(targets[n % count], "read", Read(value=2.5)))
                    sent = max(sent, due)
                    await asyncio.sleep(TICK_S)
                await engine.idle()
                latency = counters.latency
                return full, latency.quantile_s(0.5) * 1000, latency.quantile_s(0.99) * 1000, sent / now, latency.count

        full, p50_ms, p99_ms, rate, samples = asyncio.run(go())
        detail: dict[str, Value] = {"full_load": round(full), "offered": round(rate), "samples": samples}
        return result("ms p99", p99_ms, folder, p50_ms=p50_ms, p99_ms=p99_ms, detail=detail)
