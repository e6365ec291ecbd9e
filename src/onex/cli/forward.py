"""``onex forward``: continues what is in flight under new code, and shows what would be emitted again, lost or stranded."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..processes.forward_check import BUDGET_S, INSTANCES, ForwardTask, check_forward
from ..repository.git_revision import checkout
from ..whatif.forward_result import STOPS, EnumForward, ForwardFinding, ForwardResult
from .console import counted, figures, harmless, note, say, say_json, styled, table
from .exit_codes import FOUND
from .progress import ProgressBar
from .store_options import Json, Store, url_of

SHOWN = 20


def forward(
    app: Annotated[str, typer.Argument(metavar="APP", help="The code that runs now: a file or folder, or REV:PATH.")],
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="PATH_OR_REV", help="The new code: a file or folder, a git revision, or REV:PATH."
        ),
    ],
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    budget_s: Annotated[
        float, typer.Option("--budget-s", metavar="S", min=1, help="Seconds. What is not looked at by then is counted.")
    ] = BUDGET_S,
    instances: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=20_000, help="Continue at most so many instances, one or two of each class."
        ),
    ] = INSTANCES,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Continue what is in flight under new code, and show what would go wrong.

    onex whatif looks back: it folds what was recorded. This looks forward: each instance that has not ended is continued in
    memory, under both codes, with the same answers for its open intents, its timers, and what clients sent in that status
    before. It counts the instances for which the new code would emit an intent again that the log has already, would lose one
    that the old code emits, or would leave the instance where nothing moves it any more.

    Instances that stand alike (same status, things under way and shape of state) are continued once, and where time is left
    once more for proof. What was not looked at within the budget is counted and is a failure, too. Nothing is written and no
    effect runs. Exit code 1 when something is found.

    \b
    Examples:
      onex forward examples/orders --against ../changed
      onex forward main:shop --against shop --type orders --budget-s 300
      onex forward shop --against HEAD --json
    """
    with ExitStack() as held:
        new = held.enter_context(checkout(against, Path(app) if Path(app).exists() else Path.cwd()))
        old = held.enter_context(checkout(app, Path.cwd()))
        bar = held.enter_context(ProgressBar("continuing", "classes of instances", None, shown=not as_json))
        task = ForwardTask(url_of(store), str(old), str(new), of_type, budget_s, instances)
        result = check_forward(task, lambda done, classes: bar.advance(1))
    if as_json:
        say_json({"ok": result.ok, "app": app, "against": against, **result.model_dump(mode="json")})
    else:
        _show(result, app, against)
    if result.fired:
        note(f"{result.fired} effects were asked to run. This is a defect of onex; please report it")
    if not result.ok:
        raise typer.Exit(FOUND)


def _show(result: ForwardResult, app: str, against: str) -> None:
    say(
        f"{counted(result.instances, 'instance')} in flight, continued under {harmless(app)} and {harmless(against)}: "
        f"{result.looked_at:,} looked at, {result.alike:,} alike, {counted(result.steps, 'step')}"
    )
    lines = [
        ("emitted again", result.again, "red", "the log has it, and the new code would do it once more"),
        ("lost", result.lost, "red", "the old code would do it, the new one does not"),
        ("stranded", result.stranded, "red", "nothing would move it, or what is under way is refused"),
        ("refused", result.refused, "yellow", "an action that clients sent in this status before"),
        ("changed", result.changed, "yellow", "emitted with another payload"),
        ("added", result.added, "yellow", "only the new code emits it"),
        ("not looked at", result.not_looked_at, "red", "the budget ended: raise --budget-s or --instances"),
        ("unreadable", result.unreadable, "red", "; ".join(result.reasons)),
    ]
    figures([(*one[:3], one[3] if one[1] else "") for one in lines], {"emitted again", "lost", "stranded"})
    if result.findings:
        say()
        rows = [_row(one) for one in result.findings[:SHOWN]]
        table(["instances", "where", "what", "name", "after", "for example"], rows, right=(0,))
        if len(result.findings) > SHOWN:
            note(f"and {len(result.findings) - SHOWN} more kinds; --json shows all")
        for one in result.findings[:SHOWN]:
            if one.what in (EnumForward.STRANDED, EnumForward.REFUSED):
                say(f"{one.name}: {one.why}")
        say()
    if result.uneven:
        note(
            f"in {result.uneven:,} of the classes that stand alike, a second instance came out otherwise than the first"
        )
    if result.cut:
        note(f"{result.cut:,} of those looked at have more continuations than were tried")
    if result.other_code:
        note(f"{result.other_code:,} stand on other code than {harmless(app)}; onex versions says on which")
    say(f"effects fired: {result.fired}")


def _row(one: ForwardFinding) -> list[str]:
    what = "emitted again" if one.what is EnumForward.AGAIN else one.what.value
    after = ", ".join(one.after) or "at once"
    where = f"{one.workflow_type} in {one.status}"
    return [
        f"{one.instances:,}",
        where,
        styled(what, "red") if one.what in STOPS else what,
        one.name,
        after,
        ", ".join(one.examples),
    ]
