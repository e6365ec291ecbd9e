"""A task in parts over worker processes, beside the least it can take: its work over the workers, or its longest part.

Theory of operation. The work is arithmetic of a known length. Done here, part by part, it says what the whole costs (``work``) and
what its longest part costs (``span``). With P workers nothing can be faster than the larger of ``work / P`` and ``span``. Each
pair measures that bound, the call, and the call with one worker killed at a part in the middle. The death costs that part again,
and a new worker. Both share one pool that has started; parts and workers are few enough to be counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from pydantic import BaseModel

from ..kernel.action import Payload
from ..nodes.chunks import chunked
from ..nodes.compute import address_of
from ..nodes.compute_call import ComputeCall
from ..wiring.compute_workers import compute_workers
from .measurement import Goal, Measurement, Result, ratio_of_pairs, rounded
from .options import Options

PARTS = 40
TURNS = 400_000
"""Of the loop of one part: some 20 ms."""


class Turns(Payload):
    """``kill``: a file; whoever finds it missing at the part ``fatal`` makes it and is killed."""

    seeds: list[int]
    turns: int
    fatal: int = -1
    kill: str = ""


class Turned(Payload):
    values: list[int]


@chunked("seeds", size=1)
def turn(task: Turns) -> Turned:
    """A linear congruential generator: work that no cache and no library shortens."""
    values = []
    for seed in task.seeds:
        if seed == task.fatal:
            _die_once(task.kill)
        value = seed
        for _ in range(task.turns):
            value = (value * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        values.append(value >> 12)
    return Turned(values=values)


def _die_once(file: str) -> None:
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measured(chosen, folder)).result(folder)


async def _measured(chosen: Options, folder: Path) -> Measurement:
    workers = max(1, len(os.sched_getaffinity(0)))
    task = Turns(seeds=list(range(PARTS)), turns=chosen.count(TURNS, 5_000))
    pool = compute_workers(workers)
    call = ComputeCall(pool, address_of(turn), turn)
    bounds, calls, deaths = [], [], []
    try:
        await call.run(Turns(seeds=list(range(workers)), turns=1), {})  # every worker has started
        for n in range(chosen.pairs):
            work_s, span_s, expected = _alone(task)
            bounds.append(max(work_s / workers, span_s))
            calls.append(await _call_s(call, task, expected))
            fatal = Turns(seeds=task.seeds, turns=task.turns, fatal=PARTS // 2, kill=str(folder / f"killed-{n}"))
            deaths.append(await _call_s(call, fatal, expected))
        killed = pool.deaths
    finally:
        await pool.close()
    share, share_with_death = ratio_of_pairs(bounds, calls), ratio_of_pairs(bounds, deaths)
    return Measurement(
        "parts/s",
        PARTS / median(calls),
        ceiling=PARTS / median(bounds),
        ratio=share,
        targets=[
            Goal("of work / span", share, 0.8, 0.95),
            Goal("of work / span, one worker killed", share_with_death, 0.6, 0.9),
        ],
        detail={
            "parts": PARTS,
            "workers": workers,
            "part_ms": rounded(median(bounds) * workers / PARTS * 1000),
            "workers_killed": killed,
        },
    )


def _alone(task: Turns) -> tuple[float, float, BaseModel]:
    """Seconds of all parts and of the longest, done one after the other here, and what they give."""
    spent, values = [], []
    for seed in task.seeds:
        started = time.perf_counter()
        values += turn(Turns(seeds=[seed], turns=task.turns)).values
        spent.append(time.perf_counter() - started)
    return sum(spent), max(spent), Turned(values=values)


async def _call_s(call: ComputeCall, task: Turns, expected: BaseModel) -> float:
    started = time.perf_counter()
    computed = await call.run(task, {})
    spent = time.perf_counter() - started
    assert Turned.model_validate_json(computed.encoded) == expected, "the parts are joined in order, and none is lost"
    return spent
