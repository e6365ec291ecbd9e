"""One more action on an instance with a million actions, compared with a new instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from ..engine.limits import Limits
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from .load import TEXT, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options
from .workload import AccountEntry

ACTIONS = 1_000_000
WINDOW = 2000
EACH = 200
OLD = WorkflowKey("account", "old")


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    actions = options.count(ACTIONS, 500)
    each = 5 if options.quick else EACH
    async with opened("sqlite", folder) as engine:
        started = time.perf_counter()
        await _grow(engine, OLD, actions)
        grown_s = time.perf_counter() - started
        warm = [await _side_by_side(engine, f"young{pair}", each) for pair in range(options.pairs)]
    # one cached instance: the two evict each other, so every action loads its state from the store
    async with opened("sqlite", folder, Limits(cached=1)) as engine:
        cold = [await _side_by_side(engine, f"fresh{pair}", each) for pair in range(options.pairs)]
    ratio, ratio_cold = (ratio_of_pairs(*zip(*pairs, strict=True)) for pairs in (warm, cold))
    return Measurement(
        "p50 ratio",
        ratio,
        ratio=ratio,
        p50_ms=median(old for old, _ in warm) * 1e3,
        targets=[Goal("p50 ratio to a fresh instance", ratio, 1.1, 1.0, at_most=True)],
        detail={
            "actions": actions,
            "pairs": options.pairs,
            "each": each,
            "fresh_p50_ms": round(median(young for _, young in warm) * 1e3, 4),
            "loaded_from_the_store": {
                "ratio": round(ratio_cold, 3),
                "old_p50_ms": round(median(old for old, _ in cold) * 1e3, 4),
                "fresh_p50_ms": round(median(young for _, young in cold) * 1e3, 4),
            },
            "grown_per_s": round(actions / grown_s),
        },
    )


async def _grow(engine: ReducerPatternEngine, key: WorkflowKey, actions: int) -> None:
    async def half(first: int) -> None:
        for at in range(first, actions, 2 * WINDOW):
            window = min(WINDOW, actions - at)
            refuse_refusals(await engine.submit_many([(key, "enter", AccountEntry(amount=1, text=TEXT))] * window))

    await asyncio.gather(half(0), half(WINDOW))  # one half is accepted while the other is committed


async def _side_by_side(engine: ReducerPatternEngine, name: str, each: int) -> tuple[float, float]:
    """Median seconds of one action on the old instance and on a new one, alternating."""
    young = WorkflowKey("account", name)
    await _grow(engine, young, 1)
    taken: dict[WorkflowKey, list[float]] = {OLD: [], young: []}
    for turn in range(2 * each):
        key = (OLD, young)[turn % 2]
        started = time.perf_counter()
        await engine.submit(key, "enter", AccountEntry(amount=1, text=TEXT))
        taken[key].append(time.perf_counter() - started)
    return median(taken[OLD]), median(taken[young])
