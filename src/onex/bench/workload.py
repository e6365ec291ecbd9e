"""Workload: a counter with a state of eight fields, and an engine over a fresh store: what the benches drive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.sqlite import SqliteStore
from ..engine.dispatch import Limits
from ..engine.pattern import ReducerPatternEngine
from ..engine.registry import ReducerRegistry, Workflow
from ..kernel.action import Action, Nothing, Payload, WorkflowKey
from ..kernel.errors import ValidationError
from ..kernel.intent import EnumOutcome, Failure, IntentSpec, ModelIntent
from ..kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
from ..kernel.step import State, Step
from ..ports import Code, Env, Result


class Meter(State):
    """Eight fields, about 200 bytes as JSON."""

    count: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0
    unit: str = "kilowatt-hours"
    place: str = "hall 4, row 12, cabinet 7, upper left"
    last: str = ""


class Read(Payload):
    value: float
    unit: str = "kilowatt-hours"
    note: str = "read by hand at the end of the shift, nothing unusual was seen"
    reader: str = "station-17"
    serial: str = "a-4711-0815-2342-77-b"


class Ask(Payload):
    text: str


class Said(Payload):
    text: str


meters = reducer(Meter)


@meters.on("read")
def read(meter: Meter, action: Action[Read]) -> Step[Meter]:
    value = action.payload.value
    return Step(meter.evolve(count=meter.count + 1, total=meter.total + value, most=max(meter.most, value)))


@meters.on("ask")
def ask(meter: Meter, action: Action[Ask]) -> Step[Meter]:
    return Step(meter.evolve(count=meter.count + 1), Ask(text=action.payload.text))


@meters.on("said")
def said(meter: Meter, action: Action[Said]) -> Step[Meter]:
    """Three effects, one after the other."""
    meter = meter.evolve(count=meter.count + 1, last=action.payload.text)
    return Step(meter, Ask(text="again")) if meter.count < 4 else Step(meter)


def _count(state: BaseModel) -> int:
    return state.count if isinstance(state, Meter) else 0


OUTCOMES = {EnumOutcome.SUCCEEDED: "said", EnumOutcome.FAILED: "failed", EnumOutcome.UNKNOWN: "failed"}
MACHINE = Machine(
    "idle",
    (
        Transition("idle", "idle", "read"),
        Transition("idle", "idle", "ask"),
        Transition("idle", "told", "said", (Guard("state.count >= 3", lambda state, _: _count(state) >= 3),)),
        Transition("idle", "idle", "said", priority=-1),
        Transition("told", "told", "read"),
        Transition("told", "told", "close"),
        Transition("idle", "broken", "failed"),
    ),
)
PAYLOADS: dict[str, type[BaseModel]] = {"read": Read, "ask": Ask, "said": Said, "close": Nothing, "failed": Failure}


class Echo:
    """An effect that costs nothing: what is measured is the engine around it."""

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        return Result(Said(text="done"))


def meter_reducer() -> MachineReducer[Meter]:
    spec = IntentSpec("ask", "api_call", "echo", Ask, OUTCOMES, concurrency=64)
    return MachineReducer("meter", meters, MACHINE, PAYLOADS, {"ask": spec})


def registry() -> ReducerRegistry:
    code = Code("meter", "1.0.0", b"bench".ljust(32, b"\0"), 1)
    return ReducerRegistry((Workflow(meter_reducer(), code, {"echo": Echo()}),))


@asynccontextmanager
async def engine_on(
    folder: Path, store: str = "sqlite", *, cached: int = 50_000
) -> AsyncIterator[ReducerPatternEngine]:
    """An engine with the shipped settings on a new store, but for a longer queue.

    Raises ValidationError for a kind of store that no bench runs on.
    """
    if store != "sqlite":
        raise ValidationError(f"no bench runs on {store!r} yet; there is sqlite")
    opened = await SqliteStore.open(folder / "store.db")
    env = Env("bench", "", "", "", "")
    engine = ReducerPatternEngine(
        opened, opened, registry(), SystemClock(), UuidV7(), env, limits=Limits(waiting=100_000, cached=cached)
    )
    await engine.start("bench")
    try:
        yield engine
    finally:
        await engine.close()


def keys(count: int) -> list[WorkflowKey]:
    return [WorkflowKey("meter", f"m{n}") for n in range(count)]
