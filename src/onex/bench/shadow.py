"""Durable actions per second of an engine with a shadow process beside it, over those without; and what the shadow keeps up with.

Slices run in pairs, next to each other: without, then with. The shadow has code of its own that decides the same, in a process of
its own, on the same store. A slice with it begins when it has begun. It is ended after its slice, and not waited for: how far it
came is told beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

from ..kernel.errors import StateConsistencyError
from ..processes.shadow_run import ShadowProcess, ShadowTask
from ..whatif.shadow_counts import ShadowCounts
from .load import CLIENTS, drive, opened
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options
from .whatif import REDUCER, account_app

BEGIN_S: Final = 60.0


def run(options: Mapping[str, str]) -> Result:
    """Always on SQLite: the other process has to open the same store."""
    chosen = Options.of({**options, "store": "sqlite"})
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    app = account_app(folder / "app", REDUCER)
    task = ShadowTask(f"sqlite:///{folder}/engine/store.db", str(app))
    clients = options.clients or CLIENTS
    alone: list[float] = []
    beside: list[float] = []
    compared: list[float] = []
    async with opened("sqlite", folder / "engine") as engine:
        await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        for _ in range(options.pairs):
            alone.append((await drive(engine, clients, options.keys, options.window, options.seconds)).rate)
            shadow = ShadowProcess(task)
            try:
                if not await asyncio.to_thread(shadow.heard, BEGIN_S):
                    raise StateConsistencyError(f"the shadow has not begun after {BEGIN_S:g} s")
                beside.append((await drive(engine, clients, options.keys, options.window, options.seconds)).rate)
                while not shadow.counts.actions:
                    await asyncio.to_thread(shadow.heard, 1.0)
            finally:
                await asyncio.to_thread(shadow.close)
            compared.append(_checked(shadow.counts).compared / max(1e-9, options.seconds))
    ratio = ratio_of_pairs(beside, alone)
    return Measurement(
        "of the rate without it",
        ratio,
        targets=[Goal("rate with a shadow, over without", ratio, 0.7, 0.9)],
        detail={
            "store": "sqlite",
            "clients": clients,
            "keys": options.keys,
            "actions_per_s_alone": round(median(alone)),
            "actions_per_s_beside": round(median(beside)),
            "compared_per_s": round(median(compared)),
        },
    )


def _checked(counts: ShadowCounts) -> ShadowCounts:
    """Raises StateConsistencyError: the two codes are to decide the same, or the figure says nothing."""
    if not counts.ok or counts.open or not counts.compared:
        raise StateConsistencyError(f"the shadow found something else than the same code: {counts}")
    return counts
