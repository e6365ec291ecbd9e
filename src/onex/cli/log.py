"""``onex log``: applied actions in log order, with --follow as they are applied."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from typing import Annotated, NamedTuple

import typer

from ..engine.projections import rows_after
from ..kernel.action import WorkflowKey
from ..ports import LogEntry, Position, Reader
from ..views.causes import causes_of
from ..views.hidden import HiddenFields
from ..views.stored_rows import log_entry_json
from ..views.stored_value import intent_names, iso, position_text
from ..wiring import WatchedReader
from .console import GAP, harmless, note, now_us, say, say_json, table, when
from .exit_codes import FOUND
from .own_output import own_stdout
from .secret_marks import hidden_fields
from .store_options import ROWS_MAX, AppOption, Json, NoRedact, Store, numbers
from .store_reading import look

PAGE = 500


class _Shown(NamedTuple):
    """How an entry is printed; ``hide``: without which fields."""

    as_json: bool
    hide: HiddenFields | None


def log(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Only this instance.", show_default=False)] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue to show actions as they are applied.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(metavar="POSITION", help="Only actions behind this position (with KEY: behind this version)."),
    ] = None,
    causes: Annotated[
        int | None,
        typer.Option(metavar="VERSION", min=1, help="With KEY: what led to this version, from the first cause on."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    app: AppOption = None,
    no_redact: NoRedact = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show applied actions, of all instances or of one.

    Without --after the last actions are shown, with --after the next ones behind that position. --follow runs until Ctrl-C.

    --causes follows outcomes, timers and messages back, across instances, to the action that somebody sent.

    --json shows payloads and intents, too. Values of secret fields are *** there: fields with a name like password, token or
    api_key, and with --app those that the app marks as Secret.

    \b
    Examples:
      onex log
      onex log orders:4711
      onex log --follow --json
      onex log --after 0:1000 --limit 500
      onex log orders:4711 --causes 3
    """
    shown = _Shown(as_json, hidden_fields(app, no_redact=no_redact) if as_json else None)
    if causes is not None and (key is None or follow or after is not None):
        raise typer.BadParameter("it needs a KEY, and goes with neither --follow nor --after", param_hint="'--causes'")
    if key is not None and causes is not None:
        asked = WorkflowKey.parse(key)
        look(store, lambda reader: _causes(reader, asked, causes, shown))
    elif key is not None:
        at = WorkflowKey.parse(key)
        begin = None if after is None else numbers(after, 1, "version")[0]
        look(store, lambda reader: _of_one(reader, at, begin, limit, shown, follow=follow))
    else:
        position = None if after is None else Position(*numbers(after, 2, "position"))
        look(store, lambda reader: _of_all(reader, position, limit, shown, follow=follow))


async def _of_one(
    reader: WatchedReader, key: WorkflowKey, after: int | None, limit: int, shown: _Shown, *, follow: bool
) -> None:
    watch = reader.watch()
    stored = (await reader.load([key])).get(key)
    if after is None:
        after = max(0, stored.version - limit) if stored is not None else 0
    entries = await reader.history(key, after, limit)
    _print(entries, shown, headed=True)
    if not entries and not follow:
        note(
            f"{key} has no actions behind version {after}"
            if stored
            else f"{key} has not begun; onex ls lists instances"
        )
        if not stored:
            raise typer.Exit(FOUND)
    while follow:
        after = entries[-1].version if entries else after
        entries = await reader.history(key, after, PAGE)
        _print(entries, shown, headed=False)
        if not entries:
            await watch.changed()


async def _causes(reader: WatchedReader, key: WorkflowKey, version: int, shown: _Shown) -> None:
    found = await causes_of(reader, key, version)
    if found is None:
        note(f"the log has no {key} version {version}; onex log {key} shows those it has")
        raise typer.Exit(FOUND)
    if shown.as_json:
        _print(found.chain, shown, headed=True)
    else:
        now = now_us()
        table(
            ["when", "instance", "version", "trigger", "status", "by"],
            [_cause_cells(entry, now) for entry in found.chain],
            right=(2,),
        )
    if found.broken:
        note(found.broken)


def _cause_cells(entry: LogEntry, now: int) -> list[str]:
    row = entry.row
    cells = [when(row.issued_us, now), str(entry.key), str(entry.version), row.kind, row.status]
    return [*cells, row.issuer or "a client"]


async def _of_all(reader: WatchedReader, after: Position | None, limit: int, shown: _Shown, *, follow: bool) -> None:
    watch, places = reader.watch(), await _begin(reader, after, limit)
    entries = await _behind(reader, places, limit)
    entries = entries[:limit] if after is not None else entries[-limit:]
    _print(entries, shown, headed=True)
    if not entries and not follow:
        note(
            "the log has no actions behind that position"
            if any(places.values())
            else "the log is empty; onex submit KEY TRIGGER sends an action"
        )
    while follow:
        entries = await _behind(reader, places, PAGE)
        _print(entries, shown, headed=False)
        if not entries:
            await watch.changed()


async def _begin(reader: Reader, after: Position | None, limit: int) -> dict[int, int]:
    """Where to begin in each shard: behind the given position, in its shard alone; else so that its last ``limit`` rows follow."""
    if after is not None:
        return {after.shard: after.n}
    if reader.shards == 1:
        return {0: max(0, (await reader.counts()).actions - limit)}
    return {shard: max(0, await rows_after(reader, Position(shard, 0)) - limit) for shard in range(reader.shards)}


async def _behind(reader: Reader, places: dict[int, int], limit: int) -> list[LogEntry]:
    """The next rows of each shard, by time; each shard's in its own order. ``places`` move on behind them."""
    found = []
    for shard, n in places.items():
        rows = await reader.log(Position(shard, n), limit)
        if rows:
            places[shard] = rows[-1].position.n
            found.append(rows)
    return list(merge(*found, key=lambda entry: entry.row.issued_us))


def _print(entries: Sequence[LogEntry], shown: _Shown, *, headed: bool) -> None:
    if not entries:
        return
    if shown.as_json:
        for entry in entries:
            say_json(log_entry_json(entry, shown.hide))
    elif headed:
        now = now_us()
        table(
            ["position", "when", "instance", "version", "trigger", "status", "intents"],
            [_cells(entry, now) for entry in entries],
            right=(3,),
        )
    else:  # line by line, so there are no columns to align
        for entry in entries:
            intents = ", ".join(intent_names(entry.row.intents))
            cells = [
                position_text(entry.position),
                iso(entry.row.issued_us),
                harmless(str(entry.key)),
                str(entry.version),
                f"{entry.row.kind} -> {entry.row.status}",
                intents,
            ]
            say(GAP.join(cells).rstrip())
    own_stdout().flush()


def _cells(entry: LogEntry, now: int) -> list[str]:
    row = entry.row
    return [
        position_text(entry.position),
        when(row.issued_us, now),
        str(entry.key),
        str(entry.version),
        row.kind,
        row.status,
        ", ".join(intent_names(row.intents)),
    ]
