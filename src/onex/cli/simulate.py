"""``onex simulate``: runs an app under simulated crashes and faults; a failure is one seed and a readable schedule."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ..simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from ..simulation.app_sim.fault_plan import POINTS
from ..simulation.app_sim.run import AppRun, run_app
from ..simulation.app_sim.runner import STORES, RunPlan, RunTotals, run_all, workspace
from ..simulation.app_sim.saved_test import test_text
from ..simulation.app_sim.shrink import SECONDS, Shrinker
from ..views.simulation import Shrunk, simulation_json
from .console import note, say_json
from .exit_codes import FOUND, INTERRUPTED, Misused
from .progress import ProgressBar
from .simulate_report import show_broken, show_run, show_total
from .store_options import AppPath, Json

SEEDS = 200


def simulate(
    app: AppPath,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", metavar="N", min=1, help=f"Number of runs, one seed each. [default: {SEEDS}, without --minutes]"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="S", min=0, help="The first seed. Without --seeds only this run, with all its events."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="M", min=0.01, help="Run for so many minutes.")
    ] = None,
    store: Annotated[str, typer.Option("--store", metavar="KIND", help="sqlite, memory or both.")] = "both",
    shrink_s: Annotated[
        float,
        typer.Option("--shrink-seconds", metavar="SECONDS", min=0.0, help="How long to search for a shorter schedule."),
    ] = SECONDS,
    save_test: Annotated[
        Path | None, typer.Option("--save-test", metavar="FILE", help="Write the failure as a test that replays it.")
    ] = None,
    real_compute: Annotated[
        bool, typer.Option("--real-compute", help="Call the app's compute functions; otherwise fakes replace them.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. [default: one per core]")
    ] = None,
    as_json_: Json = False,
) -> None:
    """Run an app under crashes and faults on a virtual clock; each run is one seed.

    Each run has the real engine on a real store, and clients who send what the contracts allow. There are crashes, lost
    answers, failing effects, clocks that jump and weeks that pass. Then the faults stop, and the result is checked. The
    app's effects are never called: fakes replace them. Exit code 1: an invariant was broken. Then the seed is shown, and
    the shortest schedule found that breaks the same invariant. A simulation.py beside the contract may define what
    clients do, the fakes of effects, and further invariants.

    \b
    Examples:
      onex simulate examples/orders
      onex simulate examples/orders --minutes 5
      onex simulate examples/orders --seed 42
      onex simulate shop --seeds 2000 --save-test tests/test_found.py
    """
    if store not in STORES:
        raise Misused(f"--store {store!r} cannot be simulated; choose one of {', '.join(STORES)}")
    if save_test is not None and (save_test.exists() or not save_test.absolute().parent.is_dir()):
        why = "exists; name another file" if save_test.exists() else "lies in a folder that does not exist; make it"
        raise Misused(f"--save-test: {save_test} {why}")
    under_test = load_app_under_test(app, real_compute=real_compute)
    alone = seed is not None and seeds is None and minutes is None
    count = 1 if alone else SEEDS if seeds is None and minutes is None else seeds
    plan = RunPlan(str(app), seed or 0, count, store, real_compute)
    if alone:
        _one(under_test, plan, shrink_s, save_test, as_json_=as_json_)
        return
    began_s = time.monotonic()
    totals, stopped = _many(plan, workers or _cores(), minutes)
    shrunk = None if totals.broken is None or stopped else _shrunk(under_test, totals.broken, shrink_s)
    if as_json_:
        say_json(simulation_json(under_test, plan, totals, time.monotonic() - began_s, shrunk, stopped=stopped))
    else:
        show_total(under_test, plan, totals, time.monotonic() - began_s)
        if shrunk is not None:
            show_broken(under_test, shrunk)
    _finish(under_test, shrunk, save_test)
    if stopped:
        raise typer.Exit(INTERRUPTED)


def _many(plan: RunPlan, processes: int, minutes: float | None) -> tuple[RunTotals, bool]:
    """The result, and whether Ctrl-C stopped it."""
    totals = RunTotals()
    began_s = time.monotonic()
    end_s = None if minutes is None else began_s + 60 * minutes
    chunks = run_all(plan, processes)
    try:
        with ProgressBar("simulating", "runs") as bar:
            for chunk in chunks:
                totals.add(chunk)
                _show_progress(bar, plan, totals, began_s, end_s)
                if end_s is not None and time.monotonic() >= end_s:
                    break
    except KeyboardInterrupt:
        note("stopped; the result so far:")
        return totals, True
    finally:
        chunks.close()
    return totals, False


def _one(under_test: AppUnderTest, plan: RunPlan, shrink_s: float, save_test: Path | None, *, as_json_: bool) -> None:
    """One seed with all its events, and the shortest schedule that breaks the same invariant."""
    began_s = time.monotonic()
    with workspace() as where:
        result = run_app(under_test, plan.script(plan.first), where, drawn=True, keep_story=True)
    totals = RunTotals.of(result)
    shrunk = _shrunk(under_test, result, shrink_s) if result.violations else None
    if as_json_:
        say_json(simulation_json(under_test, plan, totals, time.monotonic() - began_s, shrunk, result=result))
    else:
        show_run(result)
        if shrunk is not None:
            show_broken(under_test, shrunk)
    _finish(under_test, shrunk, save_test)


def _shrunk(under_test: AppUnderTest, result: AppRun, seconds: float) -> Shrunk:
    began_s = time.monotonic()
    rule = result.violations[0].rule
    if seconds and sys.stderr.isatty():
        note(f"seed {result.script.seed} breaks {result.violations[0]}; searching for a shorter schedule ...")
    with workspace() as where:
        work = Shrinker(under_test, result.script, rule, where, seconds)
        try:
            work.run()
        except KeyboardInterrupt:
            work.in_time = False  # the failure counts more than a short schedule: report the shortest so far
    with workspace() as where:  # a new folder: an interrupted run leaves its store half-written
        again = run_app(under_test, work.script, where, drawn=False, keep_story=True)
    return Shrunk(result, again, work.runs, time.monotonic() - began_s, work.in_time)


def _finish(under_test: AppUnderTest, shrunk: Shrunk | None, save_test: Path | None) -> None:
    if shrunk is None:
        if save_test is not None:
            note(f"nothing broke, so {save_test} was not written")
        return
    if save_test is not None:
        result = shrunk.shortest
        text = test_text(result.script, shrunk.violation, result.story, under_test.app.root, save_test)
        save_test.write_text(text)
        note(f"saved as {save_test}: it fails until this is fixed")
    raise typer.Exit(FOUND)


def _cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show_progress(bar: ProgressBar, plan: RunPlan, totals: RunTotals, began_s: float, end_s: float | None) -> None:
    """Whichever ends first, the seeds or the time, says how far it is."""
    spent_s = max(time.monotonic() - began_s, 1e-9)
    shares = [totals.runs / plan.seeds] if plan.seeds else []
    shares += [spent_s / (end_s - began_s)] if end_s is not None else []
    faults = sum(count for name, count in totals.counted.items() if name in POINTS)
    rate = 60 * totals.runs / spent_s
    bar.update(
        min(1.0, max(shares, default=0.0)), 1.0, f"{totals.runs:,} runs, {rate:,.0f} a minute, {faults:,} faults"
    )
