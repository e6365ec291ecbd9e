"""What ``onex simulate`` says: what came of many runs, what never happened in them, and the story of one that broke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..simulation.app_sim.app_under_test import AppUnderTest
from ..simulation.app_sim.run import AppRun, StoryLine
from ..simulation.app_sim.runner import RunPlan, RunTotals
from ..simulation.app_sim.saved_test import story_lines
from ..views.simulation import Shrunk, faults_of, never_seen
from .console import counted, fields, harmless, say, short, styled

WIDEST = 160
ENGINE = "all promises of the engine"


def show_total(under_test: AppUnderTest, plan: RunPlan, totals: RunTotals, seconds: float) -> None:
    coverage = totals.coverage
    speed = totals.runs / max(seconds, 1e-9) * 60
    hours = totals.virtual_s / 3600
    rules = [ENGINE, *under_test.invariants]
    say(
        f"{counted(totals.runs, 'run')} of {under_test.app.name} "
        f"in {seconds:,.1f} s ({speed:,.0f} a minute), {hours:,.1f} hours of simulated time"
    )
    if not totals.runs:
        say("no run was finished")
        return
    refused = sum(count for name, count in coverage.refused.items() if ": an intent is " not in name)
    faults = faults_of(totals)
    pairs = [
        ("actions", f"{coverage.actions:,} in {counted(coverage.commits, 'commit')}, {refused:,} refused"),
        ("effects", f"{coverage.effects:,}"),
        ("faults", f"{sum(faults.values()):,} of {len(faults)} kinds: {_listed(faults)}"),
        ("statuses", _listed(coverage.statuses, 30)),
    ]
    if coverage.refused:
        pairs.append(("refused", _listed(coverage.refused)))
    pairs += [("reducer failed", harmless(f"{name}: {said}")) for name, said in sorted(totals.failures.items())]
    if never := never_seen(under_test, totals):
        pairs.append(("never", f"{', '.join(never)}: this did not happen in any run, so it was not tested"))
    pairs += [("not sent", f"{name}: {why}") for name, why in sorted(under_test.undrawable.items())]
    fields([(name, short(value, 4 * WIDEST)) for name, value in pairs])
    if totals.broken is None:
        say(styled(f"held: {', '.join(rules)}", "green"))


def show_run(result: AppRun) -> None:
    """All events of one seed."""
    _show_story(result.story)
    say(f"seed {result.script.seed} on {result.script.store}: {_held(result)}; trace {result.trace_hash}")


def _held(result: AppRun) -> str:
    if result.violations:
        return styled(harmless(str(result.violations[0])), "red")
    return styled("every invariant held", "green")


def show_broken(under_test: AppUnderTest, shrunk: Shrunk) -> None:
    script, first = shrunk.shortest.script, shrunk.result.script
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
    say(f"again: onex simulate {under_test.shown} --seed {first.seed}; --save-test FILE saves it as a test")


def _show_story(story: Iterable[StoryLine]) -> None:
    for line in story_lines(story):
        say(harmless(short(line, WIDEST)))


def _listed(counts: Mapping[str, int], most: int = 8) -> str:
    """The most frequent ones first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:most]) + more
