"""``onex backup`` and ``onex restore``: a store saved into one file beside its engine, and made again of that file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..wiring.backup import BackedUp, back_up_store, restore_store
from ..wiring.store_access import shown_url
from .console import counted, harmless, note, say, say_json
from .progress import ProgressBar
from .store_options import Json, Store, url_of

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]


def backup(file: File, store: Store = None, as_json: Json = False) -> None:
    """Save a SQLite store into one file, while its engine runs.

    The file holds the store as it was at one moment; the engine is not stopped. It appears complete or not at all, and never
    replaces a file. It can be read like a store (onex verify, show, replay), but no engine runs on it. A store on PostgreSQL
    is saved by pg_dump.

    \b
    Examples:
      onex backup monday.backup
      onex backup /mnt/backups/shop.backup --store sqlite:///shop.db --json
    """
    url = url_of(store)
    with ProgressBar("saving", "pages", shown=not as_json) as bar:
        holds = back_up_store(url, file, bar.update)
    if as_json:
        say_json({"store": shown_url(url), "file": str(file), **holds._asdict()})
        return
    say(f"{harmless(str(file))} holds {_counted(holds)}, as of {_time(holds.made_us)}")


def restore(
    file: File,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="The new store: sqlite:///FILE.")],
    damaged_too: Annotated[bool, typer.Option("--damaged-too", help="Restore it although it is damaged.")] = False,
    as_json: Json = False,
) -> None:
    """Make a new store of a backup, for an engine to go on with.

    The store is created completely or not at all, and only where no file is. The backup is checked first. Stop the engine of the
    old store before one runs on the new: both would run the same intents. The new store's fences are higher, so an owner of
    the old one can commit nothing to it.

    What was acknowledged after the backup is not in it. Clients that kept their action ids send those again: what the backup
    has is answered as a duplicate. Intents that were open at the backup run again, under the same keys.

    \b
    Examples:
      onex restore monday.backup --store sqlite:///shop.db
    """
    with ProgressBar("restoring", "pages", shown=not as_json) as bar:
        holds = restore_store(file, store, bar.update, damaged_too=damaged_too)
    if as_json:
        say_json({"store": store, "file": str(file), **holds._asdict()})
        return
    say(f"{harmless(store)} holds {_counted(holds)}, as of {_time(holds.made_us)}")
    if holds.last_us:
        note(
            f"its last action is of {_time(holds.last_us)}: what was acknowledged later is not in it, and is to be sent again"
        )
    if holds.waiting:
        note(f"{counted(holds.waiting, 'intent')} not settled: what had begun runs again, under the same key")
    if holds.sent:
        note(f"{counted(holds.sent, 'action')} in the inbox without an answer: the next engine carries them out")


def _counted(holds: BackedUp) -> str:
    return f"{counted(holds.instances, 'instance')}, {counted(holds.actions, 'action')}"


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(sep=" ", timespec="seconds")
