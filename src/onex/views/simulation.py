"""Simulated runs of an app as JSON: what came of them, and the story of one that broke."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from ..kernel.step import ROLLBACK
from ..simulation.app_sim.app_under_test import AppUnderTest
from ..simulation.app_sim.fault_plan import POINTS
from ..simulation.app_sim.observer import Violation
from ..simulation.app_sim.run import AppRun, StoryLine
from ..simulation.app_sim.runner import RunPlan, RunTotals


@dataclass(frozen=True)
class Shrunk:
    """A run that broke something, and the shortest found that breaks the same. ``runs`` and ``seconds`` it took."""

    result: AppRun
    shortest: AppRun
    runs: int
    seconds: float
    in_time: bool

    @property
    def violation(self) -> Violation:
        return (self.shortest.violations or self.result.violations)[0]

    @property
    def story(self) -> list[StoryLine]:
        return self.shortest.story


def simulation_json(
    under_test: AppUnderTest,
    plan: RunPlan,
    totals: RunTotals,
    seconds: float,
    shrunk: Shrunk | None,
    *,
    result: AppRun | None = None,
    stopped: bool = False,
) -> dict[str, object]:
    coverage = totals.coverage
    document: dict[str, object] = {
        "ok": totals.broken is None and totals.runs > 0,
        "app": under_test.app.name,
        "store": plan.store,
        "first_seed": plan.first,
        "lives": totals.runs,
        "stopped": stopped,
        "seconds": round(seconds, 3),
        "virtual_s": round(totals.virtual_s, 3),
        "steps": totals.steps,
        "actions": coverage.actions,
        "commits": coverage.commits,
        "effects": coverage.effects,
        "faults": faults_of(totals),
        "statuses": dict(sorted(coverage.statuses.items())),
        "triggers": dict(sorted(coverage.triggers.items())),
        "intents": dict(sorted(coverage.intents.items())),
        "refused": dict(sorted(coverage.refused.items())),
        "reducer_failed": totals.failures,
        "never": never_seen(under_test, totals),
        "not_sent": dict(under_test.undrawable),
        "invariants": list(under_test.invariants),
        "broken": None if shrunk is None else _broken_json(shrunk),
    }
    if result is not None:
        document["trace_hash"], document["log_hash"], document["story"] = (
            result.trace_hash,
            result.log_hash,
            _story_json(result.story),
        )
    return document


def _broken_json(shrunk: Shrunk) -> dict[str, JsonValue]:
    first, script = shrunk.result.script, shrunk.shortest.script
    return {
        "seed": first.seed,
        "store": first.store,
        "rule": shrunk.violation.rule,
        "text": shrunk.violation.text,
        "trace_hash": shrunk.result.trace_hash,
        "actions": len(script.acts),
        "faults": len(script.hits),
        "shortened_from": first.size,
        "runs": shrunk.runs,
        "story": _story_json(shrunk.story),
    }


def _story_json(story: Iterable[StoryLine]) -> list[JsonValue]:
    return [{"at_s": line.at_s, "who": line.who, "what": line.what} for line in story]


def never_seen(under_test: AppUnderTest, totals: RunTotals) -> list[str]:
    """Statuses nobody reached and triggers nobody could apply, by workflow."""
    missing: list[str] = []
    for name, one in under_test.workflows.items():
        machine = one.reducer.machine
        begun = f"{name}.{machine.initial}"
        statuses = [f"{name}.{status}" for status in machine.statuses]
        triggers = [f"{name}.{trigger}" for trigger in one.reducer.payloads if trigger != ROLLBACK]
        missing += [f"reached {what}" for what in statuses if what not in totals.coverage.statuses and what != begun]
        missing += [f"applied {what}" for what in triggers if what not in totals.coverage.triggers]
    return missing


def faults_of(totals: RunTotals) -> dict[str, int]:
    known = {name: count for name, count in totals.counted.items() if name in POINTS or name.startswith("action ")}
    return dict(sorted(known.items(), key=lambda pair: (-pair[1], pair[0])))
