"""``onex check`` and ``onex diagram``: an app as it is written, without running it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..app import LoadedWorkflow, load_app
from ..contracts.diagram import mermaid
from ..kernel.errors import ContractError, UnknownWorkflow
from .console import plain_finding, say, say_json, show_findings
from .exits import FOUND
from .store import AppPath, Json


def check(app: AppPath, as_json: Json = False) -> None:
    """Check an app, and show every problem at once.

    Contracts are read before anything is imported. Exit code 1 says that the app does not load; warnings are fine.

    \b
    Examples:
      onex check examples/orders
      onex check shop --json | jq '.findings[].message'
    """
    try:
        loaded = load_app(app)
    except ContractError as error:
        if not error.findings:
            raise
        if as_json:
            say_json({"ok": False, "app": str(app), "workflows": [], "findings": [*map(plain_finding, error.findings)]})
        else:
            show_findings(error.findings, sys.stdout)
        raise typer.Exit(FOUND) from error
    if as_json:
        workflows = [
            {
                "name": one.name,
                "contract_version": one.code.contract_version,
                "code": one.code.digest.hex(),
                "statuses": len(one.reducer.machine.statuses),
                "triggers": len(_triggers(one)),
                "intents": len(one.contract.intents),
            }
            for one in loaded.workflows.values()
        ]
        findings = [*map(plain_finding, loaded.findings)]
        say_json({"ok": True, "app": str(app), "workflows": workflows, "findings": findings})
        return
    show_findings(loaded.findings, sys.stdout)
    for one in loaded.workflows.values():
        say(
            f"{one.name} {one.code.contract_version}: fine. {len(one.reducer.machine.statuses)} statuses, "
            f"{len(_triggers(one))} triggers, {len(one.contract.intents)} intents"
        )


def _triggers(one: LoadedWorkflow) -> set[str]:
    return {transition.trigger for transition in one.reducer.machine.transitions}


def diagram(
    app: AppPath,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    as_json: Json = False,
) -> None:
    """Draw an app's state machines as Mermaid diagrams.

    One workflow is printed bare, several as Markdown with a heading each.

    \b
    Examples:
      onex diagram examples/orders
      onex diagram shop --type parcels > parcels.mmd
    """
    workflows = dict(load_app(app).workflows)
    if of_type is not None:
        if of_type not in workflows:
            raise UnknownWorkflow(f"{app} has no workflow {of_type!r}; it has {', '.join(workflows)}")
        workflows = {of_type: workflows[of_type]}
    drawn = {name: mermaid(one.reducer.machine) for name, one in workflows.items()}
    if as_json:
        say_json({"workflows": drawn})
    elif len(drawn) == 1:
        say(*(picture.rstrip() for picture in drawn.values()))
    else:
        say("\n".join(f"## {name}\n\n```mermaid\n{picture}```\n" for name, picture in drawn.items()).rstrip())
