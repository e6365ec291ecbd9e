"""Steps per second and core in memory: a typed state by validated ``evolve``, one intent; then with ids and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from ..adapters.clock import SystemClock, UuidV7
from ..engine.fold import Rules, fill, fold
from ..engine.mailbox import Entry, Pending
from ..engine.submission import Door
from ..kernel.action import Action, WorkflowKey
from .result import Options, Value, median, number, result, scratch
from .workload import Ask, ask, meter_reducer, registry


def per_second(work: Callable[[], object], count: int, rounds: int = 5) -> float:
    """Median over rounds, by this process's CPU time."""
    rates = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        rates.append(count / (time.process_time() - begun))
    return median(rates)


def run(options: Options) -> dict[str, Value]:
    """Options: steps (50,000), quick."""
    count = int(number(options, "steps", 50_000, 500))
    reducer, table = meter_reducer(), registry()
    state = reducer.initial()
    asked = Action(WorkflowKey("meter", "1"), "ask", Ask(text="why"), bytes(16), 1, bytes(16))
    action: Action[BaseModel] = Action(*asked)
    door = Door(table, SystemClock(), UuidV7())
    key, payload = WorkflowKey("meter", "1"), Ask(text="why")

    def by_hand() -> None:
        for _ in range(count):
            ask(state, asked)

    def stepped() -> None:
        delta = reducer.delta
        for _ in range(count):
            delta(state, action)

    def whole() -> None:
        done = 0
        while done < count:
            entry = Entry(key, table["meter"])
            fill(entry, None)
            pendings: list[Pending] = [door.pending(key, "ask", payload) for _ in range(min(1000, count))]
            fold(entry, pendings, Rules(1, 1, 0))
            done += len(pendings)

    direct, draft, encoded = per_second(by_hand, count), per_second(stepped, count), per_second(whole, count)
    detail: dict[str, Value] = {
        "handler_alone_per_s": round(direct),
        "with_ids_and_bytes_per_s": round(encoded),
        "overhead_over_handler": round(direct / draft - 1, 3),
    }
    with scratch() as name:
        return result("steps/s per core", draft, Path(name), detail=detail)
