"""What commands share: the options --store, --json, --app and KEY, and reading from a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..settings import read_settings
from ..wiring import ReadableStore, open_reader
from .exit_codes import Misused

T = TypeVar("T")
ROWS_MAX = 1_000_000_000
ASK_S = 0.02
ASK_S_MAX = 0.25

Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The store. [default: ONEX_STORE, else sqlite:///.onex/store.db]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one document per line.")]
AppPath = Annotated[
    Path, typer.Argument(metavar="APP", help="Folder of the app: a contract.yaml, or folders with one.")
]
AppOption = Annotated[Path | None, typer.Option("--app", metavar="APP", help="Folder of the app.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The instance, as TYPE:INSTANCE.")]


def url_of(store: str | None) -> str:
    return store or read_settings().store_url


def look(store: str | None, ask: Callable[[ReadableStore], Awaitable[T]]) -> T:
    """Opens the store read-only, and returns what ``ask`` returns. Raises DatabaseConnectionError when there is no store."""

    async def run() -> T:
        reader = await open_reader(url_of(store))
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


async def until(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Calls ``ask`` every 20 to 250 ms until it returns a value. Never ends by itself: the caller sets a timeout."""
    pause_s = ASK_S
    while (found := await ask()) is None:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, ASK_S_MAX)
    return found


def numbers(text: str, count: int, what: str) -> list[int]:
    """The numbers of ``1:2:3``. Raises Misused."""
    parts = text.split(":")
    if len(parts) != count or not all(part.isdecimal() and len(part) < 19 for part in parts):
        shape = ":".join(("SHARD", "N", "ORDINAL")[:count])
        raise Misused(f"{text!r} is not a {what}; write {shape}, for example {':'.join(('0', '12', '0')[:count])}")
    return [int(part) for part in parts]
