"""One hot key: many clients on one instance, compared with the same clients on many. The log is checked for order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from .load import opened, refuse_refusals
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options
from .workload import AccountEntry

CLIENTS = 64
ACTIONS = 10_000
PAGE = 1000


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    clients = options.clients or (4 if options.quick else CLIENTS)
    each = options.count(ACTIONS, 200) // clients
    hot: list[float] = []
    spread: list[float] = []
    async with opened(options.opens, folder) as engine:
        await burst(engine, clients, each, [f"account:warm{n}" for n in range(options.keys)], options.window)
        for number in range(options.pairs):
            keys = [f"account:{number}-{n}" for n in range(options.keys)]
            await burst(engine, clients, max(1, options.keys // clients), keys, options.window)  # so that all exist
            spread.append(await burst(engine, clients, each, keys, options.window))
            key = WorkflowKey("account", f"hot{number}")
            hot.append(await burst(engine, clients, each, [str(key)], options.window))
            await assert_order(engine, key, clients, each)
        conflicts = engine.counters.conflicts
    ratio = ratio_of_pairs(hot, spread)
    return Measurement(
        "actions/s",
        median(hot),
        ratio=ratio,
        targets=[
            Goal("ratio to many keys", ratio, 1.0, 1.3),
            Goal("conflicts", conflicts, 0, 0, at_most=True),
        ],
        detail={
            "store": options.store,
            "clients": clients,
            "actions": clients * each,
            "keys": options.keys,
            "many_keys_per_s": round(median(spread)),
            "order": "checked: versions without a gap, each client's actions in the order sent",
        },
    )


async def burst(engine: ReducerPatternEngine, clients: int, each: int, keys: list[str], window: int) -> float:
    """Actions per second. The text of an entry is ``CLIENT/N``: who sent it, and its number."""

    async def client(number: int) -> None:
        for first in range(0, each, window):
            refuse_refusals(
                await engine.submit_many(
                    [
                        (
                            keys[(number + n * clients) % len(keys)],
                            "enter",
                            AccountEntry(amount=1, text=f"{number}/{n}"),
                        )
                        for n in range(first, min(each, first + window))
                    ]
                )
            )

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return clients * each / (time.perf_counter() - started)


async def assert_order(engine: ReducerPatternEngine, key: WorkflowKey, clients: int, each: int) -> None:
    """Raises StateConsistencyError when the log of ``key`` does not hold each client's actions, in the order sent."""
    seen = [0] * clients
    version = 0
    while rows := await engine.reader.history(key, version, PAGE):
        for entry in rows:
            version += 1
            client, n = map(int, AccountEntry.model_validate_json(entry.row.payload).text.split("/"))
            if entry.version != version or n != seen[client]:
                raise StateConsistencyError(
                    f"{key} version {entry.version} is action {n} of client {client}; its action {seen[client]} was next"
                )
            seen[client] += 1
    if seen != [each] * clients:
        raise StateConsistencyError(f"{key} holds {sum(seen)} actions of {each * clients}")
