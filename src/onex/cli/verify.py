"""``onex verify``: what a store says against itself. Needs no app, reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..replay.verify import VerifyResult, fix_of
from ..replay.verify import verify as verified
from ..views.replay import verify_json
from ..wiring.recorded import RunSource
from .console import counted, harmless, note, say, say_json, styled
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .store_options import Json, Store, url_of


def verify(
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="An exported file or an archive instead of a store.")
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Check a store against itself: hash chains, checksums, counts, rows that point at nothing.

    It reads only, needs no code of the app, and may run beside an engine. Each row of the log, each state and each blob is
    read, and its checksum is made again. Each state hash is made again where the state behind it is stored. One line per
    finding says what to do next. Exit code 1: something was found; 3: the store cannot be read.

    To check also what the app decided, fold the log with its code: onex replay APP.

    \b
    Examples:
      onex verify
      onex verify --store sqlite:///shop.db --json
      onex verify --from january.onexrun
    """
    if from_file is not None and store is not None:
        raise Misused("--from and --store both name a source; give one")
    source = RunSource(file=str(from_file)) if from_file is not None else RunSource(store_url=url_of(store))
    with ProgressBar("verifying", "rows", shown=not as_json) as bar:
        result = asyncio.run(_verified(source, bar.advance))
    if as_json:
        say_json(verify_json(result))
    else:
        _show(result)
    if result.findings:
        raise typer.Exit(FOUND)


async def _verified(source: RunSource, on_rows: Callable[[int], None]) -> VerifyResult:
    async with source.opened() as run:
        return await verified(run, on_rows)


def _show(result: VerifyResult) -> None:
    for one in result.found:
        where = "the store" if one.key is None else str(one.key)
        say(f"{styled('damage', 'red')}  {harmless(where)}: {harmless(one.what)}. Next: {fix_of(one)}")
    if result.findings > len(result.found):
        note(f"{result.findings - len(result.found):,} more are not shown")
    if result.without:
        note(f"{counted(result.without, 'row')} without a checksum: of an exported file, or written by an older ONEX")
    verdict = styled("damaged", "red") if result.findings else styled("whole", "green")
    say(
        f"{counted(result.instances, 'instance')}, {counted(result.actions, 'action')}, "
        f"{counted(result.checked, 'checksum')} made again: {verdict}"
    )
