"""``onex dead`` and ``onex release``: intents and instances that wait for a person."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ..engine.operator_requests import REDRIVE, RELEASE, STOPPED
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..ports import EnumOutboxState, OutboxRow, Pointer, Reader
from ..views.stored_rows import stopped_intent_json
from ..views.stored_value import intent_name, position_text, tries_made
from .console import counted, harmless, note, say, say_json, table
from .exit_codes import Misused
from .operator_requests import OperatorRequest, OperatorResult, operate
from .secret_marks import hidden_fields
from .store_options import ROWS_MAX, AppOption, Json, NoRedact, Store, numbers, url_of
from .store_reading import look

PAGE = 1000


def dead(
    redrive: Annotated[
        list[str] | None, typer.Option(metavar="POINTER", help="Run this intent again. May be repeated.")
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Run all of them again.")] = False,
    app: AppOption = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the intents that run again.")
    ] = 60.0,
    no_redact: NoRedact = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List intents that are dead or held, and run them again.

    A dead intent has failed for good, and its contract names no trigger for that outcome. It runs again from its first
    attempt, with the same idempotency key. An outcome or a timer is held when the reducer failed on it: it is delivered
    again, and the effect is not repeated. A dead intent with outcomes whose instance has ended is refused, and left out by --all:
    nobody takes its outcome any more. The engine that runs on the store does this. If none runs, one is opened,
    which needs --app. It runs whatever else is due on the store, too, and a line says how much that was.

    --json shows the result that is held, too. Values of secret fields are *** there: fields with a name like password, token or
    api_key, and with --app those that the app marks as Secret.

    \b
    Examples:
      onex dead
      onex dead --redrive 0:12:0
      onex dead --all --app examples/orders
    """
    if redrive and all_of_them:
        raise Misused("give --redrive or --all, not both")
    if redrive or all_of_them:
        there = look(store, _where)
        wanted = [*there] if all_of_them else [Pointer(*numbers(text, 3, "pointer")) for text in redrive or ()]
        for pointer in wanted:
            if pointer not in there:
                raise Misused(f"no dead or held intent at {position_text(pointer)}; onex dead lists them")
        if wanted:
            requests = [
                OperatorRequest(there[one], REDRIVE, {"pointer": position_text(one)}, (one,))
                for one in dict.fromkeys(wanted)
            ]
            result = asyncio.run(operate(url_of(store), app, requests, timeout, leave_ended=all_of_them))
            _report_redriven(len(requests) - result.ended, result, app, as_json=as_json)
        elif as_json:
            say_json({"redriven": 0, "ended": 0, "drained": True, "left": 0})
        else:
            note("no intents are dead or held")
        return
    rows, statuses = look(store, lambda reader: _stopped(reader, limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        hide = hidden_fields(app, no_redact=no_redact)
        for row in rows:
            say_json(stopped_intent_json(row, statuses.get(row.key), hide))
        return
    if not rows:
        note("no intents are dead or held")
        return
    table(
        ["pointer", "instance", "status", "intent", "state", "attempts", "why"],
        [
            [
                position_text(row.pointer),
                str(row.key),
                statuses.get(row.key, ""),
                intent_name(row),
                row.state.value,
                str(tries_made(row)),
                row.error,
            ]
            for row in rows
        ],
        right=(5,),
    )
    if more:
        note(f"there are more; --limit {2 * limit} shows them")


def release(
    key: Annotated[str, typer.Argument(metavar="KEY|TYPE", help="The instance, as TYPE:INSTANCE or TYPE INSTANCE.")],
    instance: Annotated[str | None, typer.Argument(metavar="INSTANCE", show_default=False)] = None,
    app: AppOption = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the outcomes that are delivered again."),
    ] = 60.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Let a held instance take actions again.

    An instance is held when its reducer failed on it three times. Fix the reducer and start the new
    code, or release it with this command. The engine that runs on the store does this. If none runs, one is opened, which needs
    --app. It runs whatever else is due on the store, too, and a line says how much that was.

    \b
    Examples:
      onex release orders:4711
      onex release orders 4711 --app examples/orders
    """
    at = WorkflowKey.parse(key) if instance is None else WorkflowKey.of(key, instance)
    held, moves = look(store, lambda reader: _held(reader, at))
    result = asyncio.run(operate(url_of(store), app, [OperatorRequest(at, RELEASE, {}, moves)], timeout))
    if as_json:
        say_json({"key": str(at), "was_held": bool(held), "reason": held or None, **result.as_json()})
        return
    say(f"{at} takes actions again; it was held: {harmless(held)}" if held else f"{at} was not held")
    _report_rest(result, app)


async def _stopped(reader: Reader, limit: int) -> tuple[list[OutboxRow], dict[WorkflowKey, str]]:
    """The rows, and the statuses of their instances."""
    rows = list(await reader.outbox(STOPPED, None, None, limit))
    stored = await reader.load(list({row.key for row in rows}))
    return rows, {key: f"{one.status} (ended)" if one.terminal else one.status for key, one in stored.items()}


async def _where(reader: Reader) -> dict[Pointer, WorkflowKey]:
    """Pointer and instance of every dead or held intent."""
    found: dict[Pointer, WorkflowKey] = {}
    after: Pointer | None = None
    while rows := await reader.outbox(STOPPED, None, after, PAGE):
        found |= {row.pointer: row.key for row in rows}
        after = rows[-1].pointer
    return found


async def _held(reader: Reader, key: WorkflowKey) -> tuple[str, tuple[Pointer, ...]]:
    """Why it is held ('' if it is not), and the pointers of its held outcomes. Raises NotFound."""
    stored = (await reader.load([key])).get(key)
    if stored is None:
        raise NotFound(f"{key} has not begun; onex ls lists instances")
    rows = await reader.outbox((EnumOutboxState.HELD,), key, None, PAGE)
    return stored.held, tuple(row.pointer for row in rows)


def _report_redriven(count: int, result: OperatorResult, app: Path | None, *, as_json: bool) -> None:
    if as_json:
        say_json({"redriven": count, "ended": result.ended, **result.as_json()})
        return
    say(f"{counted(count, 'intent')} started again; {result.left} dead or held now")
    if result.ended:
        note(
            f"{counted(result.ended, 'intent')} left out: its instance has ended, and nobody takes the outcome any more"
        )
    _report_rest(result, app)


def _report_rest(result: OperatorResult, app: Path | None) -> None:
    """What else happened: an engine that was opened for this runs whatever is due, and some of it may wait still."""
    if (did := result.opened) is not None:
        ran = f"{counted(did.effects_run, 'effect')} run, {counted(did.committed, 'action')} committed"
        note(f"no engine ran, so one was opened here, and it did all that was due: {ran}")
    if not result.drained:
        note(
            f"some intents still wait for their next attempt; if no engine runs, onex run {app or 'APP'} continues them"
        )
