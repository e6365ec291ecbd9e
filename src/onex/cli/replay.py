"""``onex replay``: folds the log again and compares it with what was stored. Changes nothing and runs no effect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..kernel.action import WorkflowKey
from ..ports import Code, Env
from ..processes.code_versions import brought
from ..processes.replay_work import ReplayTask, folded, processes_for
from ..views.replay import replay_json
from ..wiring.environment import environment
from ..wiring.recorded import RunSource
from .console import say_json
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .replay_report import refused, show
from .store_options import AppPath, Json, Store, url_of


def replay(
    app: AppPath,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Only this instance.", show_default=False)] = None,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    older: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PATH|REV",
            help="Older code of the app: a file or folder, a git revision, REV:PATH, or 'recorded'. May be repeated.",
        ),
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="An exported file instead of a store.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for every verdict but equal.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            max=256,
            help="Number of processes. [default: one, or all cores for a large log]",
        ),
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Fold the log again and compare every byte with what was stored.

    Consecutive rows made by one version of the code are a segment. Each segment gets a verdict: equal; MISMATCH, which
    means impure code or damage; other code, equal; other code, same decisions, where the code at hand has more fields,
    each at its default; other code, differs; code not at hand; unverified (redacted). Exit code 1: there was a MISMATCH,
    or nothing could be folded, because the code that made the log is not available.

    --with adds older code. A git revision is looked up in the repository of the app, which is only read. 'recorded' adds
    every revision that the log names, as far as that repository has it.

    \b
    Examples:
      onex replay examples/orders
      onex replay examples/orders orders:4711
      onex replay shop --with ../shop-1.3 --with v1.2 --strict --json
      onex replay shop --with recorded
      onex replay shop --from incident.onexrun
    """
    if from_file is not None and store is not None:
        raise Misused("--from and --store both name a source; give one")
    only = None if key is None else WorkflowKey.parse(key)
    source = RunSource(file=str(from_file)) if from_file is not None else RunSource(store_url=url_of(store))
    here = environment(app.resolve())
    codes, envs, total = asyncio.run(_look(source))
    with brought(app, older or (), codes, envs) as code:
        task = ReplayTask(source, str(app), code.paths, of_type, only)
        whole = only is None and of_type is None
        with ProgressBar("replaying", "actions", total if whole else None, shown=not json) as bar:
            result = folded(task, processes_for(total, processes), bar.advance)
    ok = not refused(result, strict=strict)
    if json:
        say_json(replay_json(result, envs, here, code.notes, ok=ok))
    else:
        show(result, envs, here, code.notes, str(app))
    if not ok:
        raise typer.Exit(FOUND)


async def _look(source: RunSource) -> tuple[Mapping[int, Code], Mapping[int, Env], int]:
    """Which code and environments made the run, and how many actions it has."""
    async with source.opened() as run:
        return await run.codes(), await run.envs(), run.actions
