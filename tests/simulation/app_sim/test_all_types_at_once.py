"""Every workflow that is shipped, in one engine: more than a hundred instances at once, while faults happen.

Of the four built-in workflows that the source documents name, code_analysis is there, with three types of its own. The others
(document_regeneration, pr_creation, multi_modal) are not written yet; orders, billing and the agent's run stand in for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

import onex.workflows.code_analysis
from onex.kernel.errors import OnexError
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.schedule import Act, Script
from onex.simulation.app_sim.values import Values
from onex.testing.harness import action
from tests.laws.tree import ROOT

APPS = (
    Path(onex.workflows.code_analysis.__file__).parent,
    *(ROOT / "examples" / name for name in ("orders", "billing", "agent")),
)
EACH = 35
CLIENTS = 20
WITHIN_S = 2.0


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


def all_types() -> AppUnderTest:
    first, *others = (load_app_under_test(app) for app in APPS)
    for other in others:
        workflows = {**first.workflows, **other.workflows}
        assert len(workflows) == len(first.workflows) + len(other.workflows), "a type of one name is lost"
        first = replace(
            first,
            app=replace(first.app, name="all types", workflows=workflows),
            stand_ins={**first.stand_ins, **other.stand_ins},
            invariants={**first.invariants, **other.invariants},
            triggers={**first.triggers, **other.triggers},
        )
    return first


def begin(under_test: AppUnderTest, name: str, number: int, chance: Random) -> Act:
    """An instance begins with an action that its initial state accepts, sent at once or nearly."""
    reducer = under_test.workflows[name].reducer
    state = reducer.initial()
    trigger = next(one for one in under_test.triggers[name] if one in reducer.accepts(state))
    values = Values(chance, ["a"])
    while True:
        payload = values.of(reducer.payloads[trigger])
        try:
            reducer.delta(state, action(trigger, payload))
        except OnexError:
            continue
        sent = payload.model_dump(mode="json", exclude_unset=True)
        at_us = chance.randrange(int(WITHIN_S * 1e6))
        return Act(number % CLIENTS, number, at_us, f"{name}:{number}", trigger, sent or None)


def crowd(under_test: AppUnderTest, seed: int, where: Workspace) -> Script:
    """Faults as they are drawn for this seed, and a crowd of instances in place of the few of a drawn run."""
    drawn = run_app(under_test, Script(seed, "memory" if seed % 2 else "sqlite"), where, drawn=True)
    assert drawn.violations == []
    chance = Random(seed)
    begun = [
        begin(under_test, name, number, chance)
        for number, name in enumerate(EACH * [name for name, own in under_test.triggers.items() if own])
    ]
    return replace(drawn.script, acts=tuple(sorted(begun, key=lambda act: act.at_us)))


@pytest.mark.parametrize("seed", [3, 4])
def test_a_hundred_instances_of_all_types_hold_every_promise_under_faults(seed: int, where: Workspace) -> None:
    under_test = all_types()
    script = crowd(under_test, seed, where)
    result: AppRun = run_app(under_test, script, where, drawn=False)
    assert result.violations == []
    begun: Counter[str] = Counter()
    for act in script.acts:
        name = act.key.partition(":")[0]
        begun[name] = result.coverage.triggers[f"{name}.{act.trigger}"]
    assert len(begun) >= 4 and min(begun.values()) >= EACH * 0.9
    assert sum(begun.values()) >= 100
    assert any(times for fault, times in result.counted.items() if fault.startswith("crash"))
    again = run_app(under_test, script, where, drawn=False)
    assert again.log_hash == result.log_hash
