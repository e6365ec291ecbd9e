"""``onex dead`` and ``onex release``: what waits for a person, and how it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..kernel.action import WorkflowKey
from ..kernel.errors import ValidationError
from ..ports import EnumOutboxState, OutboxRow, Pointer, Reader
from ..wiring import WiredEngine, open
from .console import note, say, say_json, table
from .exits import Missing, Misused
from .store import AppOption, Json, Store, intent_name, look, numbers, parse_json, position_text, url_of

R = TypeVar("R")

STOPPED = (EnumOutboxState.DEAD, EnumOutboxState.HELD)
PAGE = 1000


def dead(
    redrive: Annotated[
        list[str] | None, typer.Option(metavar="POINTER", help="Run this one again (may be given often).")
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Run all of them again.")] = False,
    app: AppOption = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, help="Rows to show.")] = 50,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for what runs again.")
    ] = 60.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List intents that are dead or held, and run them again.

    A dead intent ended with nobody to tell; it runs again from its first attempt, with the same key. A held one was
    done, but its reducer failed on the result; that result is delivered again, the effect is not repeated. To run them
    again an engine is opened here, so none may run elsewhere.

    \b
    Examples:
      onex dead
      onex dead --redrive 0:12:0 --app examples/orders
      onex dead --all --app examples/orders
    """
    if redrive and all_of_them:
        raise Misused("give --redrive or --all, not both")
    if redrive or all_of_them:
        if app is None:
            raise Misused("what runs them again is the app: say which, --app PATH")
        there = look(store, _pointers)
        wanted = there if all_of_them else [Pointer(*numbers(text, 3, "pointer")) for text in redrive or ()]
        for pointer in wanted:
            if pointer not in there:
                raise Misused(f"nothing dead or held stands at {position_text(pointer)}; onex dead lists what does")
        asyncio.run(_redrive(url_of(store), app, wanted, timeout, as_json=as_json))
        return
    rows = look(store, lambda reader: _stopped(reader, limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        for row in rows:
            say_json(_as_json(row))
        return
    if not rows:
        note("nothing is dead or held")
        return
    table(
        ["pointer", "instance", "intent", "state", "attempts", "why"],
        [
            [
                position_text(row.pointer),
                str(row.key),
                intent_name(row),
                row.state.value,
                str(max(1, row.attempt)),
                row.error,
            ]
            for row in rows
        ],
        right=(4,),
    )
    if more:
        note(f"and more; --limit {2 * limit} shows them")


def release(
    key: Annotated[str, typer.Argument(metavar="KEY|TYPE", help="The instance, as TYPE:INSTANCE or TYPE INSTANCE.")],
    instance: Annotated[str | None, typer.Argument(metavar="INSTANCE", show_default=False)] = None,
    app: AppOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for what is delivered again.")
    ] = 60.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Let a held instance take actions again.

    An instance is held when its reducer failed on it three times. Mend the reducer first: new code ends the hold by
    itself. To release it an engine is opened here, so none may run elsewhere.

    \b
    Examples:
      onex release orders:4711 --app examples/orders
      onex release orders 4711 --app examples/orders
    """
    at = WorkflowKey.parse(key) if instance is None else WorkflowKey.of(key, instance)
    if app is None:
        raise Misused("it is released into the app's code: say which, --app PATH")
    asyncio.run(_release(url_of(store), app, at, timeout, as_json=as_json))


async def _stopped(reader: Reader, limit: int) -> list[OutboxRow]:
    return list(await reader.outbox(STOPPED, None, None, limit))


async def _redrive(url: str, app: Path, pointers: Sequence[Pointer], wait_s: float, *, as_json: bool) -> None:
    async def run(engine: WiredEngine) -> int:
        for pointer in pointers:
            with suppress(ValidationError):  # code that mends it has delivered it since, on opening
                await engine.redrive(pointer)
        return len(pointers)

    count, drained, left = await _with_engine(url, app, run, wait_s)
    if as_json:
        say_json({"redriven": count, "drained": drained, "left": left})
        return
    say(f"{count} run again; {left} dead or held now" if count else "nothing is dead or held")
    _tell_undrained(drained)


async def _release(url: str, app: Path, key: WorkflowKey, wait_s: float, *, as_json: bool) -> None:
    async def run(engine: WiredEngine) -> str:
        stored = await engine.stored(key)
        if stored is None:
            raise Missing(f"{key} has not begun; onex ls lists what has")
        await engine.release(key)
        return stored.held

    held, drained, left = await _with_engine(url, app, run, wait_s)
    if as_json:
        say_json({"key": str(key), "was_held": bool(held), "reason": held or None, "drained": drained, "left": left})
        return
    say(f"{key} takes actions again; it was held: {held}" if held else f"{key} was not held")
    _tell_undrained(drained)


async def _with_engine(
    url: str, app: Path, ask: Callable[[WiredEngine], Awaitable[R]], wait_s: float
) -> tuple[R, bool, int]:
    """Its answer, whether everything due has drained since, and how many are dead or held afterwards."""
    async with await open(url, app) as engine:
        answer = await ask(engine)
        try:
            async with asyncio.timeout(wait_s):
                await engine.idle()
        except TimeoutError:
            drained = False
        else:
            drained = True
        outbox = (await engine.reader.counts()).outbox
        return answer, drained, sum(outbox.get(state.value, 0) for state in STOPPED)


async def _pointers(reader: Reader) -> list[Pointer]:
    found: list[Pointer] = []
    while rows := await reader.outbox(STOPPED, None, found[-1] if found else None, PAGE):
        found += [row.pointer for row in rows]
    return found


def _tell_undrained(drained: bool) -> None:
    if not drained:
        note("some of it still waits for its next try; onex run APP goes on")


def _as_json(row: OutboxRow) -> dict[str, object]:
    return {
        "pointer": position_text(row.pointer),
        "key": str(row.key),
        "intent": intent_name(row),
        "state": row.state.value,
        "version": row.version,
        "attempts": max(1, row.attempt),
        "crashes": row.crashes,
        "error": row.error or None,
        "result": parse_json(row.result),
    }
