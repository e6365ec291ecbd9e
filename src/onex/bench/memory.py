"""Resident memory under a steady load of new instances: it must become flat, however large the store grows.

Three caches fill up and then stay: SQLite's pages (64 MiB), decoded instances (``ONEX_CACHE_MIB``), and the log ends of
instances. So the slope is measured over the second half, when they are full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..engine.pattern_engine import ReducerPatternEngine
from .load import CLIENTS, TEXT, opened, refuse_refusals
from .measurement import Goal, Measurement, Result
from .options import Options
from .workload import AccountEntry

ACTIONS = 300_000
SAMPLES = 30
MIB = 1 << 20


class Sample(NamedTuple):
    """Resident bytes after ``actions`` actions. Each began a new instance and had one effect, run and settled."""

    actions: int
    resident: int


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    actions = options.count(ACTIONS, 600)
    async with opened(options.opens, folder) as engine:
        samples = await _loaded(engine, actions, options.clients or CLIENTS, options.window)
    late = samples[len(samples) // 2 :]
    grown = slope([one.actions for one in late], [one.resident for one in late])
    first, last = samples[0], samples[-1]
    overall = (last.resident - first.resident) / max(1, last.actions - first.actions)
    return Measurement(
        "bytes per action",
        grown,
        targets=[Goal("growth per action, second half, in bytes", grown, 40.0, 0.0, at_most=True)],
        detail={
            "store": options.store,
            "actions": last.actions,
            "growth_per_action_overall": round(overall, 1),
            "resident_mib_after_thousand_actions": {
                f"{one.actions / 1000:g}": round(one.resident / MIB, 1) for one in samples
            },
        },
    )


async def _loaded(engine: ReducerPatternEngine, actions: int, clients: int, window: int) -> list[Sample]:
    """At full speed, as in a busy service: the next windows are sent while effects of the last ones run."""
    samples: list[Sample] = []
    sent = 0

    async def client(until: int) -> None:
        nonlocal sent
        while sent < until:
            first, sent = sent, sent + window
            refuse_refusals(
                await engine.submit_many(
                    [(f"account:{n}", "notify", AccountEntry(amount=n % 100, text=TEXT)) for n in range(first, sent)]
                )
            )

    for sample in range(1, SAMPLES + 1):
        await asyncio.gather(*(client(actions * sample // SAMPLES) for _ in range(clients)))
        await engine.idle()  # so that a sample does not include effects in flight
        samples.append(Sample(sent, resident()))
    return samples


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Slope of the least-squares line. 0.0 where there is only one x."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / square if square else 0.0


def resident() -> int:
    """Resident memory of this process in bytes."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) << 10
