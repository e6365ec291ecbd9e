"""``onex demo``: the command, what it prints, and the order of its steps."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer

from ...wiring.store_access import shown_url
from ..console import fields, note, say, say_json, styled, table, write
from ..console import shown as shown_text
from ..exit_codes import FINE, FOUND
from .check import check
from .files import STORE_URL, DemoFiles
from .living import put_together, with_examples
from .page import DemoPage
from .progress import DemoProgress
from .proof_page import conclusion, write_page
from .staying import Told, stayed
from .trial import ENGINE, Trial, TrialResult
from .verdict import DemoResult, ProofRow, demo_result, faults, rows
from .workload import INSTANCES_MIN, Workload, code_analysis, orders

INSTANCES = 2000


class EnumWorkflow(StrEnum):
    ORDERS = "orders"
    CODE_ANALYSIS = "code_analysis"


def ignore(trial: Trial) -> None:
    """Nobody watches."""


def demo(
    workflow: Annotated[
        EnumWorkflow | None, typer.Option(help="The workflow to run. [default: code_analysis]", show_default=False)
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=INSTANCES_MIN, metavar="N", help=f"How many orders. [default: {INSTANCES}]")
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="The folder to analyse. [default: the standard library]"
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help=f"A store that does not exist yet. [default: {STORE_URL}]")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Kill one of N workers that share a PostgreSQL store, named by --store."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed for the moments of the kills. [default: random]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the list of effects and the engine's log.")] = False,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands/--no-commands",
            help="Name commands that look into the store; without, where it ends with the demo.",
        ),
    ] = True,
    page: Annotated[
        bool,
        typer.Option(
            "--page/--no-page",
            help="Serve a page of it on the loopback, with a button that kills the engine; on a terminal until Ctrl-C.",
        ),
    ] = True,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay",
            help="When all is proved, keep engine and page up until Ctrl-C. [default: on a terminal]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run real workflows, kill their engine twice, and prove that nothing was lost.

    The workflow analyses a tree of Python files, or (orders) charges and packs orders. The engine runs in a process of
    its own. It is killed with SIGKILL at a random moment, and again while an effect is done but not yet acknowledged.
    Another process counts what the effects did. Then the log is audited and folded again. Exit code 1: something was
    lost, repeated or different. Beside code_analysis, its page shows orders that are shipped or undone, and an expense that
    waits for your answer.

    With --workers, several engines share a PostgreSQL store, and one of them is killed each time: the others take over.

    \b
    Examples:
      onex demo
      onex demo --path src --no-page
      onex demo --workflow orders --instances 20000 --json
      onex demo --store sqlite:////tmp/proof.db --seed 7 --keep
      onex demo --workers 3 --store postgres://db/shop
    """
    chosen = secrets.randbelow(2**32) if seed is None else seed
    place = DemoFiles(store, shared=workers is not None)
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    stays = page and (on_terminal if stay is None else stay)
    workload = job(workflow, instances, path, place.folder)
    if page and workers is None and workload.report is not None:
        workload = with_examples(workload, place.folder, watched=on_terminal)
    watched = DemoPage(place.store_url, workload, note)
    stream = sys.stderr if as_json else sys.stdout
    with place, watched:
        try:
            proof = perform(
                workload, place, chosen, stream, workers=workers, names_commands=commands,
                ready=watched.ready if page else ignore, proved=watched.proved,
            )  # fmt: skip
            if not as_json:
                show_proof(proof, place, chosen)
            if stays and watched.wait_begun():
                proof = stay_up(proof, place, chosen, watched, stream)
        except KeyboardInterrupt:
            if not keep:
                place.tidy()
            note(f"stopped, and the engine was killed; the store so far is {shown_url(place.store_url)}")
            raise
        if not keep and not proof.faults:
            place.tidy()
        if as_json:
            say_json(proof.result.model_dump())
    raise typer.Exit(proof.exit_code)


def job(workflow: EnumWorkflow | None, instances: int | None, path: Path | None, folder: Path) -> Workload:
    """The chosen workload; ``--instances`` alone means orders. Raises a usage error for options of two workloads."""
    chosen = workflow or (EnumWorkflow.ORDERS if instances is not None else EnumWorkflow.CODE_ANALYSIS)
    if chosen is EnumWorkflow.ORDERS:
        if path is not None:
            raise typer.BadParameter("--path is for code_analysis; leave it out, or add --workflow code_analysis")
        return orders(instances or INSTANCES, folder)
    if instances is not None:
        raise typer.BadParameter("--instances is for orders; leave it out, or add --workflow orders")
    return code_analysis(path, folder)


