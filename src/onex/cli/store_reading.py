"""Reading from a store: opened read-only for one question, or asked again until it has an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..wiring import ClosableSender, StoreUrl, WatchedReader, open_reader, shown_url
from ..wiring.store_access import open_sender_or_make
from .console import counted, note
from .store_options import url_of

T = TypeVar("T")
ASK_S = 0.02
ASK_S_MAX = 0.25


def look(store: str | None, ask: Callable[[WatchedReader], Awaitable[T]]) -> T:
    """Opens the store read-only, and returns what ``ask`` returns. Raises DatabaseConnectionError when there is no store."""

    async def run() -> T:
        reader = await open_reader(url_of(store))
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


async def open_sender_telling(url: str) -> ClosableSender:
    """``open_sender``. Where there was no store, a line says that one was made: the URL may be misspelt.

    The default place, in a folder ``.onex``, is none that somebody wrote.
    """
    sender, made = await open_sender_or_make(url)
    path = StoreUrl.parse(url).path
    if made and path is None:
        note(f"there was no store at {shown_url(url)}: made one, with {counted(sender.shards, 'shard')}")
    elif made and path is not None and path.parent.name != ".onex":
        note(f"there was no store at {path}: made one")
    return sender


async def until(ask: Callable[[], Awaitable[T | None]], changed: Callable[[], Awaitable[None]] | None = None) -> T:
    """Calls ``ask`` until it returns a value: after each ``changed``, else every 20 to 250 ms.

    Never ends by itself: the caller sets a timeout.
    """
    pause_s = ASK_S
    while (found := await ask()) is None:
        if changed is not None:
            await changed()
            continue
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, ASK_S_MAX)
    return found
