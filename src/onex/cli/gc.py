"""``onex gc``: old log rows into an archive file, then out of the store; and what nothing needs any more."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from ..replay.compaction import CompactionResult
from ..settings import read_settings
from ..wiring.store_upkeep import StoreUpkeep
from .console import counted, harmless, note, say, say_json
from .exit_codes import Misused
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
    remembered: ACTION_DEDUP_TTL_HOURS of this process, so run it with the settings of the engine. Blobs go when nothing
    names them and they are a day old.

    Once a row is cut, its action id is forgotten. An old id that ONEX made, a UUIDv7, is refused by its age. An id without an
    age, an idempotency key or another UUID, is applied again if it is sent again and its instance has not ended.

    \b
    Examples:
      onex gc --older-than 90d --dry-run
      onex gc --older-than 90d --archive 2026-11.onexrun
    """
    age_us = _age_us(older_than)
    if archive is not None and archive.exists():
        raise Misused(f"{archive} exists; each run writes an archive of its own, so name another file")
    upkeep = StoreUpkeep(url_of(store))
    with ProgressBar("archiving", "rows", shown=not as_json) as bar:
        result = asyncio.run(upkeep.compact(age_us, archive, dry=dry_run, on_rows=bar.advance))
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
    if result.rows:
        forgotten = "would be forgotten" if dry_run else "are forgotten"
        note(
            f"the action ids of these rows {forgotten}: an idempotency key among them that is sent again is applied again"
        )
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