class Proof(NamedTuple):
    """The result of a demo. ``faults`` are sentences; there are none when the demo proves what it claims."""

    result: DemoResult
    faults: list[str]
    table: list[ProofRow]
    commands: list[str]
    trial: Trial

    @property
    def sentences(self) -> list[str]:
        """What it comes to, for a person."""
        return [*conclusion(self.faults, self.result.effects_retried), *self.faults]

    @property
    def exit_code(self) -> int:
        return FOUND if self.faults else FINE


def perform(
    workload: Workload,
    place: DemoFiles,
    seed: int,
    stream: TextIO,
    *,
    workers: int | None = None,
    names_commands: bool = True,
    engine: Sequence[str] = ENGINE,
    between: Callable[[], None] = lambda: None,
    ready: Callable[[Trial], None] = ignore,
    proved: Callable[[list[ProofRow], list[str]], None] = lambda rows, conclusion: None,
) -> Proof:
    """The demo without its final output; progress goes to ``stream``. Raises OnexError when the demo cannot run."""
    put_together(workload)
    with DemoProgress(stream, workload.effects, f"one of {workers} workers" if workers else "the engine") as progress:
        progress.say(f"{workload.title}: {workload.effects:,} effects expected outside the engine")
        trial = Trial(
            workload, place.store_url, place.folder, seed, progress, workers=workers, engine=engine, between=between,
            ready=ready,
        )  # fmt: skip
        witnessed = asyncio.run(trial.run())
        progress.say(f"all done after {witnessed.wall_s:.1f} s; auditing the log and folding every instance again")
    proof = prove(trial, witnessed, place, seed, _commands(workload, place) if names_commands else [])
    proved(proof.table, proof.sentences)
    for fault in proof.faults:
        progress.say(f"wrong: {fault}")
    return proof


def prove(trial: Trial, witnessed: TrialResult, place: DemoFiles, seed: int, commands: list[str]) -> Proof:
    """What came of it, read from the store and the ledger; and the page that says so."""
    work, tally = trial.workload, trial.ledger.read()
    checked = asyncio.run(check(place.store_url, work.app, witnessed, tally, seed))
    found = demo_result(witnessed, tally, checked, str(place.proof.resolve()), str(work.report or ""))
    wrong = faults(found, tally, checked, witnessed.kills_asked)
    lines = rows(found, tally, checked, trial.workers)
    write_page(place.proof, work, witnessed, found, lines, wrong, commands)
    return Proof(found, wrong, lines, commands, trial)


def stay_up(proof: Proof, place: DemoFiles, seed: int, page: DemoPage, stream: TextIO) -> Proof:
    """Until Ctrl-C. With an engine that goes on, what happened since is counted and audited, too."""
    write(stream, f"\nThe page stays on {page.address} until Ctrl-C.\n")
    stream.flush()
    if proof.trial.workers:
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        return proof
    trial = Trial(
        proof.trial.workload, place.store_url, place.folder, seed, Told(note), ready=page.ready, after=proof.trial
    )
    witnessed = asyncio.run(stayed(trial))
    last = prove(trial, witnessed, place, seed, proof.commands)
    since = last.result.actions - proof.result.actions, last.result.kills - proof.result.kills
    write(stream, f"\nSince then {since[0]:,} actions were committed, and the engine was killed {since[1]} times.\n")
    for sentence in last.sentences:
        write(stream, f"{shown_text(sentence)}\n")
    page.proved(last.table, last.sentences)
    return last


def _commands(workload: Workload, place: DemoFiles) -> list[str]:
    """Commands that show more."""
    store = f"--store {shlex.quote(shown_url(place.store_url))}"
    key = shlex.quote(workload.inputs[len(workload.inputs) // 2].key)
    return [
        f"onex ls {store}",
        f"onex show {key} --history {store}",
        f"onex replay {shlex.quote(shown(workload.app))} {store}",
    ]


def shown(path: Path) -> str:
    """Relative to the current folder if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def show_proof(proof: Proof, place: DemoFiles, seed: int) -> None:
    """The final output for a person."""
    say()
    table(["", "", ""], proof.table, right=(1,))
    say()
    for sentence in conclusion(proof.faults, proof.result.effects_retried):
        say(styled(sentence, "red" if proof.faults else "green"))
    for fault in proof.faults:
        say(f"  {fault}")
    say()
    places = [("proof", shown(Path(proof.result.report)))]
    places += [("what the work made", shown(Path(proof.result.work)))] if proof.result.work else []
    places += [("store", shown(place.store.resolve()) if place.store else shown_url(place.store_url))]
    fields([*places, ("seed", f"{seed} (--seed {seed} repeats the moments of the kills)")], indent="")
    if proof.commands:
        say()
        say("Try:")
    for command in proof.commands:
        say(f"  {command}")
