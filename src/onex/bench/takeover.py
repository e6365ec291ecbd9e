"""Seconds from kill -9 of a worker until an action of every shard that it had is durable by another worker.

Two workers share a store. One is killed at a moment of chance; at the same time one action is sent to an instance of each of its
shards. The slowest answer counts, so a round is as long as the whole takeover: the lease runs out, the shards are taken, what
waits is read. Then a new worker takes the place. ``-o seconds=1`` is the lease; the default is that of ``onex worker``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from itertools import count

import onex

from ..kernel.action import WorkflowKey
from ..kernel.route import shard_of
from ..wiring.engine import LEASE_S
from .crew import CrewMember, crew, shared_out
from .load import TEXT
from .measurement import Goal, Measurement, Result, quantile
from .options import Options
from .workload import AccountEntry

NEEDS_SERVER = True
ROUNDS = 20


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    lease_s = chosen.seconds if "seconds" in options else LEASE_S
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, lease_s)).result(folder)


async def _measure(options: Options, lease_s: float) -> Measurement:
    chance, took_s, rounds = random.Random(1), list[float](), options.count(ROUNDS, 1)  # noqa: S311 - when to kill, no secret
    async with crew(options, lease_s, 2) as (url, members), await onex.connect(url) as client:
        for number in range(rounds):
            seen = await shared_out(url, 2)
            await asyncio.sleep(chance.uniform(0.0, lease_s))
            victim = members.pop(0)
            oldest = seen.workers[0].worker.id  # workers and members both stand in the order in which they joined
            killed = [shard for shard, owner in enumerate(seen.owners) if owner.worker == oldest]
            begun = time.perf_counter()
            victim.end(killed=True)
            keys = [_key_in(shard, len(seen.owners), number) for shard in killed]
            await asyncio.gather(
                *(client.submit(key, "enter", AccountEntry(amount=1, text=TEXT), timeout_s=60.0) for key in keys)
            )
            took_s.append(time.perf_counter() - begun)
            members.append(CrewMember(url, lease_s))
            await asyncio.to_thread(members[-1].heard)
    p99_s = quantile(took_s, 0.99)
    return Measurement(
        "s, p99",
        p99_s,
        p50_ms=quantile(took_s, 0.5) * 1e3,
        p99_ms=p99_s * 1e3,
        targets=[Goal("p99 in s", p99_s, 5.0 if lease_s >= LEASE_S else lease_s + 1.5, 0.5, at_most=True)],
        detail={"lease_s": lease_s, "rounds": rounds, "max_s": round(max(took_s), 3)},
    )


def _key_in(shard: int, shards: int, number: int) -> WorkflowKey:
    keys = (WorkflowKey("account", f"{number} {n}") for n in count())
    return next(key for key in keys if shard_of(key, shards) == shard)
