"""``onex whatif``: folds recorded actions on changed code and shows which instances differ. Runs no effect."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ..kernel.action import EPOCH
from ..kernel.visible_text import visible_json
from ..processes.replay_work import processes_for
from ..processes.whatif_run import WhatIfOutcome, WhatIfRun, extent_of
from ..processes.whatif_work import Since, WhatIfTask
from ..repository.git_revision import checkout
from ..views.what_if import what_if_summary_json
from ..whatif.result import InstanceResult
from ..wiring.recorded import RunSource
from .console import counted, figures, harmless, note, now_us, say, say_json, say_lines, table
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .store_options import Json, Store, numbers, url_of
from .whatif_budget import DifferenceBudget, over, parse_budgets
from .whatif_page import WhatIfQuestion, write_page

SHOWN = 10
_AGO = re.compile(r"(\d{1,6})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def whatif(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help="The code that made the record: a file or folder, or REV:PATH. Without it only last states are compared by value.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="PATH_OR_REV", help="The other code: a file or folder, a git revision, or REV:PATH."
        ),
    ] = "",
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Only instances changed since: 2026-03-01T12:00Z, 7d, 12h, or a position SHARD:N.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=MOST,...",
            help="Exit code 1 when more instances than this differ, are open, refused or stranded: differs=0,open=5%.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the result as one HTML page.")
    ] = None,
    examples: Annotated[
        int, typer.Option(metavar="N", min=1, max=20, help="Examples to keep of each kind of difference.")
    ] = 3,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="An exported file instead of a store.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=256, help="Number of processes. [default: one, or all cores for a large log]"
        ),
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Fold recorded actions on other code, and show what would be different.

    Every instance is folded from its first action. A recorded outcome is used only if the other code emits the same
    intent with the same payload; a timer only if it is set for the same time. Where this is not so the instance is open:
    nothing after that point is compared, and it does not count as the same. An action that the other code refuses is
    reported, and folding continues without it. With --type or --since, messages from excluded instances are taken as
    recorded.

    No effect runs; the number of effects that were asked to run is counted and shown, and must be 0. --json prints one
    line for each instance that is not the same, and one with the totals.

    \b
    Examples:
      onex whatif examples/orders --against ../changed
      onex whatif shop --against HEAD~1 --type orders --since 7d
      onex whatif --against shop --from incident.onexrun --json
      onex whatif main:shop --against shop --budget differs=0,refused=0,open=5% --html whatif.html
    """
    if not against:
        raise Misused("name the other code: --against FOLDER, or --against REVISION")
    if from_file is not None and store is not None:
        raise Misused("--from and --store both name a source; give one")
    if html is not None and (html.is_dir() or not html.absolute().parent.is_dir()):
        why = "is a folder; name a file" if html.is_dir() else "lies in a folder that does not exist; make it"
        raise Misused(f"--html: {html} {why}")
    budgets = () if budget is None else parse_budgets(budget)
    started = _since(since)
    source = RunSource(file=str(from_file)) if from_file is not None else RunSource(store_url=url_of(store))
    types, actions = asyncio.run(extent_of(source, of_type))
    with ExitStack() as held:
        other = held.enter_context(checkout(against, Path(app) if app and Path(app).exists() else Path.cwd()))
        record = None if app is None else held.enter_context(checkout(app, Path.cwd()))
        task = WhatIfTask(source, str(other), started, examples, as_json)
        whole = of_type is None and since is None
        bar = held.enter_context(ProgressBar("folding", "actions", actions if whole else None, shown=not as_json))
        outcome = WhatIfRun(
            task,
            None if record is None else task._replace(app=str(record)),
            types,
            processes=processes_for(actions, processes),
            went=bar.advance,
            again=lambda number: bar.restart(f"folding receivers of messages, round {number}"),
        ).run()
    passed = over(budgets, outcome.tally.totals)
    asked = WhatIfQuestion(app, against, str(source), of_type, since, budget)
    if html is not None:
        write_page(html, asked, outcome.tally, outcome.fired, passed)
    if as_json:
        for line in outcome.lines:
            say_lines(visible_json(line.decode().rstrip("\n")))
        say_json(
            what_if_summary_json(outcome.tally, outcome.fired, passed, {**asked._asdict(), "rounds": outcome.rounds})
        )
    else:
        _show(outcome, asked, html)
    _judge(outcome, budgets, passed)


