"""Queries per second and memory of a worker that has nothing to do, beats of its lease included."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ..wiring.engine import LEASE_S
from .crew import crew
from .measurement import Goal, Measurement, Result
from .memory import MIB
from .options import Options

NEEDS_SERVER = True
SETTLED_S = 5.0
COUNTED_S = 60.0


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen)).result(folder)


async def _measure(options: Options) -> Measurement:
    async with crew(options, LEASE_S, 1) as (_, members):
        from .postgres.server import queries_seen

        await asyncio.sleep(0.5 if options.quick else SETTLED_S)  # what follows from its start is over
        seconds = 2.0 if options.quick else COUNTED_S
        per_s = await queries_seen(options.store_url, seconds) / seconds
        members[0].ask("memory")
        mib = int(await asyncio.to_thread(members[0].heard)) / MIB
    return Measurement(
        "queries/s",
        per_s,
        targets=[Goal("queries per second", per_s, 1.0, 0.5, at_most=True), Goal("MiB", mib, 80.0, 30.0, at_most=True)],
        detail={"resident_mib": round(mib, 1), "seconds": seconds, "lease_s": LEASE_S},
    )
