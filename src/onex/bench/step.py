"""Steps per second in memory: a typed state changed by a validated ``evolve``, and one intent; then with ids and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from uuid import UUID

from pydantic import BaseModel

from ..engine.encode import encode, encode_intents, encode_payload
from ..kernel.action import Action, Payload, WorkflowKey
from ..kernel.intent import IntentSpec, intent_id
from ..kernel.machine import Machine, MachineReducer, Transition, reducer
from ..kernel.step import State, Step, fold
from .measurement import Goal, Measurement, Result, ratio_of_pairs, rounded
from .options import Options

STEPS = 20_000
KEY = WorkflowKey("counter", "1")


class StepCounter(State):
    steps: int = 0
    total: int = 0


class Count(Payload):
    by: int


class CountedTotal(Payload):
    total: int


counters = reducer(StepCounter)


@counters.on("count")
def count(counter: StepCounter, action: Action[Count]) -> Step[StepCounter]:
    total = counter.total + action.payload.by
    return Step(counter.evolve(steps=counter.steps + 1, total=total), CountedTotal(total=total))


COUNTER = MachineReducer(
    "counter",
    counters,
    Machine("open", (Transition("open", "open", "count"),)),
    {"count": Count},
    {"counted_total": IntentSpec("counted_total", "notification", "desk", CountedTotal)},
)


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    actions = _actions(chosen.count(STEPS, 200))
    ways = (_by_hand, _stepped, _folded, _with_bytes)
    slices = [[_per_s(way, actions) for way in ways] for _ in range(chosen.pairs * 2 + 1)]
    by_hand, stepped, folded, with_bytes = ([one[n] for one in slices] for n in range(len(ways)))
    value, complete = median(folded), median(with_bytes)
    overhead = ratio_of_pairs(by_hand, stepped) - 1
    with chosen.place() as folder:
        return Measurement(
            "steps/s",
            value,
            ceiling=median(by_hand),
            ratio=ratio_of_pairs(folded, by_hand),
            targets=[
                Goal("steps/s", value, 250_000, 550_000),
                Goal("steps/s with ids and bytes", complete, 100_000, 250_000),
                Goal("overhead over calling the handler", overhead, 0.5, 0.25, at_most=True),
            ],
            detail={
                "steps": len(actions),
                "handler_per_s": round(median(by_hand)),
                "steps_not_kept_per_s": round(median(stepped)),
                "overhead_with_intents_kept": rounded(ratio_of_pairs(by_hand, folded) - 1),
                "with_ids_and_bytes_per_s": round(complete),
            },
        ).result(folder)


def _actions(count: int) -> list[Action[BaseModel]]:
    return [Action(KEY, "count", Count(by=n % 7), n.to_bytes(16), n, bytes(16)) for n in range(1, count + 1)]


def _per_s(work: Callable[[list[Action[BaseModel]]], int], actions: list[Action[BaseModel]]) -> float:
    """In CPU time: other processes of a shared machine do not count."""
    started = time.process_time()
    steps = work(actions)
    spent = time.process_time() - started
    assert steps == len(actions), "every step was taken"
    return len(actions) / max(spent, 1e-9)


def _by_hand(actions: list[Action[BaseModel]]) -> int:
    """The user's function alone: no transition table, no checks."""
    counter = COUNTER.initial()
    by_hand = counters.by_trigger["count"]
    for action in actions:
        counter = by_hand(counter, action).state
    return counter.steps


def _stepped(actions: list[Action[BaseModel]]) -> int:
    """What the engine calls for each action. As by hand, no intent is kept."""
    counter = COUNTER.initial()
    for action in actions:
        counter = COUNTER.delta(counter, action).state
    return counter.steps


def _folded(actions: list[Action[BaseModel]]) -> int:
    """``fold`` keeps every intent to the end, so this pays for the garbage collector too."""
    return fold(COUNTER, actions).state.steps


def _with_bytes(actions: list[Action[BaseModel]]) -> int:
    """A step that is to be stored: canonical bytes of payload, intents and state, and the id of each intent."""
    counter = COUNTER.initial()
    for action in actions:
        encode_payload(action.payload)
        done = COUNTER.delta(counter, action)
        counter = done.state
        encode_intents(done.intents)
        encode(counter)
        for n, emitted in enumerate(done.intents):
            intent_id(UUID(bytes=action.id), KEY, emitted.name, n)
    return counter.steps
