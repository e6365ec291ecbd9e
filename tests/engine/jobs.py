"""A small workflow made by hand, for tests of the engine: a job that is worked on by an effect."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import NOTHING, Action, Nothing, Payload
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import EnumDelivery, EnumIntentType, EnumOutcome, Failure, IntentSpec, ModelIntent, send, timer
from onex.kernel.machine import Guard, Machine, MachineReducer, Timeout, Transition, reducer
from onex.kernel.retry import RetryPolicy
from onex.kernel.step import State, Step
from onex.ports import Code, Result


class Job(State):
    text: str = ""
    count: int = 0
    why: str = ""
    big: str = ""


class Start(Payload):
    text: str


class Add(Payload):
    amount: int = 1


class Grow(Payload):
    by: int


class Do(Payload):
    text: str


class Tell(Payload):
    text: str


class Finished(Payload):
    text: str


class Told(Payload):
    text: str


handlers = reducer(Job)


@handlers.on("start")
def start(job: Job, action: Action[Start]) -> Step[Job]:
    return Step(job.evolve(text=action.payload.text), Do(text=action.payload.text))


@handlers.on("add")
def add(job: Job, action: Action[Add]) -> Step[Job]:
    if action.payload.amount == 13:
        raise RuntimeError("thirteen")
    return Step(job.evolve(count=job.count + action.payload.amount))


@handlers.on("grow")
def grow(job: Job, action: Action[Grow]) -> Step[Job]:
    return Step(job.evolve(big=job.big + "x" * action.payload.by))


@handlers.on("finished")
def finished(job: Job, action: Action[Finished]) -> Step[Job]:
    if action.payload.text == "poison":
        raise ValueError("cannot digest this")
    return Step(job.evolve(text=action.payload.text))


@handlers.on("refused", "unclear")
def ended(job: Job, action: Action[Failure]) -> Step[Job]:
    return Step(job.evolve(why=f"{action.payload.code} after {action.payload.attempts}"))


@handlers.on("wake_me")
def wake_me(job: Job, action: Action[Add]) -> Step[Job]:
    return Step(job, timer("alarm", action.issued_at + timedelta(seconds=action.payload.amount)))


@handlers.on("tell")
def tell(job: Job, action: Action[Told]) -> Step[Job]:
    return Step(job, send("tell_other", action.payload.text, Add(amount=5)))


@handlers.on("shout")
def shout(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, Tell(text="shout"))


FAST = RetryPolicy(max_attempts=3, initial_s=0.001, max_s=0.002)


def intents(delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE) -> dict[str, IntentSpec]:
    ends = {EnumOutcome.SUCCEEDED: "finished", EnumOutcome.FAILED: "refused", EnumOutcome.UNKNOWN: "unclear"}
    return {
        spec.name: spec
        for spec in (
            IntentSpec("do", "api_call", "worker", Do, ends, retry=FAST, delivery=delivery, timeout_s=0.2),
            IntentSpec("shout", "notification", "horn", Tell, retry=FAST),
            IntentSpec("alarm", EnumIntentType.TIMER, trigger="alarm"),
            IntentSpec("tell_other", EnumIntentType.ACTION_SEND, "job", Add, trigger="add"),
        )
    }


MACHINE = Machine(
    "new",
    (
        Transition("new", "working", "start"),
        Transition("new", "new", "add"),
        Transition("new", "new", "grow"),
        Transition("new", "new", "wake_me"),
        Transition("new", "new", "tell"),
        Transition("new", "new", "shout"),
        Transition("new", "rung", "alarm"),
        Transition("new", "watched", "watch"),
        Transition("watched", "late", "too_late"),
        Transition("watched", "new", "unwatch"),
        Transition("rung", "new", "again"),
        Transition("working", "done", "finished"),
        Transition("working", "failed", "refused"),
        Transition("working", "in_doubt", "unclear"),
        Transition("working", "working", "add", (Guard("payload.amount > 0", lambda s, p: p.amount > 0),)),  # type: ignore[attr-defined]
    ),
    frozenset({"done", "failed", "late"}),
    {"watched": Timeout(1_000_000, "too_late")},
)
PAYLOADS: dict[str, type[BaseModel]] = {
    "start": Start,
    "add": Add,
    "grow": Grow,
    "wake_me": Add,
    "tell": Told,
    "shout": Nothing,
    "alarm": Nothing,
    "watch": Nothing,
    "unwatch": Nothing,
    "too_late": Nothing,
    "again": Nothing,
    "finished": Finished,
    "refused": Failure,
    "unclear": Failure,
}


class Worker:
    """An effect that remembers what it did; behaves as the text of the job says."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.tries: dict[str, int] = {}

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        text: str = intent.payload.text  # type: ignore[attr-defined]
        self.tries[intent.idempotency_key] = tried = self.tries.get(intent.idempotency_key, 0) + 1
        if text == "refuse":
            raise EffectFailed("no", code="too_poor")
        if text == "flaky" and tried < 3:
            raise OSError("the line dropped")
        if text == "broken":
            raise OSError("the line dropped")
        if text == "busy" and tried < 2:
            raise EffectFailed("come back", retryable=True)
        if text == "slow":
            await asyncio.sleep(10)
        self.done.append((intent.idempotency_key, text))
        return Result(Finished(text=text) if intent.name == "do" else NOTHING)


def job_reducer(delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE) -> MachineReducer[Job]:
    return MachineReducer("job", handlers, MACHINE, PAYLOADS, intents(delivery))


def registry(
    worker: Worker, digest: bytes = b"1", delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE
) -> ReducerRegistry:
    code = Code("job", "1.0.0", digest.ljust(32, b"\0"), 1)
    served = {"worker": worker, "horn": worker}
    return ReducerRegistry((Workflow(job_reducer(delivery), code, served, public=frozenset({"add", "finished"})),))
