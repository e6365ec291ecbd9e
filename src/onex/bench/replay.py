"""Replayed actions per second and core, reading the store and comparing every byte included."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..engine.replay import Replay
from ..kernel.errors import StateConsistencyError
from .result import Options, Value, number, result, scratch
from .workload import Read, engine_on, keys, registry


def run(options: Options) -> dict[str, Value]:
    """Options: actions (100,000), instances (200), quick. Raises StateConsistencyError when a history is not equal."""
    actions, instances = int(number(options, "actions", 100_000, 1000)), int(number(options, "instances", 200, 5))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[int, float, float]:
            async with engine_on(folder) as engine:
                targets = keys(instances)
                for begin in range(0, actions, 5000):
                    span = range(begin, min(actions, begin + 5000))
                    await engine.submit_many([(targets[n % instances], "read", Read(value=n / 8)) for n in span])
                replay = Replay(engine.reader, registry())
                begun, cpu = time.perf_counter(), time.process_time()
                async for segment in replay.all():
                    if segment.reason:
                        raise StateConsistencyError(f"{segment.key} did not replay equal: {segment.reason}")
                wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
                return replay.result.actions, wall_s, cpu_s

        count, wall_s, cpu_s = asyncio.run(go())
        detail: dict[str, Value] = {"actions": count, "per_wall_s": round(count / wall_s)}
        return result("actions/s per core", count / cpu_s, folder, detail=detail)
