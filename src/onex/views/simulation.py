"""Simulated lives of an app as JSON: what came of them, and the story of one that broke."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from ..kernel.step import ROLLBACK
from ..simulation.app_sim.fault_plan import POINTS
from ..simulation.app_sim.observer import Violation
from ..simulation.app_sim.run import Life, Line
from ..simulation.app_sim.runner import Season, Total
from ..simulation.app_sim.stage import Stage


@dataclass(frozen=True)
class Shrunk:
    """A life that broke something, and the shortest found that breaks the same. ``runs`` and ``seconds`` it took."""

    life: Life
    shortest: Life
    runs: int
    seconds: float
    in_time: bool

    @property
    def violation(self) -> Violation:
        return (self.shortest.violations or self.life.violations)[0]

    @property
    def story(self) -> list[Line]:
        return self.shortest.story


def simulation_json(
    stage: Stage,
    season: Season,
    total: Total,
    seconds: float,
    shrunk: Shrunk | None,
    *,
    life: Life | None = None,
    stopped: bool = False,
) -> dict[str, object]:
    seen = total.seen
    told: dict[str, object] = {
        "ok": total.broken is None,
        "app": stage.app.name,
        "store": season.store,
        "first_seed": season.first,
        "lives": total.lives,
        "stopped": stopped,
        "seconds": round(seconds, 3),
        "virtual_s": round(total.virtual_s, 3),
        "steps": total.steps,
        "actions": seen.actions,
        "commits": seen.commits,
        "effects": seen.effects,
        "faults": faults_of(total),
        "statuses": dict(sorted(seen.statuses.items())),
        "triggers": dict(sorted(seen.triggers.items())),
        "intents": dict(sorted(seen.intents.items())),
        "refused": dict(sorted(seen.refused.items())),
        "reducer_failed": total.failures,
        "never": never_seen(stage, total),
        "not_sent": dict(stage.undrawable),
        "invariants": list(stage.invariants),
        "broken": None if shrunk is None else _broken_json(shrunk),
    }
    if life is not None:
        told["trace_hash"], told["log_hash"], told["story"] = life.trace_hash, life.log_hash, _story_json(life.story)
    return told


def _broken_json(shrunk: Shrunk) -> dict[str, JsonValue]:
    first, script = shrunk.life.script, shrunk.shortest.script
    return {
        "seed": first.seed,
        "store": first.store,
        "rule": shrunk.violation.rule,
        "text": shrunk.violation.text,
        "trace_hash": shrunk.life.trace_hash,
        "actions": len(script.acts),
        "faults": len(script.hits),
        "shortened_from": first.size,
        "runs": shrunk.runs,
        "story": _story_json(shrunk.story),
    }


def _story_json(story: Iterable[Line]) -> list[JsonValue]:
    return [{"at_s": line.at_s, "who": line.who, "what": line.what} for line in story]


def never_seen(stage: Stage, total: Total) -> list[str]:
    """Statuses nobody reached and triggers nobody could apply, by workflow."""
    missing: list[str] = []
    for name, one in stage.workflows.items():
        machine = one.reducer.machine
        begun = f"{name}.{machine.initial}"
        statuses = [f"{name}.{status}" for status in machine.statuses]
        triggers = [f"{name}.{trigger}" for trigger in one.reducer.payloads if trigger != ROLLBACK]
        missing += [f"reached {what}" for what in statuses if what not in total.seen.statuses and what != begun]
        missing += [f"applied {what}" for what in triggers if what not in total.seen.triggers]
    return missing


def faults_of(total: Total) -> dict[str, int]:
    known = {name: count for name, count in total.counted.items() if name in POINTS or name.startswith("action ")}
    return dict(sorted(known.items(), key=lambda pair: (-pair[1], pair[0])))
