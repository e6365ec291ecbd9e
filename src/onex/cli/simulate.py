"""``onex simulate``: an app under every fault we know, life after life; what breaks is one seed and a schedule to read."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..simulation.app_sim.run import Life, live
from ..simulation.app_sim.runner import STORES, Season, Total, place, play_season
from ..simulation.app_sim.saved_test import test_text
from ..simulation.app_sim.shrink import SECONDS, Shrinking
from ..simulation.app_sim.stage import Stage, set_stage
from ..views.simulation import Shrunk, simulation_json
from .console import note, say_json
from .exit_codes import FOUND, INTERRUPTED, Misused
from .simulate_report import show_broken, show_run, show_total
from .store_options import AppPath, Json

SEEDS = 200


def simulate(
    app: AppPath,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help=f"How many lives. [default: {SEEDS}, without --minutes]"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="S", min=0, help="The first seed; without --seeds only this one, with its story."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="M", min=0.01, help="Go on until so much time is over.")
    ] = None,
    store: Annotated[str, typer.Option("--store", metavar="KIND", help="sqlite, memory or both.")] = "both",
    shrink_s: Annotated[
        float, typer.Option("--shrink-seconds", metavar="SECONDS", min=0.0, help="How long to look for a shorter one.")
    ] = SECONDS,
    save_test: Annotated[
        Path | None, typer.Option("--save-test", metavar="FILE", help="Write what breaks as a test that plays it.")
    ] = None,
    real_compute: Annotated[
        bool, typer.Option("--real-compute", help="Call the app's compute functions; else they are stood in for.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. [default: one per core]")
    ] = None,
    as_json_: Json = False,
) -> None:
    """Run an app under every fault there is, on a virtual clock, and break it by a seed.

    Each seed is one life: the real engine on a real store, clients who send what the contracts allow, crashes, lost
    answers, failing effects, clocks that jump, weeks that pass; then peace, and judgement. The app's effects are never
    called: others stand in for them. Exit code 1: something that must hold did not. Then its seed is told, and the
    shortest schedule found that breaks the same. A simulation.py beside the contract may say what clients do, who
    stands in for effects, and what must always hold.

    \b
    Examples:
      onex simulate examples/orders
      onex simulate examples/orders --minutes 5
      onex simulate examples/orders --seed 42
      onex simulate shop --seeds 2000 --save-test tests/test_found.py
    """
    if store not in STORES:
        raise Misused(f"--store {store!r} cannot be simulated; there is {', '.join(STORES)}")
    if save_test is not None and (save_test.exists() or not save_test.absolute().parent.is_dir()):
        why = "exists; name another file" if save_test.exists() else "lies in a folder that does not exist; make it"
        raise Misused(f"--save-test: {save_test} {why}")
    stage = set_stage(app, real_compute=real_compute)
    alone = seed is not None and seeds is None and minutes is None
    count = 1 if alone else SEEDS if seeds is None and minutes is None else seeds
    season = Season(str(app), seed or 0, count, store, real_compute)
    if alone:
        _one(stage, season, shrink_s, save_test, as_json_=as_json_)
        return
    began_s = time.monotonic()
    total, stopped = _many(season, workers or _cores(), minutes)
    shrunk = None if total.broken is None or stopped else _shrunk(stage, total.broken, shrink_s)
    if as_json_:
        say_json(simulation_json(stage, season, total, time.monotonic() - began_s, shrunk, stopped=stopped))
    else:
        show_total(stage, season, total, time.monotonic() - began_s)
        if shrunk is not None:
            show_broken(stage, shrunk)
    _finish(stage, shrunk, save_test)
    if stopped:
        raise typer.Exit(INTERRUPTED)


def _many(season: Season, processes: int, minutes: float | None) -> tuple[Total, bool]:
    """What came of it, and whether Ctrl-C ended it."""
    total = Total()
    end_s = None if minutes is None else time.monotonic() + 60 * minutes
    chunks = play_season(season, processes)
    try:
        with _progress(season, end_s) as show:
            for chunk in chunks:
                total.add(chunk)
                show(total)
                if end_s is not None and time.monotonic() >= end_s:
                    break
    except KeyboardInterrupt:
        note("stopped; what was done so far:")
        return total, True
    finally:
        chunks.close()
    return total, False


def _one(stage: Stage, season: Season, shrink_s: float, save_test: Path | None, *, as_json_: bool) -> None:
    """One seed with its whole story, and the shortest that breaks the same."""
    began_s = time.monotonic()
    with place() as where:
        life = live(stage, season.script(season.first), where, drawn=True, told=True)
    total = Total()
    total.take(life)
    shrunk = _shrunk(stage, life, shrink_s) if life.violations else None
    if as_json_:
        say_json(simulation_json(stage, season, total, time.monotonic() - began_s, shrunk, life=life))
    else:
        show_run(life)
        if shrunk is not None:
            show_broken(stage, shrunk)
    _finish(stage, shrunk, save_test)


def _shrunk(stage: Stage, life: Life, seconds: float) -> Shrunk:
    began_s = time.monotonic()
    rule = life.violations[0].rule
    if seconds and sys.stderr.isatty():
        note(f"seed {life.script.seed} breaks {life.violations[0]}; looking for a shorter schedule ...")
    with place() as where:
        work = Shrinking(stage, life.script, rule, where, seconds)
        try:
            work.run()
        except KeyboardInterrupt:
            work.in_time = False  # what was found is worth more than how short it is: it is told as far as it came
    with place() as where:  # another: an interrupted life leaves its store as it was just then
        again = live(stage, work.script, where, drawn=False, told=True)
    return Shrunk(life, again, work.runs, time.monotonic() - began_s, work.in_time)


def _finish(stage: Stage, shrunk: Shrunk | None, save_test: Path | None) -> None:
    if shrunk is None:
        if save_test is not None:
            note(f"nothing broke, so {save_test} was not written")
        return
    if save_test is not None:
        life = shrunk.shortest
        text = test_text(life.script, shrunk.violation, life.story, stage.app.root, save_test)
        save_test.write_text(text)
        note(f"saved as {save_test}: it fails until this is mended")
    raise typer.Exit(FOUND)


def _cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress(season: Season, end_s: float | None) -> Iterator[Callable[[Total], None]]:
    if not sys.stderr.isatty():
        yield lambda total: None
        return
    from .simulate_progress import bar

    with bar(season, end_s) as show:
        yield show
