"""Whole workflows per second: start, three effects with outcomes, two commands; six actions each."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..kernel.action import WorkflowKey
from .durable import load
from .result import Options, Value, median, number, result, scratch
from .workload import Ask, Read, engine_on


def run(options: Options) -> dict[str, Value]:
    """Options: workflows (4,000), quick. The ceiling is this run's durable rate over six."""
    count = int(number(options, "workflows", 4000, 20))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[float, float, float]:
            async with engine_on(folder) as engine:
                durable = await load(engine, 32, 1000, number(options, "seconds", 2, 0.2), 31)

                async def one(n: int) -> None:
                    key = WorkflowKey("meter", f"flow{n}")
                    await engine.submit(key, "ask", Ask(text="first"))
                    await engine.wait(key, until="told", timeout_s=60)
                    await engine.submit(key, "read", Read(value=1.0))
                    await engine.submit(key, "close")

                begun = time.perf_counter()
                for at in range(0, count, 500):
                    await asyncio.gather(*(one(n) for n in range(at, min(count, at + 500))))
                rate = count / (time.perf_counter() - begun)
                idle: list[float] = []
                for n in range(20):
                    begun = time.perf_counter()
                    await one(count + n)
                    idle.append((time.perf_counter() - begun) * 1000)
                return rate, durable, median(idle)

        rate, durable, idle_ms = asyncio.run(go())
        return result("workflows/s", rate, folder, ceiling=durable / 6, p50_ms=idle_ms)
