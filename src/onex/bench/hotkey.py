"""10,000 actions of one instance under 64 clients, beside as many over a thousand instances: the best case, not the worst."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..engine.mailbox import Committed
from ..engine.pattern import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from .result import Options, Value, median, number, result, scratch
from .workload import Read, engine_on, keys

CLIENTS = 64


async def burst(engine: ReducerPatternEngine, targets: list[WorkflowKey], count: int) -> tuple[float, list[Committed]]:
    """``count`` actions from 64 clients, each with its share under way; the rate, and every answer by client."""
    share = count // CLIENTS
    answers: list[Committed] = []

    async def client(number: int) -> None:
        mine = [(targets[(number * share + n) % len(targets)], "read", Read(value=1.5)) for n in range(share)]
        got = [one for one in await engine.submit_many(mine) if isinstance(one, Committed)]
        if [one.version for one in got] != sorted(one.version for one in got) and len(targets) == 1:
            raise StateConsistencyError("one client's actions of one key were applied out of order")
        answers.extend(got)

    begun = time.perf_counter()
    await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    return share * CLIENTS / (time.perf_counter() - begun), answers


def run(options: Options) -> dict[str, Value]:
    """Options: actions (10,000), pairs (9), quick. Raises StateConsistencyError when the order is not strict."""
    actions, pairs = int(number(options, "actions", 10_000, 640)), int(number(options, "pairs", 9, 1))
    with scratch() as name:
        folder = Path(name)

        async def go() -> tuple[list[float], list[float], int]:
            hot: list[float] = []
            wide: list[float] = []
            many = keys(1000)
            async with engine_on(folder) as engine:
                await burst(engine, many, 2000)
                for pair in range(pairs):
                    one = [WorkflowKey("meter", f"hot{pair}")]
                    rate, answers = await burst(engine, one, actions)
                    if sorted(a.version for a in answers) != list(range(1, len(answers) + 1)):
                        raise StateConsistencyError("the versions of the hot key are not 1, 2, 3 ... without a gap")
                    hot.append(rate)
                    wide.append((await burst(engine, many, actions))[0])
                return hot, wide, engine.counters.conflicts

        hot, wide, conflicts = asyncio.run(go())
        detail: dict[str, Value] = {
            "hot_actions_per_s": round(median(hot)),
            "wide_actions_per_s": round(median(wide)),
            "pairs": pairs,
            "conflicts": conflicts,
        }
        ratio = median([h / w for h, w in zip(hot, wide, strict=True)])
        return result("ratio hot/wide", ratio, folder, detail=detail)
