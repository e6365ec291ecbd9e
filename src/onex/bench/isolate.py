"""Neighbours of an instance that runs away: their p99, alone and beside it; what quotas cost; memory of an instance.

Theory of operation. Quiet instances get actions on a schedule (an open loop: a late send counts as waiting). One instance of the
same type runs away beside them, one way after the other:

    flood   actions as fast as a sender is told that it may come: ``FLOOD`` in flight, each refused one comes again at once
    grow    each action adds 8 KiB to its state
    spread  each action emits 60 intents that nobody serves before the year 2100
    spin    each action has a step that never ends

Each slice beside a runaway has one alone next to it, and their ratio is taken: noise that hits both cancels out. The type has
quotas that a quiet instance never meets. ``unlimited`` in the detail is the flood of an instance without quotas.

Memory is what Python allocates (``tracemalloc``) for instances in an engine's cache, over what the same states and their bytes
take in a plain dict. So it is the price of being an instance: its mailbox, its key, and what is known of it.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import JsonValue

from ..engine.encode import decode, encode
from ..engine.limits import Limits
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.step_budget import Budgeted
from ..kernel.action import Action, Payload, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.intent import IntentSpec, intent
from ..kernel.machine import Machine, MachineReducer, Transition, reducer
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..kernel.step import State, Step
from ..ports import Code, StepGuard
from .load import CLIENTS, drive, opened, refuse_refusals
from .measurement import Goal, Measurement, Result, quantile, ratio_of_pairs
from .options import Options
from .workload import NoEffect, registry

QUOTAS: Final = ResourceLimits(state_bytes=32 * 1024, pending_intents=200, actions_per_s=50, step_budget_ms=50)
RATE: Final = 500
FLOOD: Final = 256
LATER: Final = datetime(2100, 1, 1, tzinfo=UTC)
RUNAWAY: Final = WorkflowKey("tenant", "runaway")
WAYS: Final = ("flood", "grow", "spread", "spin")


class Tenant(State):
    actions: int = 0
    kept: str = ""


class Ask(Payload):
    what: str = "work"
    text: str = ""


class Later(Payload):
    n: int


tenants = reducer(Tenant)


@tenants.on("ask")
def ask(tenant: Tenant, action: Action[Ask]) -> Step[Tenant]:
    asked = action.payload
    while asked.what == "spin":
        pass
    kept = tenant.kept + asked.text if asked.what == "grow" else asked.text or tenant.kept
    after = tenant.evolve(actions=tenant.actions + 1, kept=kept)
    if asked.what != "spread":
        return Step(after)
    return Step(after, *[intent("later", Later(n=n), not_before=LATER) for n in range(60)])


TENANT = MachineReducer(
    "tenant",
    tenants,
    Machine("open", (Transition("open", "open", "ask"),)),
    {"ask": Ask},
    {"later": IntentSpec("later", "notification", "desk", Later)},
)


def tenants_with(limits: ResourceLimits) -> Callable[[StepGuard], ReducerRegistry]:
    def make(guard: StepGuard) -> ReducerRegistry:
        code = Code("tenant", "1.0.0", b"tenant".ljust(32, b"\0"), 1)
        return ReducerRegistry((Workflow(Budgeted(TENANT, guard), code, {"desk": NoEffect()}, limits=limits),))

    return make


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    beside = {way: await _pairs(options, folder / way, way, QUOTAS) for way in WAYS}
    unlimited = await _pairs(options, folder / "unlimited", "flood", NO_LIMITS)
    worst = max(beside, key=lambda way: beside[way].ratio)
    cpu = await _cost(options, folder / "cost")
    sizes = {size: await _memory(options, folder / f"memory-{size}", size) for size in (100, 4096, 32_768)}
    detail: dict[str, JsonValue] = {
        "store": options.store,
        "neighbours": options.keys,
        "sent_per_s": RATE,
        "worst": worst,
        **{way: found.as_json() for way, found in beside.items()},
        "unlimited": unlimited.as_json(),
        "memory": {f"state of {size:,} bytes": found for size, found in sizes.items()},
    }
    over = float(str(sizes[32_768]["over"]))
    return Measurement(
        "times the p99 alone",
        beside[worst].ratio,
        p50_ms=beside[worst].p50_ms,
        p99_ms=beside[worst].p99_ms,
        targets=[
            Goal(f"neighbours' p99 beside {worst}, over alone", beside[worst].ratio, 2.0, 1.2, at_most=True),
            Goal("CPU of quotas per action, over none", cpu - 1, 0.05, 0.02, at_most=True),
            Goal("memory of an instance over its state, 32 KiB", over, 0.05, 0.02, at_most=True),
        ],
        detail=detail,
    )


# --- neighbours -------------------------------------------------------------------------------------------------------


class Beside:
    """Waits of the neighbours in slices alone, and in those beside a runaway."""

    def __init__(self) -> None:
        self.alone: list[list[float]] = []
        self.beside: list[list[float]] = []
        self.refused = self.applied = 0

    @property
    def ratio(self) -> float:
        return ratio_of_pairs([quantile(one, 0.99) for one in self.beside], [quantile(one, 0.99) for one in self.alone])

    @property
    def p50_ms(self) -> float:
        return median(quantile(one, 0.5) for one in self.beside) * 1e3

    @property
    def p99_ms(self) -> float:
        return median(quantile(one, 0.99) for one in self.beside) * 1e3

    def as_json(self) -> dict[str, JsonValue]:
        alone = {q: median(quantile(one, q) for one in self.alone) * 1e3 for q in (0.5, 0.99)}
        return {
            "p99_over_alone": round(self.ratio, 2),
            "p50_ms": round(self.p50_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
            "p50_ms_alone": round(alone[0.5], 2),
            "p99_ms_alone": round(alone[0.99], 2),
            "runaway_applied": self.applied,
            "runaway_refused": self.refused,
        }


async def _pairs(options: Options, folder: Path, way: str, limits: ResourceLimits) -> Beside:
    found = Beside()
    async with opened(options.opens, folder, registry=tenants_with(limits), step_budget_s=0.05) as engine:
        await engine.submit(RUNAWAY, "ask", Ask())
        await _quiet(engine, options)
        for _ in range(options.pairs):
            found.alone.append(await _quiet(engine, options))
            async with _runs_away(engine, way, found):
                found.beside.append(await _quiet(engine, options))
    return found


async def _quiet(engine: ReducerPatternEngine, options: Options) -> list[float]:
    """Seconds from the moment each action was due by the schedule to its answer."""
    waits: list[float] = []
    started = time.perf_counter()
    count = max(20, round(RATE * options.seconds))

    async def send(n: int) -> None:
        await engine.submit(f"tenant:{n % options.keys}", "ask", Ask())
        waits.append(time.perf_counter() - started - n / RATE)

    async with asyncio.TaskGroup() as tasks:
        for n in range(count):
            late = started + n / RATE - time.perf_counter()
            await asyncio.sleep(max(0.0, late))
            tasks.create_task(send(n))
    return waits


@asynccontextmanager
async def _runs_away(engine: ReducerPatternEngine, way: str, found: Beside) -> AsyncIterator[None]:
    """As many senders as ``FLOOD``; each sends again when it has its answer, and waits if it is told how long."""
    text = "x" * 8192 if way == "grow" else ""
    payload = Ask(what=way, text=text)

    async def sender() -> None:
        while True:
            try:
                await engine.submit(RUNAWAY, "ask", payload)
                found.applied += 1
            except OnexError as error:
                found.refused += 1
                await asyncio.sleep(float(str(error.context.get("retry_after_s", 0))))

    senders = [asyncio.create_task(sender()) for _ in range(FLOOD)]
    try:
        yield
    finally:
        for one in senders:
            one.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        await engine.service.quiet()


# --- cost -------------------------------------------------------------------------------------------------------------


async def _cost(options: Options, folder: Path) -> float:
    """CPU per action with quotas that nobody meets, over that without, in pairs of slices."""
    wide = ResourceLimits(state_bytes=1 << 20, pending_intents=1_000_000, actions_per_s=1_000_000, step_budget_ms=2000)

    def limited(guard: StepGuard) -> ReducerRegistry:
        return registry(guard, wide)

    clients = options.clients or CLIENTS
    with_quotas, without = list[float](), list[float]()
    async with (
        opened(options.opens, folder, registry=limited) as ours,
        opened(options.opens, folder / "none", registry=registry) as plain,
    ):
        for one in (ours, plain):
            await drive(one, clients, options.keys, options.window, options.seconds / 3)
        for _ in range(options.pairs):
            with_quotas.append((await drive(ours, clients, options.keys, options.window, options.seconds / 2)).cpu_us)
            without.append((await drive(plain, clients, options.keys, options.window, options.seconds / 2)).cpu_us)
    return ratio_of_pairs(with_quotas, without)


# --- memory -----------------------------------------------------------------------------------------------------------


async def _memory(options: Options, folder: Path, size: int) -> dict[str, JsonValue]:
    """Bytes per cached instance whose state has ``size`` bytes, and ``over``: how much more than its state takes alone."""
    count = options.count(max(500, min(5000, (32 << 20) // size)), 20)
    text = "x" * max(8, size - len(encode(Tenant(status="open", actions=2))))
    limits = Limits(cached_bytes=1 << 30)
    async with opened(options.opens, folder, limits, registry=tenants_with(NO_LIMITS)) as engine:
        await _touch(engine, range(count), text)
        tracemalloc.start()
        try:
            before = _allocated()
            await _touch(engine, range(count, 2 * count), text)
            await _touch(engine, range(count, 2 * count), text)
            in_engine = (_allocated() - before) / count
            before = _allocated()
            data = encode(Tenant(status="open", actions=2, kept=text))
            plain = {n: (decode(Tenant, data), bytes(bytearray(data))) for n in range(count)}
            alone = (_allocated() - before) / count
            assert len(plain) == count
        finally:
            tracemalloc.stop()
    return {"in_engine": round(in_engine), "state_alone": round(alone), "over": round(in_engine / alone - 1, 4)}


async def _touch(engine: ReducerPatternEngine, numbers: range, text: str) -> None:
    for first in range(numbers.start, numbers.stop, 100):
        part = range(first, min(first + 100, numbers.stop))
        refuse_refusals(
            await engine.submit_many([(f"tenant:m{n}", "ask", Ask(text=text[8:] + f"{n:08}")) for n in part])
        )


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
