"""``onex migrate --check``: tries an app's migrations on a store, before an engine runs on it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ..engine.schema_upgrade import MigrationMissing, check_schemas
from ..ports import Counts
from ..replay.migration_check import MigrationCheck, MigrationCheckResult, MigrationProblem
from ..replay.stranded_rows import EnumStranded
from ..views.replay import migration_check_json
from ..wiring import ReadableStore
from ..wiring.folding import InertApp
from .console import counted, harmless, note, say, say_json, styled
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .store_options import AppPath, Json, Store
from .store_reading import look

SHOWN = 20
KEPT = 1000
PROGRESS_S = 0.5


def migrate(
    app: AppPath,
    check: Annotated[bool, typer.Option("--check", help="Try the migrations on every stored state.")] = False,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Try an app's migrations on everything in a store.

    Nothing is written. A state of an older schema is migrated when it is next read, and stored in the new schema by its
    next commit, so no migration runs beforehand. This command reports beforehand what would fail, by name, with one
    example and what to do: states, open intents and held outcomes on which a migration fails; timers and intents that
    the contract no longer has; inbox actions whose trigger is gone; instances in a status that accepts no action. Exit
    code 1: something was found.

    \b
    Examples:
      onex migrate --check examples/orders
      onex migrate --check shop --type parcels --json
    """
    if not check:
        raise Misused(
            "states are migrated when they are next read, so nothing has to be run; onex migrate --check tries it"
        )
    inert = InertApp(app, beside=True)
    registry = inert.registry
    if of_type is not None:
        registry[of_type]
    kept: list[MigrationProblem] = []
    gaps: list[str] = []

    async def ask(reader: ReadableStore) -> MigrationCheckResult:
        try:
            check_schemas(registry.workflows, tuple((await reader.codes()).values()))
        except MigrationMissing as error:
            gaps.append(error.message)
        trial = MigrationCheck(reader, registry)
        result = trial.result
        with ProgressBar("migrating", "instances", shown=not as_json, wait_s=PROGRESS_S) as bar:
            showing = asyncio.create_task(_show_progress(bar, result, await reader.counts()))
            try:
                async for trouble in trial.run(of_type):
                    if len(kept) < KEPT:
                        kept.append(trouble)
            finally:
                showing.cancel()
        return result

    try:
        result = look(store, ask)
    finally:
        inert.close()
    if as_json:
        say_json(migration_check_json(result, kept, gaps))
    else:
        _show(result, kept, gaps)
    if result.names or gaps:
        raise typer.Exit(FOUND)


async def _show_progress(bar: ProgressBar, result: MigrationCheckResult, counts: Counts) -> None:
    """How far it is, also where one migration takes its time with every row."""
    total, intents = counts.instances, sum(counts.outbox.values())
    while True:
        await asyncio.sleep(PROGRESS_S)
        found = sum(result.troubles.values())
        problems = f", {found:,} with a problem" if found else ""
        bar.update(
            result.instances,
            total,
            f"{result.instances:,}/{total:,} instances, {result.intents:,}/{intents:,} open intents{problems}",
        )


def _show(result: MigrationCheckResult, kept: list[MigrationProblem], gaps: list[str]) -> None:
    for gap in gaps:
        say(f"{styled('refused to start', 'red')}  {harmless(gap)}")
    for one in list(result.names.values())[:SHOWN]:
        things = counted(one.rows, "instance" if one.what is EnumStranded.STATE else "row")
        where = f"{one.what} {one.name!r} of {one.workflow_type}, schema {one.schema}: {things}, first {one.first}"
        say(f"{styled('stranded', 'red')}  {harmless(where)}")
        say(f"  {one.reason}")
        if one.fix:
            say(f"  {styled('fix', 'dim')}  {one.fix}")
    if len(result.names) > SHOWN:
        note(f"and {len(result.names) - SHOWN:,} more names; --json shows all")
    say(
        f"{counted(result.instances, 'instance')}, {result.migrated:,} of an older schema, "
        f"{counted(result.intents, 'open intent')}"
    )
    for what, count in sorted(result.troubles.items()):
        say(f"{count:,} {what.replace('_', ' ')}")
    if result.foreign:
        note(f"{counted(result.foreign, 'instance')} belong to workflows that this app does not have, and were skipped")
    if not result.names and not gaps:
        say(styled("ok: every state and open intent can be read, and none is stranded", "green"))
