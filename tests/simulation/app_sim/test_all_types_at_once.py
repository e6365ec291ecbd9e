"""Every workflow that is shipped, in one engine: more than a hundred instances at once, while faults happen.

Of the four built-in workflows that the source documents name, code_analysis is there, with three types of its own. The others
(document_regeneration, pr_creation, multi_modal) are not written yet; orders, billing and the agent's run stand in for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

import onex.workflows.code_analysis
from onex.kernel.errors import OnexError
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.schedule import Act, Hit, Script, StoreKind
from onex.simulation.app_sim.values import Values
from onex.testing.harness import action
from tests.laws.tree import ROOT

APPS = (
    Path(onex.workflows.code_analysis.__file__).parent,
    *(ROOT / "examples" / name for name in ("orders", "billing", "agent")),
)
EACH = 20
CLIENTS = 20
BEGIN_US, FAULTS_US = 2_000_000, 5_000_000
FAULTS = (
    "crash at any time", "crash after commit", "commit lost", "commit answer lost", "commit refused", "read fails", "disk full",
    "ownership stolen", "clock jumps", "effect fails before", "effect fails after", "effect kills its process after", "effect busy",
)  # fmt: skip


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


@cache
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
        at_us = chance.randrange(BEGIN_US)
        return Act(number % CLIENTS, number, at_us, f"{name}:{number}", trigger, sent or None)


def crowd(under_test: AppUnderTest, store: StoreKind) -> Script:
    """All begin within two seconds, while each fault happens twice."""
    chance = Random(7)
    types = [name for name, own in under_test.triggers.items() if own]
    begun = [begin(under_test, name, number, chance) for number, name in enumerate(EACH * types)]
    hits = [Hit(point, chance.randrange(FAULTS_US), 0, chance.random()) for point in 2 * FAULTS]
    return Script(
        7,
        store,
        tuple(sorted(begun, key=lambda act: act.at_us)),
        tuple(sorted(hits, key=lambda hit: hit.at_us)),
        peace_us=FAULTS_US,
    )


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_hundred_instances_of_all_types_hold_every_promise_under_faults(store: StoreKind, where: Workspace) -> None:
    under_test = all_types()
    script = crowd(under_test, store)
    result: AppRun = run_app(under_test, script, where, drawn=False)
    assert result.violations == []
    begun: Counter[str] = Counter()
    for act in script.acts:
        name = act.key.partition(":")[0]
        begun[name] = result.coverage.triggers[f"{name}.{act.trigger}"]
    assert len(begun) >= 4 and min(begun.values()) >= EACH * 0.9
    assert sum(begun.values()) >= 100
    happened = {fault for fault in FAULTS if result.counted[fault]}
    assert len(happened) > len(FAULTS) / 2 and any(fault.startswith("crash") for fault in happened)
