"""``onex demo``: real workflows on a real store, their engine killed twice, and the proof that nothing came of it."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer

from .console import fields, note, say, say_json, styled, table
from .demo_check import check
from .demo_place import STORE_URL, Place
from .demo_report import conclusion, write_report
from .demo_story import Story
from .demo_trial import ENGINE, Trial
from .demo_verdict import Row, Verdict, faults, rows, verdict
from .demo_workload import INSTANCES_MIN, Workload, orders
from .exits import FOUND

INSTANCES = 2000


class EnumWorkflow(StrEnum):
    ORDERS = "orders"


def demo(
    workflow: Annotated[EnumWorkflow, typer.Option(help="The job.")] = EnumWorkflow.ORDERS,
    instances: Annotated[int, typer.Option(min=INSTANCES_MIN, help="How many orders.")] = INSTANCES,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help=f"A store that does not exist yet. [default: {STORE_URL}]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draws the moments of the kills. [default: a new one]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the ledger of effects and the engine's log, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run real workflows, kill their engine twice, prove that nothing was lost.

    The engine runs in a process of its own. It is killed with SIGKILL at a random moment, and again while an effect is
    done but not yet answered. What its effects did is counted outside of it; then the log is audited and folded
    again. Exit code 1: the numbers do not prove what they should.

    \b
    Examples:
      onex demo
      onex demo --instances 20000 --json
      onex demo --store sqlite:////tmp/proof.db --seed 7 --keep
    """
    chosen = secrets.randbelow(2**32) if seed is None else seed
    with Place(store) as place:
        workload = orders(instances, place.folder)
        try:
            proof = perform(workload, place, chosen, sys.stderr if as_json else sys.stdout)
        except KeyboardInterrupt:
            if not keep:
                place.tidy()
            note(f"stopped; the engine is ended. What it did so far is in {place.store_url}")
            raise
        if not keep and not proof.faults:
            place.tidy()
    if as_json:
        say_json(proof.verdict.model_dump())
    else:
        tell(proof, place)
    if proof.faults:
        raise typer.Exit(FOUND)


class Proof(NamedTuple):
    """What a demo came to. ``faults`` are sentences; none: it proves what it says."""

    verdict: Verdict
    faults: list[str]
    table: list[Row]
    commands: list[str]


def perform(
    workload: Workload,
    place: Place,
    seed: int,
    stream: TextIO,
    *,
    engine: Sequence[str] = ENGINE,
    between: Callable[[], None] = lambda: None,
) -> Proof:
    """The whole demo but for its last words; ``stream`` hears how it goes. Raises OnexError when it cannot be done."""
    with _story(stream, workload.effects) as story:
        story.say(f"{workload.title}: {workload.effects:,} effects in all, outside the engine")
        trial = Trial(workload, place.store_url, place.folder, seed, story, engine=engine, between=between)
        witnessed = asyncio.run(trial.run())
        story.say(f"all done after {witnessed.wall_s:.1f} s; reading the log and folding every instance again")
        tally = trial.ledger.read()
        checked = asyncio.run(check(place.store_url, workload.app, witnessed, tally, seed))
    own = place.folder / "report.md"
    path = workload.report or own
    found = verdict(witnessed, tally, checked, str(path.resolve()))
    wrong = faults(found, tally, checked)
    lines = rows(found, tally, checked)
    commands = _commands(workload, place)
    write_report(own, workload, lines, wrong, commands)
    for fault in wrong:
        story.say(f"wrong: {fault}")
    return Proof(found, wrong, lines, commands)


def _story(stream: TextIO, effects: int) -> Story:
    if not stream.isatty():
        return Story(stream, effects)
    from .demo_bar import BarStory

    return BarStory(stream, effects)


def _commands(workload: Workload, place: Place) -> list[str]:
    """What to try next."""
    store = f"--store {shlex.quote(place.store_url)}"
    key = shlex.quote(workload.inputs[len(workload.inputs) // 2].key)
    return [
        f"onex ls {store}",
        f"onex show {key} --history {store}",
        f"onex replay {shlex.quote(shown(workload.app))} {store}",
    ]


def shown(path: Path) -> str:
    """As short as it can be written from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def tell(proof: Proof, place: Place) -> None:
    """The last words, for a person."""
    say()
    table(["", "", ""], proof.table, right=(1,))
    say()
    say(styled(conclusion(proof.faults), "red" if proof.faults else "green"))
    for fault in proof.faults:
        say(f"  {fault}")
    say()
    fields([("store", shown(place.store.resolve())), ("report", shown(Path(proof.verdict.report)))], indent="")
    say()
    say("Look for yourself:")
    for command in proof.commands:
        say(f"  {command}")
