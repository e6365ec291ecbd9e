"""What ``onex simulate`` says: what came of many lives, what never happened in them, and the story of one that broke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from ..kernel.step import ROLLBACK
from ..simulation.app_sim.fault_plan import POINTS
from ..simulation.app_sim.observer import Violation
from ..simulation.app_sim.run import Life, Line
from ..simulation.app_sim.runner import Season, Total
from ..simulation.app_sim.saved_test import story_lines
from ..simulation.app_sim.stage import Stage
from .console import counted, fields, harmless, say, short, styled

WIDEST = 160
ENGINE = "what an engine promises"


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


def tell_total(stage: Stage, season: Season, total: Total, seconds: float) -> None:
    seen = total.seen
    speed = total.lives / max(seconds, 1e-9) * 60
    hours = total.virtual_s / 3600
    rules = [ENGINE, *stage.invariants]
    say(
        f"{counted(total.lives, 'life') if total.lives == 1 else f'{total.lives:,} lives'} of {stage.app.name} "
        f"in {seconds:,.1f} s ({speed:,.0f} a minute), {hours:,.1f} hours of theirs"
    )
    refused = sum(count for name, count in seen.refused.items() if ": an intent is " not in name)
    faults = _faults(total)
    pairs = [
        ("actions", f"{seen.actions:,} in {counted(seen.commits, 'commit')}, {refused:,} refused"),
        ("effects", f"{seen.effects:,}"),
        ("faults", f"{sum(faults.values()):,} of {len(faults)} kinds: {_listed(faults)}"),
        ("statuses", _listed(seen.statuses, 30)),
    ]
    if seen.refused:
        pairs.append(("refused", _listed(seen.refused)))
    pairs += [("reducer failed", harmless(f"{name}: {said}")) for name, said in sorted(total.failures.items())]
    if never := never_seen(stage, total):
        pairs.append(("never", f"{', '.join(never)}: what never happened was not tried"))
    pairs += [("not sent", f"{name}: {why}") for name, why in sorted(stage.undrawable.items())]
    fields([(name, short(value, 4 * WIDEST)) for name, value in pairs])
    if total.broken is None and total.lives:
        say(styled(f"held: {', '.join(rules)}", "green"))


def tell_life(life: Life) -> None:
    """The whole story of one seed."""
    _tell_story(life.story)
    say(f"seed {life.script.seed} on {life.script.store}: {_held(life)}; trace {life.trace_hash}")


def _held(life: Life) -> str:
    if life.violations:
        return styled(harmless(str(life.violations[0])), "red")
    return styled("everything held", "green")


def tell_broken(stage: Stage, shrunk: Shrunk) -> None:
    script, first = shrunk.shortest.script, shrunk.life.script
    say()
    say(f"{styled('broken', 'red')} {harmless(str(shrunk.violation))}")
    say(
        f"seed {first.seed} on {first.store}: {counted(len(script.acts), 'action')}, {counted(len(script.hits), 'fault')}"
    )
    say()
    _tell_story(shrunk.story)
    say()
    enough = "" if shrunk.in_time else "; --shrink-seconds gives more time"
    say(
        f"shortened from {counted(len(first.acts), 'action')} and {counted(len(first.hits), 'fault')} "
        f"in {shrunk.runs} runs, {shrunk.seconds:.1f} s{enough}"
    )
    say(f"again: onex simulate {stage.app.root.name} --seed {first.seed}; --save-test FILE keeps it as a test")


def _tell_story(story: Iterable[Line]) -> None:
    for line in story_lines(story):
        say(harmless(short(line, WIDEST)))


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


def _faults(total: Total) -> dict[str, int]:
    known = {name: count for name, count in total.counted.items() if name in POINTS or name.startswith("action ")}
    return dict(sorted(known.items(), key=lambda pair: (-pair[1], pair[0])))


def _listed(counts: Mapping[str, int], most: int = 8) -> str:
    """The most frequent ones."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:most]) + more


# --- JSON -------------------------------------------------------------------------------------------------------------


def as_json(
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
        "faults": _faults(total),
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
