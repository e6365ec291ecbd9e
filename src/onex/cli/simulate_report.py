"""What ``onex simulate`` says: what came of many lives, what never happened in them, and the story of one that broke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..simulation.app_sim.run import Life, Line
from ..simulation.app_sim.runner import Season, Total
from ..simulation.app_sim.saved_test import story_lines
from ..simulation.app_sim.stage import Stage
from ..views.simulation import Shrunk, faults_of, never_seen
from .console import counted, fields, harmless, say, short, styled

WIDEST = 160
ENGINE = "what an engine promises"


def show_total(stage: Stage, season: Season, total: Total, seconds: float) -> None:
    seen = total.seen
    speed = total.lives / max(seconds, 1e-9) * 60
    hours = total.virtual_s / 3600
    rules = [ENGINE, *stage.invariants]
    say(
        f"{counted(total.lives, 'life') if total.lives == 1 else f'{total.lives:,} lives'} of {stage.app.name} "
        f"in {seconds:,.1f} s ({speed:,.0f} a minute), {hours:,.1f} hours of theirs"
    )
    refused = sum(count for name, count in seen.refused.items() if ": an intent is " not in name)
    faults = faults_of(total)
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


def show_run(life: Life) -> None:
    """The whole story of one seed."""
    _show_story(life.story)
    say(f"seed {life.script.seed} on {life.script.store}: {_held(life)}; trace {life.trace_hash}")


def _held(life: Life) -> str:
    if life.violations:
        return styled(harmless(str(life.violations[0])), "red")
    return styled("everything held", "green")


def show_broken(stage: Stage, shrunk: Shrunk) -> None:
    script, first = shrunk.shortest.script, shrunk.life.script
    say()
    say(f"{styled('broken', 'red')} {harmless(str(shrunk.violation))}")
    say(
        f"seed {first.seed} on {first.store}: {counted(len(script.acts), 'action')}, {counted(len(script.hits), 'fault')}"
    )
    say()
    _show_story(shrunk.story)
    say()
    enough = "" if shrunk.in_time else "; --shrink-seconds gives more time"
    say(
        f"shortened from {counted(len(first.acts), 'action')} and {counted(len(first.hits), 'fault')} "
        f"in {shrunk.runs} runs, {shrunk.seconds:.1f} s{enough}"
    )
    say(f"again: onex simulate {stage.app.root.name} --seed {first.seed}; --save-test FILE keeps it as a test")


def _show_story(story: Iterable[Line]) -> None:
    for line in story_lines(story):
        say(harmless(short(line, WIDEST)))


def _listed(counts: Mapping[str, int], most: int = 8) -> str:
    """The most frequent ones."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:most]) + more
