"""``onex migrate --check``: an app's migrations tried on a store, before an engine runs on it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..app import load_app
from ..engine.migration_check import Checked, MigrationCheck, Trouble
from ..engine.registry import ReducerRegistry
from ..engine.upcast import MigrationMissing, check_schemas
from ..wiring import ReadableStore
from .console import counted, harmless, note, redraw, say, say_json, styled
from .exits import FOUND, Misused
from .store import AppPath, Json, Store, look

TOLD = 20
KEPT = 1000


def migrate(
    app: AppPath,
    check: Annotated[bool, typer.Option("--check", help="Try the migrations on every stored state.")] = False,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Try an app's migrations on all that a store holds.

    Nothing is written. A state of an older schema is migrated when it is next read, and written in the new schema by
    its next commit, so there is nothing to run beforehand. What can be known beforehand is told here: states and open
    intents that the migrations fail on, and instances that would stand where nothing is accepted and no timer waits.
    Exit code 1: there is such an instance.

    \b
    Examples:
      onex migrate --check examples/orders
      onex migrate --check shop --type parcels --json
    """
    if not check:
        raise Misused("states are migrated when they are next read; there is nothing to do but onex migrate --check")
    registry = ReducerRegistry(tuple(one.recorded for one in load_app(app).workflows.values()))
    if of_type is not None:
        registry[of_type]
    kept: list[Trouble] = []
    gaps: list[str] = []
    shown = not as_json and sys.stderr.isatty()

    async def ask(reader: ReadableStore) -> Checked:
        try:
            check_schemas(registry.workflows, tuple((await reader.codes()).values()))
        except MigrationMissing as error:
            gaps.append(error.message)
        trial = MigrationCheck(reader, registry)
        total = (await reader.counts()).instances if shown else 0
        told = 0
        async for trouble in trial.run(of_type):
            if len(kept) < KEPT:
                kept.append(trouble)
            if shown and trial.result.instances - told >= 5000:
                told = trial.result.instances
                redraw(f"{told:,} of {total:,} instances")
        if shown:
            redraw()
        return trial.result

    result = look(store, ask)
    if as_json:
        say_json(_as_json(result, kept, gaps))
    else:
        _show(result, kept, gaps)
    if result.troubles or gaps:
        raise typer.Exit(FOUND)


def _show(result: Checked, kept: list[Trouble], gaps: list[str]) -> None:
    for gap in gaps:
        say(f"{styled('refused to start', 'red')}  {harmless(gap)}")
    for trouble in kept[:TOLD]:
        what = trouble.what.replace("_", " ")
        where = f"version {trouble.version}, {trouble.status}, schema {trouble.schema}"
        say(f"{styled(what, 'red')}  {harmless(str(trouble.key))}  {harmless(where)}")
        say(f"  {trouble.reason}")
    if sum(result.troubles.values()) > TOLD:
        note(f"and {sum(result.troubles.values()) - TOLD:,} more; --json tells {KEPT:,}")
    say(
        f"{counted(result.instances, 'instance')}, {result.migrated:,} of an older schema, "
        f"{counted(result.intents, 'open intent')}"
    )
    for what, count in sorted(result.troubles.items()):
        say(f"{count:,} {what.replace('_', ' ')}")
    if result.foreign:
        note(f"{counted(result.foreign, 'instance')} of types this app does not have were left alone")
    if not result.troubles and not gaps:
        say(styled("fine: every state and open intent can be read, and none is stranded", "green"))


def _as_json(result: Checked, kept: list[Trouble], gaps: list[str]) -> dict[str, object]:
    return {
        "ok": not result.troubles and not gaps,
        "missing": gaps,
        "instances": result.instances,
        "migrated": result.migrated,
        "intents": result.intents,
        "foreign": result.foreign,
        "troubles": result.troubles,
        "found": [{**one._asdict(), "key": str(one.key), "what": str(one.what)} for one in kept],
    }
