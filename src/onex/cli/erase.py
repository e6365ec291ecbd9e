"""``onex erase``: one instance becomes unreadable for everybody, and its history stays."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from ..engine.operator_requests import ERASE
from ..kernel.action import WorkflowKey
from ..kernel.data_key import EnumUnreadable, mark_text, unreadable
from ..kernel.errors import NotFound
from ..ports import Reader, Stored
from ..wiring import engine_runs
from ..wiring.erasing import erase_here, overwrite
from .console import note, say, say_json, shown
from .exit_codes import Misused
from .operator_requests import OperatorRequest, operate
from .store_options import Json, Key, Store, url_of
from .store_reading import look
from .user_name import user_name


def erase(
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the engine that runs.")
    ] = 60.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Erase an instance of an encrypted store: destroy its key, for ever.

    Its payloads, states, intents and results cannot be read any more, by anybody, here or in an archive. Order, triggers, statuses,
    times and counts stay. Blobs that only it names are removed. Its open intents and timers are dead, and what is sent to it is
    refused. Replay says "unverified (erased)". Who erased it, and when, stands in place of its values.

    The engine that runs on the store does it; if none runs, this command does. In the files of a SQLite store nothing is left of
    the key afterwards. What a PostgreSQL server and backups keep, and what to do about it, says the guide on erasing.

    \b
    Examples:
      onex erase orders:4711
      onex erase orders:4711 --yes --json
    """
    at, url = WorkflowKey.parse(key), url_of(store)
    stored = look(store, lambda reader: _stored(reader, at))
    again = unreadable(stored.state) is EnumUnreadable.ERASED
    if not yes and not again:
        _ask(at, stored)
    by = user_name()
    if asyncio.run(engine_runs(url)):
        request = OperatorRequest(at, ERASE, {"operator": by}, ())
        asyncio.run(operate(url, None, [request], timeout))
        clean = asyncio.run(overwrite(url))
    else:
        clean = asyncio.run(erase_here(url, at, by)).overwritten
    said = look(store, lambda reader: _stored(reader, at)).state
    if as_json:
        say_json({"key": str(at), "erased": mark_text(said), "was_erased": again, "overwritten": clean})
        return
    say(
        f"{at} was {'already ' if again else ''}{mark_text(said)}: {stored.version} actions stay, and nobody reads them"
    )
    if not clean:
        note(
            "the key may still stand in files: another process was reading them, or the store is on a server, whose write-ahead "
            "log keeps it for a while. Run this again when nobody reads, or see docs/guides/encrypting-and-erasing.md"
        )


def _ask(key: WorkflowKey, stored: Stored) -> None:
    """Raises Misused unless the key is typed again, on a terminal."""
    if not sys.stdin.isatty():
        raise Misused(f"erasing {key} cannot be undone; say --yes to erase it without being asked")
    note(f"{key} is {stored.status}, with {stored.version} actions. Erasing it cannot be undone, by nobody.")
    if typer.prompt(shown("type its key to erase it"), default="", show_default=False, err=True) != str(key):
        raise Misused(f"{key} was not erased: that was another key")


async def _stored(reader: Reader, key: WorkflowKey) -> Stored:
    found = (await reader.load([key])).get(key)
    if found is None:
        raise NotFound(f"{key} has not begun; onex ls lists instances")
    return found
