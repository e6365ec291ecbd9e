"""Load: an engine opened for measuring, and clients that keep it busy.

Theory of operation. ``opened`` wires an engine as ``onex.open`` does: durable settings, watchdog, every check and counter. Only
loading an app from files is left out: the handlers are those of ``workload``. ``drive`` is a closed loop: each client sends a
window of actions with one ``submit_many``, waits until all are durable, and sends the next. So the rate is what the engine can
do with ``clients * window`` actions in flight. It says nothing about latency at a fixed rate: ``latency`` measures that with an
open loop.

- Each client has its own part of the keys (``entries``), so no two clients compete for an instance; ``hotkey`` measures that.
- A bench calls ``drive`` once before it measures: imports, page cache and the cache of decoded instances are cold before.
- Counters are differences over the slice, and ``Latency`` is replaced, so that the warm-up does not count.
- ``cpu_us`` is CPU time of this process, per action. It is steadier than the rate when other processes share the machine.
- Refused actions would make any rate look good, so ``refuse_refusals`` raises the first refusal of every answer.
- A slice that was stalled may have ended before its first window. Each client sends at least one window, so there is always a rate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.interpreter import OwnInterpreter
from ..adapters.memory.store import MemoryStore
from ..adapters.sqlite.store import SqliteStore
from ..adapters.watchdog import Watchdog
from ..codec import Sealable
from ..engine.limits import Limits
from ..engine.metrics import Latency
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.payload_reading import PayloadInput
from ..engine.registry import ReducerRegistry
from ..engine.search_fields import SearchFields
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import StepGuard
from ..wiring.environment import environment
from ..wiring.store_access import KeptStore, needs_driver
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
async def opened(
    store: str,
    folder: Path,
    limits: Limits | None = None,
    *,
    registry: Callable[[StepGuard], ReducerRegistry] = registry,
    step_budget_s: float = 2.0,
    around: Callable[[Sealable], Sealable] = lambda store: store,
) -> AsyncIterator[ReducerPatternEngine]:
    """An engine as an app gets it. ``store``: sqlite, memory, or a server's URL. ``folder`` is created if it does not exist.

    ``around`` makes the store that the engine sees of the one that is opened.
    """
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    watchdog = Watchdog(step_budget_s)
    try:
        async with _kept(store, folder) as made:
            kept = around(made)
            engine = ReducerPatternEngine(
                kept,
                kept,
                registry(watchdog),
                SystemClock(),
                UuidV7(),
                environment(folder),
                limits=limits,
                interpreter=OwnInterpreter(),
            )
            engine.service.search = SearchFields(kept, engine.registry, engine.clock, engine.service.events)
            await engine.start("bench")
            async with engine:
                yield engine
    finally:
        watchdog.close()


@asynccontextmanager
async def _kept(store: str, folder: Path) -> AsyncIterator[MemoryStore | KeptStore]:
    """A new store. The engine closes it; what it left on a server is removed here."""
    if store == "memory":
        yield MemoryStore()
    elif store == "sqlite":
        yield await SqliteStore.open(folder / "store.db")
    else:
        with needs_driver():
            from ..adapters.postgres.store import PostgresStore
            from .postgres.server import own_schema
        async with own_schema(store) as address:
            yield await PostgresStore.open(address)


def entries(client: int, clients: int, keys: int, first: int, count: int) -> list[Sent]:
    """``count`` actions of one client, on its own part of the keys."""
    return [
        (f"account:{(client + n * clients) % keys}", "enter", AccountEntry(amount=n % 100, text=TEXT))
        for n in range(first, first + count)
    ]


async def drive(engine: ReducerPatternEngine, clients: int, keys: int, window: int, seconds: float) -> LoadResult:
    """Closed loop: each client sends ``window`` actions, waits until all are durable, and sends again."""
    stop = time.perf_counter() + seconds

    async def client(number: int) -> None:
        sent = 0
        while sent == 0 or time.perf_counter() < stop:  # at least once, also on a stalled machine
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
    """Raises the first refusal: a rate of refused actions would mean nothing."""
    for answer in answers:
        if isinstance(answer, OnexError):
            raise answer
