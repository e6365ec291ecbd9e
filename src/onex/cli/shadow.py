"""``onex shadow``: folds what an engine writes on other code, beside it, and shows what it would decide otherwise."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from ..processes.shadow_run import ShadowProcess, ShadowTask
from ..repository.git_revision import checkout
from ..whatif.shadow import INSTANCES
from ..whatif.shadow_counts import ShadowCounts
from .console import counted, figures, harmless, note, say, say_json, table
from .exit_codes import FOUND, Misused
from .own_output import own_stdout
from .store_options import ROWS_MAX, Json, Store, url_of

LOOK_S = 0.2
SAY_S = 2.0
_FOR = re.compile(r"(\d{1,6})(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def shadow(
    app: Annotated[str, typer.Argument(metavar="APP", help="The other code: a file or folder, or REV:PATH.")],
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after 90s, 10m, 12h or 2d.")
    ] = None,
    actions: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=ROWS_MAX, help="End after so many actions.")
    ] = None,
    instances: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Hold so many instances in memory at most.")
    ] = INSTANCES,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Fold live actions on other code, and show what it would decide otherwise.

    It follows the log of a store, from any process, while an engine writes it. It begins with the states that are stored at
    its start. It writes nothing and runs no effect; the number of effects that were asked to run is shown, and must be 0.
    Differences are counted by the rules of onex whatif: where the other code did not ask what was answered, an instance is
    open, and nothing of it is compared beyond.

    It runs until --for, --actions or Ctrl-C, prints its counts as they change, and ends with the result. --json prints one
    line of counts each time. Exit code 1 when something differs.

    \b
    Examples:
      onex shadow ../changed
      onex shadow ../changed --for 1h
      onex shadow HEAD:shop --actions 100000 --json
    """
    seconds = None if duration is None else _seconds(duration)
    with ExitStack() as held:
        other = held.enter_context(checkout(app, Path.cwd()))
        process = ShadowProcess(ShadowTask(url_of(store), str(other), instances))
        held.callback(process.close)
        with suppress(KeyboardInterrupt):  # the way to end it
            _watch(process, harmless(app), seconds, actions, as_json=as_json)
        result = process.stop()
    if as_json:
        say_json({"ok": result.ok, "app": app, **result.model_dump(mode="json")})
    else:
        _show(result)
    if result.fired:
        note(f"{result.fired} effects were asked to run. This is a defect of onex; please report it")
    if not result.ok:
        raise typer.Exit(FOUND)


def _watch(process: ShadowProcess, app: str, seconds: float | None, actions: int | None, *, as_json: bool) -> None:
    """Until it has gone on long enough."""
    while not process.heard(LOOK_S):
        pass
    note(f"shadowing with {app}; Ctrl-C ends it")
    until_s = None if seconds is None else time.monotonic() + seconds
    said, said_s = process.counts, time.monotonic()
    while (until_s is None or time.monotonic() < until_s) and process.counts.actions < (actions or ROWS_MAX):
        process.heard(LOOK_S)
        if process.counts != said and time.monotonic() - said_s > SAY_S:
            said, said_s = process.counts, time.monotonic()
            if as_json:
                say_json({"ok": said.ok, "app": app, **said.model_dump(mode="json")})
            else:
                say(_line(said))
            own_stdout().flush()


def _seconds(text: str) -> float:
    found = _FOR.fullmatch(text)
    if found is None:
        raise Misused(f"--for {text!r} is no duration; write 90s, 10m, 12h or 2d")
    return float(int(found[1]) * _SECONDS[found[2] or "s"])


def _line(counts: ShadowCounts) -> str:
    lag = f", {counts.lag_ms / 1000:.1f} s behind" if counts.lag_ms else ""
    return (
        f"{counted(counts.actions, 'action')}, {counted(counts.instances, 'instance')}: {counts.same:,} same, "
        f"{counts.differs:,} differ, {counts.open:,} open{lag}"
    )


def _show(result: ShadowCounts) -> None:
    say(_line(result))
    lines = [
        ("compared", result.compared, "green", "actions"),
        ("passed over", result.passed_over, "yellow", "actions, before their instance was met"),
        ("behind open", result.behind_open, "yellow", "actions, not compared"),
        ("unknown", result.unknown, "red", "actions of workflows that the other code does not have"),
        ("refused", result.refused, "red", "actions"),
        ("stranded", result.stranded, "red", "instances that no action or timer would move"),
        ("unseen", result.unseen, "yellow", "instances called the same of which a state in between was not compared"),
    ]
    figures(lines, {"compared"})
    if result.added or result.lost or result.changed:
        say(f"  intents   {result.added:,} added, {result.lost:,} lost, {result.changed:,} changed")
    if result.findings:
        say()
        rows = []
        for one in result.findings:
            where = f"{one.workflow_type} in {one.status}" if one.status else one.workflow_type
            rows.append([f"{one.instances:,}", where, one.trigger, one.what, f"{one.examples[0]} {one.why}".rstrip()])
        table(["instances", "where", "on", "what", "for example"], rows, right=(0,))
        say()
    say(f"effects fired: {result.fired}")
