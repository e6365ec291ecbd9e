"""Load: an engine opened for measuring, and clients that keep it busy, each with its own keys and a window in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.memory.store import MemoryStore
from ..adapters.sqlite.store import SqliteStore
from ..adapters.watchdog import Watchdog
from ..engine.dispatch import Limits
from ..engine.intake import PayloadInput
from ..engine.metrics import Latency
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..wiring.environment import environment
from .workload import AccountEntry, registry

TEXT = "groceries for the week"
CLIENTS = 32

Sent = tuple[WorkflowKey | str, str, PayloadInput]


class LoadResult(NamedTuple):
    """``rate`` in actions per second; ``cpu_us`` of this process per action; ``batch`` actions per commit on average."""

    rate: float
    cpu_us: float
    batch: float


@asynccontextmanager
async def opened(store: str, folder: Path, limits: Limits | None = None) -> AsyncIterator[ReducerPatternEngine]:
    """An engine as an app gets it: durable settings, every check and counter on. ``folder`` is made where there is none."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    kept = MemoryStore() if store == "memory" else await SqliteStore.open(folder / "store.db")
    watchdog = Watchdog()
    try:
        engine = ReducerPatternEngine(
            kept, kept, registry(watchdog), SystemClock(), UuidV7(), environment(folder), limits=limits
        )
        await engine.start("bench")
        async with engine:
            yield engine
    finally:
        watchdog.close()


def entries(client: int, clients: int, keys: int, first: int, count: int) -> list[Sent]:
    """``count`` actions of one client, over its own part of the keys."""
    return [
        (f"account:{(client + n * clients) % keys}", "enter", AccountEntry(amount=n % 100, text=TEXT))
        for n in range(first, first + count)
    ]


async def drive(engine: ReducerPatternEngine, clients: int, keys: int, window: int, seconds: float) -> LoadResult:
    """Closed loop: each client sends ``window`` actions, waits until all are durable, and sends again."""
    stop = time.perf_counter() + seconds

    async def client(number: int) -> None:
        sent = 0
        while sent == 0 or time.perf_counter() < stop:  # a stalled machine still sends once: there is a rate to tell
            refuse_refusals(await engine.submit_many(entries(number, clients, keys, sent, window)))
            sent += window

    counters = engine.counters
    counters.latency = Latency()
    committed, batches = counters.committed, counters.batches
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    done = counters.committed - committed
    return LoadResult(done / taken, cpu / done * 1e6, done / max(1, counters.batches - batches))


def refuse_refusals(answers: Iterable[object]) -> None:
    """A figure over actions that were refused says nothing. Raises the first refusal."""
    for answer in answers:
        if isinstance(answer, OnexError):
            raise answer
