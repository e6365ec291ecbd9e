"""``onex wait``: returns when an instance has reached a status. It reads the store only; an engine elsewhere makes the changes."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from ..engine.awaited_status import TERMINAL, AwaitedStatus
from ..engine.registry import Workflow
from ..kernel.action import WorkflowKey
from ..kernel.errors import UnknownWorkflow
from ..ports import Stored
from ..views.stored_value import iso
from ..wiring import WatchedReader, engine_runs, open_reader, shown_url
from .console import harmless, note, redraw, say, say_json, short
from .exit_codes import NotReached
from .store_options import AppOption, Json, Key, Store, url_of

LOOK_S: Final = 0.05
LOOK_S_MAX: Final = 0.5
"""The store is asked so often at most: soon after the start, then twice a second."""
REDRAW_S: Final = 1.0


def wait(
    key: Key,
    until: Annotated[
        str, typer.Option("--until", metavar="STATUS", help="The status to wait for; terminal is any that ends it.")
    ] = TERMINAL,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait; 0 looks once, inf never gives up.")
    ] = 30.0,
    app: AppOption = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Wait until an instance has a status, or has ended.

    It reads the store and opens no engine: onex run, or a program of yours, does the work. Exit code 0: the status is
    reached. Exit code 1: it cannot come any more, which is said at once. Exit code 3: it was not reached in time.

    With --app the status is compared with the contract: a misspelt one is refused, and one that cannot come from where the
    instance stands is said at once. Without it only the end of the instance shows what cannot come. A status that was
    entered and left between two looks is not seen.

    \b
    Examples:
      onex wait orders:4711
      onex wait orders:4711 --until shipped --timeout 120
      onex wait orders:4711 --until shipped --app examples/orders
      onex submit orders:4711 cancel --no-wait && onex wait orders:4711 --json | jq -r .status
    """
    at = WorkflowKey.parse(key)
    awaited = AwaitedStatus(at, until, None if app is None else _workflow(app, at))
    stored = asyncio.run(_reached(url_of(store), awaited, timeout))
    if as_json:
        say_json(
            {
                "key": str(at),
                "status": stored.status,
                "version": stored.version,
                "terminal": stored.terminal,
                "changed_at": iso(stored.last_us),
            }
        )
    else:
        ended = " (ended)" if stored.terminal else ""
        say(f"{at}  {harmless(stored.status)}{ended}  version {stored.version}")


def _workflow(app: Path, key: WorkflowKey) -> Workflow:
    """Raises UnknownWorkflow, ContractError."""
    from ..app import load_app

    found = load_app(app).workflows
    if key.workflow_type not in found:
        raise UnknownWorkflow(f"{app} has no workflow {key.workflow_type!r}; it has {', '.join(found)}")
    return found[key.workflow_type].recorded


async def _reached(url: str, awaited: AwaitedStatus, limit_s: float) -> Stored:
    """Raises NotReached, StatusUnreachable, DatabaseConnectionError."""
    reader = await open_reader(url)
    begun_s = time.monotonic()
    seen = _Seen(awaited, begun_s)
    try:
        stored = await seen.look(reader)
        if stored is not None:
            return stored
        if not await engine_runs(url):
            note(f"no engine runs on {shown_url(url)}, so nothing changes there: onex run APP")
        async with asyncio.timeout(max(0.0, begun_s + limit_s - time.monotonic())):
            return await seen.until(reader)
    except TimeoutError:
        raise NotReached(str(awaited.late(seen.last, limit_s)), status=seen.status) from None
    finally:
        seen.clear()
        await reader.close()


class _Seen:
    """What the looks at one instance have found. On a terminal it is drawn, and cleared at the end."""

    def __init__(self, awaited: AwaitedStatus, begun_s: float) -> None:
        self.last: Stored | None = None
        self._awaited, self._begun_s = awaited, begun_s
        self._shown = sys.stderr.isatty()

    @property
    def status(self) -> str | None:
        """None before the instance has begun."""
        return self.last.status if self.last is not None and self.last.version else None

    async def look(self, reader: WatchedReader) -> Stored | None:
        """The row, if the status is reached. Raises StatusUnreachable."""
        key = self._awaited.key
        self.last = (await reader.load([key])).get(key)
        if self.last is not None and self._awaited.is_reached(self.last):
            return self.last
        self._awaited.check(self.last)
        return None

    async def until(self, reader: WatchedReader) -> Stored:
        watch, pause_s = reader.watch(), LOOK_S
        drawing = asyncio.create_task(self._draw())
        try:
            while (stored := await self.look(reader)) is None:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LOOK_S_MAX)
                await watch.changed()
            return stored
        finally:
            drawing.cancel()

    async def _draw(self) -> None:
        while self._shown:
            where = "has not begun" if self.status is None else f"is {harmless(self.status)}"
            what = f"{self._awaited.key} {where}; waiting for {self._awaited.until}, {time.monotonic() - self._begun_s:.0f} s"
            redraw(short(what, shutil.get_terminal_size().columns - 1))
            await asyncio.sleep(REDRAW_S)

    def clear(self) -> None:
        if self._shown:
            redraw()