def _judge(outcome: WhatIfOutcome, budgets: tuple[DifferenceBudget, ...], passed: list[str]) -> None:
    for line in passed:
        note(f"over budget: {line}")
    nothing = outcome.tally.totals.instances == 0
    if nothing:
        note("nothing was compared: the store has no such instances")
    if outcome.fired:
        note(f"{outcome.fired} effects were asked to run while folding. This is a defect of onex; please report it")
    if passed or (nothing and budgets) or outcome.fired:
        raise typer.Exit(FOUND)


def _since(text: str | None) -> Since:
    """Raises Misused."""
    if text is None:
        return Since()
    if (ago := _AGO.fullmatch(text)) is not None:
        return Since(at_us=now_us() - int(ago[1]) * _UNITS[ago[2]] // timedelta(microseconds=1))
    if ":" in text and text.replace(":", "").isdecimal() and text.count(":") == 1:
        return Since(n=numbers(text, 2, "position")[1])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Misused(
            f"--since {text!r} is neither a time nor a position; write 2026-03-01, 2026-03-01T12:00Z, 7d, 12h, 30m or SHARD:N"
        ) from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return Since(at_us=(at - EPOCH) // timedelta(microseconds=1))


# --- for people -------------------------------------------------------------------------------------------------------


def _show(outcome: WhatIfOutcome, asked: WhatIfQuestion, html: Path | None) -> None:
    totals = outcome.tally.totals
    say(
        f"{counted(totals.instances, 'instance')}, {counted(totals.actions, 'action')} against {harmless(asked.against)}"
    )
    lines = [
        ("same", totals.same, "green", _unseen(totals.unseen, asked.app)),
        ("differs", totals.differs, "yellow", ""),
        (
            "open",
            totals.opened,
            "yellow",
            "not compared to the end" + _also(totals.opened - totals.opened_only, "differ before"),
        ),
        ("refused", totals.refused, "red", f"the other code refuses {counted(totals.refused_actions, 'action')}"),
        ("stranded", totals.stranded, "red", "no action or timer would move it"),
    ]
    figures(lines, {"same", "differs"})
    if totals.added or totals.lost or totals.changed:
        say(f"  intents   {totals.added:,} added, {totals.lost:,} lost, {totals.changed:,} changed")
    _show_groups(outcome)
    say(f"effects fired: {outcome.fired}")
    if html is not None:
        say(f"wrote {html}")


def _unseen(count: int, app: str | None) -> str:
    if not count:
        return ""
    why = "give APP, the code that made the record" if app is None else f"{harmless(app)} did not make their record"
    return f"for {count:,} of these only the last state was compared; {why}"


def _also(count: int, what: str) -> str:
    return f"; {count:,} of these {what}" if count else ""


def _show_groups(outcome: WhatIfOutcome) -> None:
    ranked = outcome.tally.ranked()
    if not ranked:
        return
    say()
    rows = []
    for alike, group in ranked[:SHOWN]:
        where = f"{alike.workflow_type} in {alike.status}" if alike.status else alike.workflow_type
        rows.append([f"{group.instances:,}", where, alike.trigger, alike.what, _example(group.examples[0])])
    table(["instances", "where", "on", "what", "for example"], rows, right=(0,))
    if len(ranked) > SHOWN:
        note(f"and {len(ranked) - SHOWN} more kinds of difference; --html and --json show all")
    say()


def _example(result: InstanceResult) -> str:
    """One instance of a kind of difference, with its values."""
    opened = "" if result.opened is None else f"from version {result.opened.version}: {result.opened.why}"
    if result.first is None:
        return f"{result.key} {opened}".rstrip()
    first = f"{result.key} version {result.first.version}: {result.first.why}"
    return f"{first}; open {opened}" if opened else first
