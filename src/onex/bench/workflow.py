"""Whole workflows: a start, two commands, three effects whose outcomes come back; compared with the rate of plain actions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from .load import CLIENTS, Sent, drive, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, quantile, ratio_of_pairs
from .options import Options
from .workload import JobComment, SampleJob

ACTIONS = 6
WORKFLOWS = 2000
ALONE = 200
AT_ONCE = 10


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    clients, on_server = options.clients or CLIENTS, options.store == "postgres"
    count = options.count(WORKFLOWS, 20)
    rates: list[float] = []
    plain: list[float] = []
    # two engines, so that the one with jobs has nothing else that is due
    async with opened(options.opens, folder / "plain") as other, opened(options.opens, folder / "jobs") as engine:
        await drive(other, clients, options.keys, options.window, options.seconds / 3)
        await _wave(engine, "warm", clients, count)
        for pair in range(options.pairs):
            plain.append((await drive(other, clients, options.keys, options.window, options.seconds)).rate)
            rates.append(await _wave(engine, f"{pair}", clients, count))
        alone = [await _alone(engine, n) for n in range(options.count(ALONE, 5))]
    ratio = ratio_of_pairs(rates, [rate / ACTIONS for rate in plain])
    p50_ms, p99_ms = quantile(alone, 0.5) * 1e3, quantile(alone, 0.99) * 1e3
    return Measurement(
        "workflows/s",
        median(rates),
        ceiling=median(plain) / ACTIONS,
        ratio=ratio,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        targets=[
            Goal("ratio to plain actions / 6", ratio, 0.8, 1.0),
            Goal(
                "workflows/s",
                median(rates),
                0.8 * (25_000 if on_server else 30_000) / ACTIONS,
                10_000 if on_server else 15_000,
            ),
            Goal("idle, end to end, p50 in ms", p50_ms, 20.0 if on_server else 10.0, 10.0, at_most=True),
        ],
        detail={
            "store": options.store,
            "workflows": count,
            "durable_actions_per_s": round(median(rates) * ACTIONS),
            "alone_counted": len(alone),
        },
    )


async def _wave(engine: ReducerPatternEngine, name: str, clients: int, count: int) -> float:
    """Workflows per second, from the first start to the last outcome durable."""
    keys = [WorkflowKey("job", f"{name}-{n}") for n in range(count)]

    async def client(number: int) -> None:
        own = keys[number::clients]
        for first in range(0, len(own), AT_ONCE):
            sent: list[Sent] = []
            for key in own[first : first + AT_ONCE]:
                sent += _commands(key)
            refuse_refusals(await engine.submit_many(sent))

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    await engine.idle()
    taken = time.perf_counter() - started
    await _assert_done(engine, keys)
    return count / taken


async def _alone(engine: ReducerPatternEngine, number: int) -> float:
    """Seconds from the first command to the last outcome, with nothing else to do."""
    key = WorkflowKey("job", f"alone-{number}")
    started = time.perf_counter()
    refuse_refusals(await engine.submit_many(_commands(key)))
    await engine.idle()
    taken = time.perf_counter() - started
    await _assert_done(engine, [key])
    return taken


def _commands(key: WorkflowKey) -> list[Sent]:
    return [
        (key, "begin", None),
        (key, "comment", JobComment(text="by the way")),
        (key, "comment", JobComment(text="thank you")),
    ]


async def _assert_done(engine: ReducerPatternEngine, keys: list[WorkflowKey]) -> None:
    for key in keys[:: max(1, len(keys) // 50)]:
        job = await engine.state(key)
        if not isinstance(job, SampleJob) or job.done != ACTIONS // 2:
            raise StateConsistencyError(f"{key} is {job!r}; its three effects should be done")
