"""``onex ls``: the instances of a store, or how many are in each status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated

import typer

from ..kernel.action import WorkflowKey
from ..ports import Counts, EnumOutboxState, Pointer, Reader, Stored
from ..views.stored_rows import StoppedIntents, instance_json
from .console import counted, harmless, note, now_us, say_json, table, when
from .failing import failing_of, tell_failing
from .store_options import ROWS_MAX, Json, Store
from .store_reading import look

PAGE = 1000
STOPPED_READ = 10_000
NONE_STOPPED = StoppedIntents()


def ls(
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only in this status.")] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Only instances after this one.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Only count instances by status.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List instances.

    \b
    Examples:
      onex ls
      onex ls --type orders --status in_doubt
      onex ls --count
      onex ls --json | jq -r .key
    """
    if count:
        _show_counts(look(store, lambda reader: reader.counts()), of_type, status, as_json=as_json)
        return
    behind = None if after is None else WorkflowKey.parse(after)

    async def ask(reader: Reader) -> tuple[list[Stored], str, Mapping[WorkflowKey, StoppedIntents]]:
        found = list(await reader.instances(of_type, status, behind, limit + 1))
        there = "" if found else nothing_such(await reader.counts(), of_type, status)
        return found, there, await _stopped(reader)

    found, there, stopped = look(store, ask)
    more, rows = len(found) > limit, found[:limit]
    if as_json:
        for row in rows:
            say_json(instance_json(row, stopped.get(row.key, NONE_STOPPED)))
        return
    tell_failing(look(store, lambda reader: failing_of(reader, rows, whole=not any((of_type, status, after)))))
    if not rows:
        narrowed = any((of_type, status, after))
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
        note(f"there are more; --after {rows[-1].key} continues")


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
