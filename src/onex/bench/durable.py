"""Durable actions per second over many keys, compared with what the store alone reaches with the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import BaseModel, JsonValue

from ..engine.encode import encode, encode_intents
from ..kernel.action import Action, WorkflowKey
from ..wiring.store_access import needs_driver
from .ceiling import RowSizes, append_ceiling
from .load import CLIENTS, TEXT, LoadResult, drive, opened
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options
from .workload import ACCOUNT, AccountEntry

BATCH = 1000


class Gates(NamedTuple):
    """What must be reached, and what is aimed at: of the ceiling, and in actions/s."""

    ratio: tuple[float, float]
    rate: tuple[float, float]


GATES = {"sqlite": Gates((0.35, 0.7), (30_000, 100_000)), "postgres": Gates((0.25, 0.8), (25_000, 60_000))}


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    clients = options.clients or CLIENTS
    ceilings: list[float] = []
    reached: list[LoadResult] = []
    gates = GATES.get(options.store, GATES["sqlite"])
    detail: dict[str, JsonValue] = {}
    async with opened(options.opens, folder) as engine:
        await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        ceiling = await _ceiling(options, folder, detail)
        for pair in range(options.pairs):
            if ceiling is not None:
                ceilings.append(await ceiling(pair))
            reached.append(await drive(engine, clients, options.keys, options.window, options.seconds))
        waited = engine.counters.latency
        alone = await drive(engine, clients, options.keys, 1, options.seconds)
    rates = [one.rate for one in reached]
    value = median(rates)
    targets = [Goal("actions/s", value, *gates.rate)]
    ratio = ratio_of_pairs(rates, ceilings) if ceilings else None
    if ratio is not None:
        targets.insert(0, Goal("ratio to the append ceiling", ratio, *gates.ratio))
    return Measurement(
        "actions/s",
        value,
        ceiling=median(ceilings) if ceilings else None,
        ratio=ratio,
        p50_ms=waited.quantile_s(0.5) * 1e3,
        p99_ms=waited.quantile_s(0.99) * 1e3,
        targets=targets,
        detail={
            "store": options.store,
            "clients": clients,
            "keys": options.keys,
            "in_flight": clients * options.window,
            "actions_per_commit": round(median(one.batch for one in reached)),
            "cpu_us_per_action": round(median(one.cpu_us for one in reached), 1),
            "counted": waited.count,
            "one_by_one": {"actions_per_s": round(alone.rate), "actions_per_commit": round(alone.batch)},
            **detail,
        },
    )


async def _ceiling(
    options: Options, folder: Path, detail: dict[str, JsonValue]
) -> Callable[[int], Awaitable[float]] | None:
    """Measures the ceiling once, each time it is called. None for a store without one."""
    shape = account_shape(options.keys)

    async def of_sqlite(pair: int) -> float:
        return append_ceiling(folder / f"ceiling{pair}.db", BATCH, options.seconds, shape)

    if options.store != "postgres":
        return of_sqlite if options.store == "sqlite" else None
    with needs_driver():
        from .postgres.ceiling import measure, tried
        from .postgres.server import server_facts
    detail["server"] = await server_facts(options.store_url)
    ways = await tried(options.store_url, options.seconds, shape)
    best = max(ways, key=lambda way: ways[way])
    detail["ceilings_tried"] = {str(way): round(rate) for way, rate in ways.items()}

    async def of_server(pair: int) -> float:
        return (await measure(options.store_url, best, options.seconds, shape)).actions_per_s

    return of_server


def account_shape(keys: int) -> RowSizes:
    """The rows that one account entry writes, with the sizes that the engine writes."""
    entry = AccountEntry(amount=50, text=TEXT)
    action: Action[BaseModel] = Action(WorkflowKey("account", "1"), "enter", entry, bytes(16), 0, bytes(16))
    done = ACCOUNT.delta(ACCOUNT.initial(), action)
    sizes = (len(encode(entry)), len(encode(done.state)), len(encode_intents(done.intents)))
    return RowSizes(keys, *sizes, intents_every=1, settles=False)
