"""``onex gc``: old log rows into an archive file, then out of the store; and what nothing needs any more."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from ..replay.compaction import CompactionResult, carry_out, collect
from ..replay.compaction import archive as write_archive
from ..settings import read_settings
from ..wiring.store_access import KeptStore, StoreUrl, open_kept
from .console import counted, harmless, note, now_us, say, say_json
from .exit_codes import Misused
from .export_import import beside
from .progress import ProgressBar
from .store_options import Json, Store, url_of

_AGE: Final = re.compile(r"(\d{1,6})([dh])")
_UNITS_US: Final = {"d": 24 * 3_600_000_000, "h": 3_600_000_000}


def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Cut what is older: 90d, 720h.")
    ] = "90d",
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FILE", help="A new file for the log rows that go: NAME.onexrun."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Keep a store short: archive old log rows and remove them, and collect blobs and rows past their time.

    It runs beside an engine, in small transactions. Log rows go when they are older than AGE, a state behind them is kept,
    no intent of them is open and every projection has read them. They are written to the archive, and that file is durable,
    before one of them is removed. Without --archive no log row goes. onex replay APP --from FILE and onex verify --from
    FILE read an archive.

    An instance that has ended keeps its row, so it cannot begin again. AGE is at least the time for which action ids are
    remembered (ACTION_DEDUP_TTL_HOURS). Blobs go when nothing names them and they are a day old.

    \b
    Examples:
      onex gc --older-than 90d --dry-run
      onex gc --older-than 90d --archive 2026-11.onexrun
    """
    age_us = _age_us(older_than)
    if archive is not None and archive.exists():
        raise Misused(f"{archive} exists; each run writes an archive of its own, so name another file")
    url, now = url_of(store), now_us()
    with ProgressBar("archiving", "rows", shown=not as_json) as bar:
        result = asyncio.run(_compact(url, now - age_us, now, archive, dry_run=dry_run, bar=bar))
    cuts_rows = archive is not None or dry_run
    if as_json:
        shown = {"dry_run": dry_run, "archive": None if dry_run or archive is None else str(archive)}
        say_json({**shown, **{name: getattr(result, name) for name in CompactionResult.__slots__}})
        return
    would = "would go" if dry_run else "went"
    if cuts_rows:
        ended = f", {result.ended:,} of them ended" if result.ended else ""
        say(f"{counted(result.rows, 'log row')} of {counted(result.cut, 'instance')}{ended} {would}")
    else:
        note("no log row went: name a file for them with --archive, or see with --dry-run what would go")
    say(
        f"{counted(result.blobs, 'blob')} ({result.blob_bytes:,} bytes), {counted(result.expired, 'row')} past their time {would}"
    )
    if result.held_by:
        note(
            f"a message of {harmless(result.held_by)} is open since before that time, so nothing younger went. "
            "onex dead shows it if it is dead"
        )
    if result.stayed:
        note(f"{counted(result.stayed, 'instance')} moved on meanwhile and kept their rows; they go with the next run")


async def _compact(
    url: str, before_us: int, now: int, out: Path | None, *, dry_run: bool, bar: ProgressBar
) -> CompactionResult:
    result = CompactionResult()
    async with _opened(url) as store:
        if out is not None and not dry_run:
            with beside(out) as made, made.open("w", encoding="utf-8") as file:
                cuts = await write_archive(store, before_us, file, result, bar.advance)
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(out)
            await carry_out(store, cuts, now, result)
        elif dry_run:
            await write_archive(store, before_us, None, result)
        await collect(store, now, result, dry=dry_run)
    return result


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[KeptStore]:
    store = await open_kept(StoreUrl.parse(url), create=False)
    try:
        yield store
    finally:
        await store.close()


def _sync_folder(file: Path) -> None:
    """The name of a file is durable when its folder is."""
    descriptor = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _age_us(text: str) -> int:
    """Raises Misused."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise Misused(f"--older-than {text!r} is no age; write 90d or 720h")
    age_us, hours = int(found[1]) * _UNITS_US[found[2]], read_settings().action_dedup_ttl_hours
    if age_us < hours * _UNITS_US["h"]:
        raise Misused(
            f"--older-than {text} is shorter than the {hours} h for which action ids are remembered; a late duplicate would be "
            f"applied again. Write {hours}h or more (ACTION_DEDUP_TTL_HOURS sets it)"
        )
    return age_us
