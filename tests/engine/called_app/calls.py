"""A workflow whose instances call a target as often as they are told to, for tests of its policies."""

from __future__ import annotations

from typing import Literal

from onex import Action, BreakerPolicy, EffectIO, Failure, ModelIntent, Nothing, Payload, State, Step, workflow


class Caller(State):
    status: Literal["calling", "done"] = "calling"
    answered: int = 0
    refused: int = 0
    unclear: int = 0


class Go(Payload):
    calls: int = 1
    priority: str = "normal"


class Call(Payload):
    n: int


class Answer(Payload):
    pass


calls = workflow("calls", Caller, terminal=["done"])


@calls.effect("bank", rate_per_s=10, burst=2, retry=3, circuit_breaker=BreakerPolicy(failures=3, open_s=60.0, probes=1))
async def call(intent: ModelIntent[Call], io: EffectIO) -> Answer:
    io.log.info("called", n=intent.payload.n)
    return Answer()


@calls.on("go", "calling -> calling")
def go(caller: Caller, action: Action[Go]) -> Step[Caller]:
    asked = (call.intent(Call(n=n), priority=action.payload.priority) for n in range(action.payload.calls))
    return Step(caller, *asked)


@calls.on(call.succeeded, "calling -> calling")
def answered(caller: Caller, action: Action[Answer]) -> Step[Caller]:
    return Step(caller.evolve(answered=caller.answered + 1))


@calls.on(call.failed, "calling -> calling")
def refused(caller: Caller, action: Action[Failure]) -> Step[Caller]:
    return Step(caller.evolve(refused=caller.refused + 1))


@calls.on(call.unknown, "calling -> calling")
def unclear(caller: Caller, action: Action[Failure]) -> Step[Caller]:
    return Step(caller.evolve(unclear=caller.unclear + 1))


@calls.on("stop", "calling -> calling")
def stop(caller: Caller, action: Action[Nothing]) -> Step[Caller]:
    return Step(caller, call.cancel())


calls.move("end", "calling -> done")
