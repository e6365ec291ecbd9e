"""``onex ls``: the instances of a store, or how many are in each status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated

import typer

from ..engine.search_text import asked_query
from ..kernel.action import WorkflowKey
from ..kernel.search_query import SearchPlace
from ..ports import Counts, EnumOutboxState, Pointer, Reader, SearchCode, Stored
from ..views.stored_rows import StoppedIntents, instance_json
from ..wiring import WatchedReader
from .console import counted, harmless, note, now_us, say_json, table, when
from .count import show_tally
from .failing import failing_of, tell_failing
from .searching import OfType, Where, place_of_text, place_text
from .store_options import ROWS_MAX, Json, Store
from .store_reading import look

PAGE = 1000
STOPPED_READ = 10_000
NONE_STOPPED = StoppedIntents()


def ls(
    of_type: OfType = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only in this status.")] = None,
    where: Where = None,
    order: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="In the order of this column; COLUMN desc: the greatest first.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only behind this one: a key, or what the page before printed.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only count instances by status.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List instances.

    --where compares the search fields that a contract lists, and for every instance type, id, status, version, updated, began, held
    and ended: = != < <= > >= in between like prefix is null, and, or, not. Text stands in single quotes, a time is text. The list
    is in the order of keys, or of --order; missing values come last.

    \b
    Examples:
      onex ls
      onex ls --type orders --status in_doubt
      onex ls --count
      onex ls --where "total_cents > 500 and status = 'in_doubt'"
      onex ls --where "held = true or updated < '2026-11-30'" --order "updated desc"
      onex ls --json | jq -r .key
    """
    if count and where is None:
        _show_counts(look(store, lambda reader: reader.counts()), of_type, status, as_json=as_json)
        return
    if count:
        show_tally(store, where, of_type=of_type, status=status, by="status", as_json=as_json)
        return
    behind = place_of_text(after, order)
    query = None

    async def ask(reader: WatchedReader) -> tuple[list[Stored], str, Mapping[WorkflowKey, StoppedIntents]]:
        nonlocal query
        if where is None and order is None:
            key = None if behind is None else behind.key
            found = list(await reader.instances(of_type, status, key, limit + 1))
        else:
            query = await asked_query(reader, where, of_type=of_type, status=status, order=order)
            rows = await reader.find(query, behind, limit + 1)
            values.extend(value for _, value in rows)
            found = [stored for stored, _ in rows]
        there = "" if found else nothing_such(await reader.counts(), of_type, status)
        return found, there, await _stopped(reader)

    values: list[SearchCode] = []

    found, there, stopped = look(store, ask)
    more, rows = len(found) > limit, found[:limit]
    if as_json:
        for row in rows:
            say_json(instance_json(row, stopped.get(row.key, NONE_STOPPED)))
        return
    narrowed = any((of_type, status, after, where))
    tell_failing(look(store, lambda reader: failing_of(reader, rows, whole=not narrowed)))
    if not rows:
        note(f"no such instances{there}" if narrowed else "there are no instances; onex submit KEY TRIGGER begins one")
        return
    now = now_us()
    table(
        ["instance", "status", "version", "changed", ""],
        [
            [str(row.key), row.status, str(row.version), when(row.last_us, now), _remark(row, stopped.get(row.key))]
            for row in rows
        ],
        right=(2,),
    )
    if any(row.key in stopped for row in rows):
        note("onex dead lists held and dead intents")
    if more:
        place = rows[-1].key if query is None else place_text(SearchPlace(rows[-1].key, values[limit - 1]), query)
        note(f"there are more; --after {place} continues")


def nothing_such(counts: Counts, of_type: str | None, status: str | None) -> str:
    """What was asked for and no instance has, with what there is; '' where both are there."""
    types = sorted({name for name, _ in counts.by_status})
    if of_type is not None and of_type not in types:
        return f"; the types are {', '.join(types)}" if types else ""
    statuses = sorted({at for name, at in counts.by_status if of_type in (None, name)})
    if status is None or status in statuses or not statuses:
        return ""
    near = get_close_matches(status, statuses, 1)
    return f"; none is in {harmless(status)!r}" + (
        f", did you mean {near[0]!r}?" if near else f"; they are in {', '.join(statuses)}"
    )


async def _stopped(reader: Reader) -> Mapping[WorkflowKey, StoppedIntents]:
    """Of each instance that has any: its held and dead intents, among the first STOPPED_READ of the store."""
    found: Counter[tuple[WorkflowKey, EnumOutboxState]] = Counter()
    after: Pointer | None = None
    while sum(found.values()) < STOPPED_READ:
        rows = await reader.outbox((EnumOutboxState.HELD, EnumOutboxState.DEAD), None, after, PAGE)
        found.update((row.key, row.state) for row in rows)
        if len(rows) < PAGE:
            break
        after = rows[-1].pointer
    return {key: StoppedIntents(found[key, EnumOutboxState.HELD], found[key, EnumOutboxState.DEAD]) for key, _ in found}


def _remark(row: Stored, stopped: StoppedIntents | None) -> str:
    """Why it stands still comes first."""
    parts = [f"held: {row.held}" if row.held else "ended" if row.terminal else ""]
    if stopped is not None:
        parts += [counted(stopped.held, "held intent") if stopped.held else ""]
        parts += [counted(stopped.dead, "dead intent") if stopped.dead else ""]
    return ", ".join(part for part in parts if part)


def _show_counts(counts: Counts, of_type: str | None, status: str | None, *, as_json: bool) -> None:
    rows = [
        (name, at, n) for (name, at), n in counts.by_status.items() if of_type in (None, name) and status in (None, at)
    ]
    if as_json:
        for name, at, n in rows:
            say_json({"type": name, "status": at, "instances": n})
        return
    table(["type", "status", "instances"], [[name, at, str(n)] for name, at, n in rows], right=(2,))
