"""Milliseconds until a page of a search has come, of 100,000 instances; and the durable rate with three search fields, in pairs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import JsonValue

from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.search_text import condition_of
from ..kernel.search_query import query_of
from .load import CLIENTS, TEXT, drive, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options
from .workload import SEARCHED, AccountEntry, registry

INSTANCES: Final = 100_000
ASKED_AT_ONCE: Final = 1000
ROWS: Final = 50
PAGE_MS: Final = (50, 10)
COST: Final = (0.95, 0.99)
CONDITIONS: Final = {
    "one of many": ("balance = 77", None),
    "few, two conditions": ("balance > 98 and owner like 'somebody%'", None),
    "half of all": ("balance >= 50", None),
    "none": ("balance > 100", None),
    "not an index": ("not (balance < 99 or largest < 99) and status = 'open'", None),
    "in the order of a field": ("owner is not null", "balance desc"),
    "built-in columns": ("version = 1 and held = false and updated > '2020-01-01'", None),
}


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    plain, indexed = await _rates(options, folder)
    cost = ratio_of_pairs(indexed, plain)
    instances = options.count(INSTANCES, 200)
    async with opened(options.opens, folder / "many", registry=partial(registry, search=SEARCHED)) as engine:
        for first in range(0, instances, ASKED_AT_ONCE):
            asked = [
                (f"account:{n:07}", "enter", AccountEntry(amount=n % 100, text=TEXT))
                for n in range(first, min(first + ASKED_AT_ONCE, instances))
            ]
            refuse_refusals(await engine.submit_many(asked))
        pages = {name: await _page_ms(engine, where, order) for name, (where, order) in CONDITIONS.items()}
    slowest = max(pages, key=lambda name: pages[name][0])
    detail: dict[str, JsonValue] = {
        "store": options.store,
        "instances": instances,
        "page_ms": {name: round(ms, 2) for name, (ms, _) in pages.items()},
        "rows": {name: rows for name, (_, rows) in pages.items()},
        "slowest": slowest,
        "actions_per_s_with_fields": round(median(indexed)),
        "actions_per_s_without": round(median(plain)),
    }
    return Measurement(
        "ms",
        pages[slowest][0],
        ratio=cost,
        targets=[
            Goal("the slowest page in ms", pages[slowest][0], *PAGE_MS, at_most=True),
            Goal("durable rate with three search fields, to that without", cost, *COST),
        ],
        detail=detail,
    )


async def _rates(options: Options, folder: Path) -> tuple[list[float], list[float]]:
    """Of two engines that take turns: without search fields, and with three, of which each action changes one or two."""
    clients = options.clients or CLIENTS
    plain: list[float] = []
    indexed: list[float] = []
    async with AsyncExitStack() as stack:
        without = await stack.enter_async_context(opened(options.opens, folder / "plain"))
        fields = opened(options.opens, folder / "indexed", registry=partial(registry, search=SEARCHED))
        with_fields = await stack.enter_async_context(fields)
        for engine in (without, with_fields):
            await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        for _ in range(options.pairs):
            for engine, rates in ((without, plain), (with_fields, indexed)):
                rates.append((await drive(engine, clients, options.keys, options.window, options.seconds)).rate)
    return plain, indexed


async def _page_ms(engine: ReducerPatternEngine, where: str, order: str | None) -> tuple[float, int]:
    """Median of nine, and how many rows came."""
    assert engine.service.search is not None, "it was opened with search fields"
    store = engine.service.search.tables
    took: list[float] = []
    rows = 0
    column, _, direction = (order or "").partition(" ")
    for _ in range(9):
        began_s = time.perf_counter()
        query = query_of(
            condition_of(where), await store.search_specs(), workflow_type="account", order=column or None,
            descending=direction == "desc",
        )  # fmt: skip
        rows = len(await store.find(query, None, ROWS))
        took.append((time.perf_counter() - began_s) * 1e3)
    return median(took), rows
