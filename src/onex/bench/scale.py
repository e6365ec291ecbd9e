"""Durable actions per second of 1, 2 and 4 workers on one PostgreSQL store, over those of one worker.

Each worker sends to instances of its own shards in a closed loop, all at the same time; the sum counts. More workers than cores
show what sharing costs, not what it gives: ``cores`` says how many there are.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

from ..wiring.engine import LEASE_S
from .crew import crew
from .measurement import Goal, Measurement, Result
from .options import Options

NEEDS_SERVER = True
SIZES = (1, 2, 4)


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen)).result(folder)


async def _measure(options: Options) -> Measurement:
    rates = {size: await _rate(options, size) for size in (SIZES[:2] if options.quick else SIZES)}
    ratio = rates[2] / rates[1]
    return Measurement(
        "actions/s of 2 workers",
        rates[2],
        ratio=ratio,
        targets=[Goal("two workers over one", ratio, 1.3, 1.8)],
        detail={"cores": os.cpu_count() or 0, **{f"workers_{size}": round(rate) for size, rate in rates.items()}},
    )


async def _rate(options: Options, size: int) -> float:
    async with crew(options, LEASE_S, size) as (_, members):
        for seconds in (options.seconds / 2, 2 * options.seconds):  # the first warms up
            for one in members:
                one.ask(f"drive {seconds}")
            told = [json.loads(await asyncio.to_thread(one.heard)) for one in members]
    return float(sum(done / took_s for done, took_s in told))
