"""A steady load for a long time: memory, descriptors and the WAL must stay where they are after the first half.

An hour of it: ``onex bench soak -o seconds=3600``. It prints a table over time, and whether each of the three was flat.

First the page cache of SQLite is filled by a few large actions: it would grow for minutes, and hide what grows for ever. Then
``rate`` actions a second go to ``keys`` instances, each with an effect that is run and settled. Every ``TURN_S`` what is due is
sent and waited for. The load keeps nothing per action, so what grows belongs to the engine. A machine that cannot keep up ends
later (``late_s`` tells), and never gets more than ``MOST`` at once.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import JsonValue

from ..engine.metrics import Latency
from ..engine.pattern_engine import ReducerPatternEngine
from .load import TEXT, opened, refuse_refusals
from .measurement import Goal, Measurement, Result
from .memory import MIB, resident, slope
from .options import Options
from .workload import AccountEntry

LARGE, LARGE_BATCH, FILLING = 16 << 10, 50, 96 << 20
SAMPLES = 30
COLUMNS: Final = ("after s", "actions", "resident MiB", "descriptors", "WAL MiB", "full collections", "p99 ms")
TURN_S = 0.01
MOST = 1000


class SoakSample(NamedTuple):
    """After ``seconds``. ``collections``: full ones of Python's garbage collector, since the process began."""

    seconds: float
    actions: int
    resident: int
    descriptors: int
    wal: int
    collections: int
    p99_ms: float

    def as_row(self) -> list[JsonValue]:
        resident_mib, wal_mib = round(self.resident / MIB, 1), round(self.wal / MIB, 1)
        after_s, p99_ms = float(f"{self.seconds:.4g}"), round(self.p99_ms, 1)
        return [after_s, self.actions, resident_mib, self.descriptors, wal_mib, self.collections, p99_ms]


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    async with opened(options.opens, folder) as engine:
        if not options.quick:
            await _fill_caches(engine)
        samples, late_s = await _loaded(engine, folder, options)
    goals = flatness(samples)
    grew = [name for name, goal in goals.items() if not goal.met]
    return Measurement(
        "MiB, growth of resident memory in the second half",
        goals["memory"].value,
        targets=tuple(goals.values()),
        detail={
            "store": options.store,
            "actions": samples[-1].actions,
            "late_s": round(late_s, 2),
            "verdict": f"not flat: {', '.join(grew)}" if grew else "flat",
            "table": {"columns": list(COLUMNS), "rows": [one.as_row() for one in samples]},
        },
    )


def flatness(samples: Sequence[SoakSample]) -> dict[str, Goal]:
    """What is to be flat, by its name, judged over the second half.

    Memory must grow in both of its quarters to count: a burst after the machine stood still takes memory once, a leak goes on.
    """
    late = samples[len(samples) // 2 :]
    grown = 2 * min(_growth(late[: len(late) // 2 + 1]), _growth(late[len(late) // 2 :]))
    descriptors = late[-1].descriptors - late[0].descriptors
    wal = max(one.wal for one in late)
    return {
        "memory": Goal("growth of resident memory in the second half, in MiB", grown / MIB, 8.0, 0.0, at_most=True),
        "descriptors": Goal("growth of open descriptors in the second half", descriptors, 0.0, 0.0, at_most=True),
        "WAL": Goal("the largest WAL of the second half, in MiB", wal / MIB, 64.0, 16.0, at_most=True),
    }


def _growth(samples: Sequence[SoakSample]) -> float:
    """Of resident bytes, along the line that fits best."""
    seconds = [one.seconds for one in samples]
    return slope(seconds, [one.resident for one in samples]) * (seconds[-1] - seconds[0])


async def _fill_caches(engine: ReducerPatternEngine) -> None:
    """Half as much again as SQLite keeps of its pages. A text stands in a log row, in its intent and in the state."""
    large = AccountEntry(amount=1, text="x" * LARGE)
    for first in range(0, FILLING // (3 * LARGE), LARGE_BATCH):
        keys = [f"account:large {n % LARGE_BATCH}" for n in range(first, first + LARGE_BATCH)]
        refuse_refusals(await engine.submit_many([(key, "notify", large) for key in keys]))
    await engine.idle()


async def _loaded(engine: ReducerPatternEngine, folder: Path, options: Options) -> tuple[list[SoakSample], float]:
    """``SAMPLES`` samples in ``options.seconds``, and how many seconds the load ended late."""
    samples: list[SoakSample] = []
    wal = folder / "store.db-wal"
    started = time.perf_counter()
    sent = 0

    async def send(count: int) -> None:
        numbers = range(sent, sent + count)
        refuse_refusals(
            await engine.submit_many(
                [(f"account:{n % options.keys}", "notify", AccountEntry(amount=n % 100, text=TEXT)) for n in numbers]
            )
        )

    for number in range(1, SAMPLES + 1):
        engine.counters.latency = Latency()
        until = round(options.seconds * options.rate * number / SAMPLES)
        while sent < until:
            due = min(until, int((time.perf_counter() - started) * options.rate) + 1)
            if count := min(MOST, due - sent):
                await send(count)
                sent += count
            await asyncio.sleep(TURN_S)
        samples.append(_sample(time.perf_counter() - started, sent, engine.counters.latency, wal))
    return samples, samples[-1].seconds - options.seconds


def _sample(seconds: float, actions: int, latency: Latency, wal: Path) -> SoakSample:
    return SoakSample(
        seconds,
        actions,
        resident(),
        len(list(Path("/proc/self/fd").iterdir())),
        wal.stat().st_size if wal.exists() else 0,
        gc.get_stats()[2]["collections"],
        latency.quantile_s(0.99) * 1e3,
    )
