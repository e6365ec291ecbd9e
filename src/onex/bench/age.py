"""The next action of an instance with a million behind it, beside that of a fresh one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..engine.pattern import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from .result import Options, Value, median, number, result, scratch
from .workload import Read, engine_on


async def next_us(engine: ReducerPatternEngine, key: WorkflowKey) -> float:
    begun = time.perf_counter()
    await engine.submit(key, "read", Read(value=1.0))
    return (time.perf_counter() - begun) * 1e6


def run(options: Options) -> dict[str, Value]:
    """Options: actions (1,000,000), pairs (9), quick."""
    actions, pairs = int(number(options, "actions", 1_000_000, 3000)), int(number(options, "pairs", 9, 1))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[list[float], list[float], float]:
            old: list[float] = []
            fresh: list[float] = []
            # one cached instance: the two drive each other out, so every action loads its state anew
            async with engine_on(folder, cached=1) as engine:
                aged = WorkflowKey("meter", "aged")
                begun = time.perf_counter()
                for _ in range(0, actions, 10_000):
                    await engine.submit_many([(aged, "read", Read(value=1.0))] * min(10_000, actions))
                built_s = time.perf_counter() - begun
                for pair in range(pairs):
                    young = WorkflowKey("meter", f"young{pair}")
                    await engine.submit(young, "read", Read(value=1.0))
                    taken = [(await next_us(engine, young), await next_us(engine, aged)) for _ in range(50)]
                    fresh.append(median([one for one, _ in taken]))
                    old.append(median([one for _, one in taken]))
            return old, fresh, built_s

        old, fresh, built_s = asyncio.run(go())
        ratio = median([o / f for o, f in zip(old, fresh, strict=True)])
        detail: dict[str, Value] = {
            "aged_p50_us": round(median(old)),
            "fresh_p50_us": round(median(fresh)),
            "actions": actions,
            "built_per_s": round(actions / built_s),
        }
        return result("ratio aged/fresh", ratio, folder, detail=detail)
