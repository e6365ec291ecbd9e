"""Lag of a projection, in ms at a steady rate: from the moment an action is durable until the projection has reached it.

An open loop sends ``-o rate`` actions a second, 2,000 when none is given, to ``keys`` instances, while the engine maintains one
projection of all of them. Every action counts, also those of a cold start.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.pending import Committed
from ..engine.projections import ProjectionMaterializerService
from ..kernel.errors import ProjectionLagging
from ..ports import Position, Projections
from .load import entries, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, quantile
from .options import Options

COUNTED = 10_000  # a p99 of fewer means little
RATE = 2_000.0


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of({"rate": str(RATE), **options})
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    async with opened(_with_one_shard(options), folder) as engine:
        tables = cast(Projections, engine.reader)  # every store that ``opened`` gives keeps projections too
        view = ProjectionMaterializerService(engine.reader, tables, engine.commit_signal, engine.clock)
        await view.start()
        try:
            lags, late_s = await _open_loop(engine, view, options)
        finally:
            await view.close()
    p99_ms = quantile(lags, 0.99) * 1e3
    return Measurement(
        "ms, p99",
        p99_ms,
        p50_ms=quantile(lags, 0.5) * 1e3,
        p99_ms=p99_ms,
        targets=[Goal("p99 in ms", p99_ms, 25.0, 5.0, at_most=True)],
        detail={
            "store": options.store,
            "counted": len(lags),
            "sent_per_s": round(options.rate),
            "late_s": round(late_s, 2),
            "max_ms": round(max(lags) * 1e3, 2),
        },
    )


def _with_one_shard(options: Options) -> str:
    """A projection follows one shard; its lag is not that of others."""
    return (
        f"{options.opens}{'&' if '?' in options.opens else '?'}shards=1"
        if options.store == "postgres"
        else options.opens
    )


async def _open_loop(
    engine: ReducerPatternEngine, view: ProjectionMaterializerService, options: Options
) -> tuple[list[float], float]:
    """The lag of each action in seconds, and how many seconds the load ended behind its schedule."""
    count, rate = options.count(COUNTED, 50), options.rate
    waits = _Waits(view)
    started = time.perf_counter()
    sending = asyncio.Semaphore(64)  # a machine that cannot keep up is late, and does not fall over

    async def send(first: int, upto: int) -> None:
        async with sending:
            answers = await engine.submit_many(entries(0, 1, options.keys, first, upto - first))
            refuse_refusals(answers)
        waits.durable(max(answer.position for answer in answers if isinstance(answer, Committed)), upto - first)

    sent = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(waits.follow(count))
        while sent < count:
            due = min(count, int((time.perf_counter() - started) * rate) + 1)
            if due > sent:
                group.create_task(send(sent, due))
                sent = due
            await asyncio.sleep(max(0.0005, sent / rate - (time.perf_counter() - started)))
    return waits.lags, max(0.0, time.perf_counter() - started - count / rate)


class _Waits:
    """What is durable and not yet in the projection. One task waits for all: many waiters would load what is measured."""

    def __init__(self, view: ProjectionMaterializerService) -> None:
        self.lags: list[float] = []
        self._view = view
        self._durable: deque[tuple[Position, float, int]] = deque()
        self._more = asyncio.Event()

    def durable(self, position: Position, actions: int) -> None:
        self._durable.append((position, time.perf_counter(), actions))
        self._more.set()

    async def follow(self, count: int) -> None:
        while len(self.lags) < count:
            if not self._durable:
                self._more.clear()
                await self._more.wait()
            await _reached(self._view, self._durable[0][0])
            at, now = await self._view.tables.watermark(self._view.name, self._view.shard), time.perf_counter()
            while self._durable and self._durable[0][0].n <= at:
                _, durable, actions = self._durable.popleft()
                self.lags.extend([max(0.0, now - durable)] * actions)


async def _reached(view: ProjectionMaterializerService, position: Position) -> None:
    while True:
        try:
            await view.wait(position)
            return
        except ProjectionLagging:  # it waits a second: longer lags count with their whole length
            continue
