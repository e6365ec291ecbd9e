"""Actions folded again and compared byte for byte, per core, reading the store included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.refold import Recorded
from ..engine.registry import ReducerRegistry
from ..engine.step_budget import Budgeted
from ..kernel.errors import StateConsistencyError
from ..replay.replay import Replay
from ..replay.verdict import ReplayResult
from ..wiring.recorded import RunSource
from .load import CLIENTS, entries, opened, refuse_refusals
from .measurement import Goal, Measurement, Result
from .options import Options

ACTIONS = 20_000
PER_INSTANCE = 100
FEW = 4
"""Actions of an instance in the second run: most workflows have few, and then what an instance costs shows."""


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    actions = options.count(ACTIONS, 200)
    runs = await _runs(options, folder / "long", actions, PER_INSTANCE)
    short = await _runs(options, folder / "short", actions, FEW)
    per_core = median(actions / cpu_s for cpu_s, _ in runs)
    return Measurement(
        "actions/s and core",
        per_core,
        targets=[Goal("actions/s and core", per_core, 100_000, 400_000)],
        detail={
            "store": options.store,
            "actions": actions,
            "instances": max(1, actions // PER_INSTANCE),
            "wall_per_s": round(median(actions / wall_s for _, wall_s in runs)),
            f"per_s_of_{FEW}_actions_each": round(median(actions / cpu_s for cpu_s, _ in short)),
        },
    )


async def _runs(options: Options, folder: Path, actions: int, per_instance: int) -> list[tuple[float, float]]:
    """CPU and wall seconds of each replay of ``actions`` actions, ``per_instance`` of them of each instance."""
    async with opened(options.opens, folder) as engine:
        await _fill(engine, actions, max(1, actions // per_instance))
        registry = _unguarded(engine.registry)
        if options.store == "memory":
            return [await _replayed(engine.reader, registry, actions) for _ in range(options.pairs)]
        # reads as ``onex replay`` does
        source = RunSource(store_url=_url(options, folder, engine))
        async with source.opened() as run:
            return [await _replayed(run, registry, actions) for _ in range(options.pairs)]


def _url(options: Options, folder: Path, engine: ReducerPatternEngine) -> str:
    if options.store != "postgres":
        return f"sqlite:///{folder / 'store.db'}"
    from ..adapters.postgres.store import PostgresStore

    assert isinstance(engine.reader, PostgresStore), "it was opened on a server"
    address = engine.reader.address
    return f"{address.dsn}{'&' if '?' in address.dsn else '?'}schema={address.schema}"


async def _fill(engine: ReducerPatternEngine, actions: int, keys: int) -> None:
    for first in range(0, actions, CLIENTS * keys):
        refuse_refusals(await engine.submit_many(entries(0, 1, keys, first, min(CLIENTS * keys, actions - first))))


async def _replayed(run: Recorded, registry: ReducerRegistry, actions: int) -> tuple[float, float]:
    """CPU seconds and wall seconds. Raises StateConsistencyError when anything differs or is missing."""
    replay = Replay(run, registry)
    cpu, started = time.process_time(), time.perf_counter()
    async for _ in replay.all():
        pass
    taken = time.process_time() - cpu, time.perf_counter() - started
    found: ReplayResult = replay.result
    if found.actions != actions or found.mismatches or found.unverified:
        raise StateConsistencyError(
            f"replay found {found.actions} of {actions} actions, {found.mismatches} mismatches, "
            f"{found.unverified} unverified: {found.bad[:1]}"
        )
    return taken


def _unguarded(registry: ReducerRegistry) -> ReducerRegistry:
    """The code as ``onex replay`` runs it: without watchdog, since every logged step has returned once."""
    return ReducerRegistry(
        tuple(
            replace(one, reducer=one.reducer.reducer) if isinstance(one.reducer, Budgeted) else one
            for one in registry.workflows
        )
    )
