"""Whether an objective is met over its window, from the minutes that are recorded in the store.

    budget   = (1 - target) * minutes of the window     so many may be bad
    used     = bad minutes, and for availability those in which nobody measured
    measured = 1 - used / minutes of the window
    met      = used <= budget, which says the same as measured >= target

A minute in which nothing happened (no action, no retry) is not bad. So a new objective is met until it has used its budget, and
``observed`` says how much of the window it stands on.

Nobody measures while no engine runs: for ``availability`` these minutes are down time. They are known when the next engine has
recorded a minute. The minute that runs, and the one that has just ended, are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...contracts.alerts.alerts_model import ModelObjective
from ...workflows.alerts.onex_objectives.payloads import Measured, Objectives

OBJECTIVES_KEY = "onex_objectives:store"
MINUTE_US = 60_000_000


class Compliance(NamedTuple):
    """Minutes are whole numbers. ``budget_left`` is a part of the budget, below 0 when more was used."""

    name: str
    metric: str
    bound: str
    window_s: int
    target: float
    measured: float
    met: bool
    good: int
    bad: int
    absent: int
    observed: int
    budget_minutes: float
    budget_left: float


def compliance(name: str, objective: ModelObjective, measured: Measured | None, number: int) -> Compliance:
    """``number``: the minute of now, counted since 1970."""
    window = objective.window_s // 60
    good = bad = absent = observed = 0
    if measured is not None:
        oldest = number - window
        kept = [slot for slot in measured.slots if slot.begins + measured.slot_min > oldest]
        good, bad = sum(slot.good for slot in kept), sum(slot.bad for slot in kept)
        observed = max(0, min(window, number - measured.since))
        if objective.signal.absent_is_bad:
            absent = max(0, min(window, number - 1 - measured.since) - good - bad)
    used = bad + absent
    budget = (1 - objective.target) * window
    left = 1 - used / budget if budget > 1e-9 else 1.0 if not used else -float(used)
    share = max(0.0, 1 - used / window)
    met = used <= budget + 1e-9
    return Compliance(
        name, objective.metric, objective.bound, objective.window_s, objective.target, share, met,
        good, bad, absent, observed, round(budget, 6), round(left, 6),
    )  # fmt: skip


def report(objectives: Mapping[str, ModelObjective], recorded: Objectives | None, number: int) -> list[Compliance]:
    """Of all, in the order of the file."""
    measured: Mapping[str, Measured] = {} if recorded is None else recorded.measured
    return [compliance(name, one, measured.get(name), number) for name, one in objectives.items()]
