"""``GET /api/instances``: instances by type, status, beginning of their id and condition, page by page, with how many there are.

A page is read in the order of keys and continues behind a key, so a page costs the same wherever it is. The number of instances by
type and status is counted apart, and at most some moments old.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query

from ..engine.search_text import QUERY_MAX, asked_query
from ..kernel.action import WorkflowKey
from ..kernel.search_query import BUILTIN, SearchPlace, Test
from ..ports import EnumOutboxState, Stored
from ..views.stored_rows import StoppedIntents, instance_json
from .answers import KEY, Answered, CountAnswer, InstanceRow, Rows
from .policy import GuardedRoute
from .served_store import Served, ServedStore
from .waiting import reasons

routes = APIRouter(route_class=GuardedRoute, tags=["instances"])

PAGE: Final = 500
LAST: Final = "\U0010ffff"  # sorts behind every text that begins alike
_STOPPED: Final = (EnumOutboxState.HELD, EnumOutboxState.DEAD)
STOPPED_READ: Final = 50
"""Of so many instances of a page the held and dead intents are counted."""
HELD_SCAN: Final = 5000
"""Instances that one question about held ones looks at."""


class InstancePageAnswer(Answered):
    """``next`` is the key to ask behind; null: this is the last page. ``counts`` are of all instances that fit type, status and
    ``where``."""

    instances: list[InstanceRow]
    next: str | None
    counts: list[CountAnswer]


class HeldAnswer(Answered):
    """Instances that take no action until somebody releases them. ``next``: the scan ended there; ask behind it for more."""

    instances: list[InstanceRow]
    next: str | None


@routes.get("/api/instances")
async def instances(
    served: Served,
    of_type: Annotated[str | None, Query(alias="type", max_length=64, description="only this workflow")] = None,
    status: Annotated[str | None, Query(max_length=200, description="only in this status")] = None,
    text: Annotated[str, Query(max_length=265, description="how the instance id begins, or the whole key")] = "",
    after: Annotated[str | None, Query(pattern=KEY, max_length=265, description="only behind this key")] = None,
    limit: Rows = 50,
    why: Annotated[bool, Query(description="say of each why it stands where it stands")] = False,
    where: Annotated[
        str | None,
        Query(max_length=QUERY_MAX, description="only where this is true: total_cents > 500 and status = 'paid'"),
    ] = None,
) -> InstancePageAnswer:
    """List instances."""
    if where is not None:
        behind = None if after is None else SearchPlace(WorkflowKey.parse(after))
        return await _searched(served, where, of_type, status, text, behind, limit, why=why)
    found = await _found(served, of_type, status, text, None if after is None else WorkflowKey.parse(after), limit + 1)
    more, rows = len(found) > limit, found[:limit]
    counts = await served.figures.counted()
    fitting = [
        CountAnswer(type=name, status=at, instances=n)
        for (name, at), n in counts.by_status.items()
        if of_type in (None, name) and status in (None, at)
    ]
    return InstancePageAnswer(
        instances=await listed(served, rows, why=why), next=str(rows[-1].key) if more else None, counts=fitting
    )


async def _searched(
    served: ServedStore,
    where: str,
    of_type: str | None,
    status: str | None,
    text: str,
    after: SearchPlace | None,
    limit: int,
    *,
    why: bool,
) -> InstancePageAnswer:
    """A page of those that a condition finds, and how many it finds in all."""
    if of_type is None and ":" in text:
        of_type, _, text = text.partition(":")
    begins = [Test("id", ">=", (text,)), Test("id", "<", (text + LAST,))] if text else []
    query = await asked_query(served.reader, where, of_type=of_type, status=status, beside=begins)
    rows = [stored for stored, _ in await served.reader.find(query, after, limit + 1)]
    counts: list[CountAnswer] = []
    for name, _ in await served.reader.tally(query, BUILTIN["type"]):
        one = await asked_query(served.reader, where, of_type=str(name), status=status, beside=begins)
        counts += [
            CountAnswer(type=str(name), status=str(at), instances=n)
            for at, n in await served.reader.tally(one, BUILTIN["status"])
        ]
    more, rows = len(rows) > limit, rows[:limit]
    return InstancePageAnswer(
        instances=await listed(served, rows, why=why), next=str(rows[-1].key) if more else None, counts=counts
    )


@routes.get("/api/held")
async def held(
    served: Served,
    after: Annotated[str | None, Query(pattern=KEY, max_length=265, description="only behind this key")] = None,
    limit: Rows = 50,
) -> HeldAnswer:
    """List instances that are held: their reducer failed three times in a row."""
    at = None if after is None else WorkflowKey.parse(after)
    found: list[Stored] = []
    for _ in range(HELD_SCAN // PAGE):
        rows = await served.reader.instances(None, None, at, PAGE)
        found += [row for row in rows if row.held]
        at = rows[-1].key if rows else None
        if len(rows) < PAGE or len(found) >= limit:
            break
    scanned = at if len(found) < limit and at is not None and len(rows) == PAGE else None
    rest = found[limit - 1].key if len(found) > limit else scanned
    return HeldAnswer(instances=await listed(served, found[:limit]), next=None if rest is None else str(rest))


async def listed(served: ServedStore, rows: Sequence[Stored], *, why: bool = False) -> list[InstanceRow]:
    """With the held and dead intents of each; with ``why``, also what each waits for."""
    stopped: Counter[tuple[WorkflowKey, EnumOutboxState]] = Counter()
    outbox = (await served.figures.counted()).outbox
    if any(outbox.get(one.value, 0) for one in _STOPPED):
        for row in rows[:STOPPED_READ]:
            stopped.update((row.key, one.state) for one in await served.reader.outbox(_STOPPED, row.key, None, 100))
    told = await reasons(served, rows, STOPPED_READ) if why else {}
    return [
        InstanceRow.model_validate(
            {
                **instance_json(row, StoppedIntents(*(stopped[row.key, state] for state in _STOPPED))),
                "why": told.get(row.key, ""),
            }
        )
        for row in rows
    ]


async def _found(
    served: ServedStore, of_type: str | None, status: str | None, text: str, after: WorkflowKey | None, limit: int
) -> list[Stored]:
    if of_type is None and ":" in text:
        of_type, _, text = text.partition(":")
    if not text:
        return list(await served.reader.instances(of_type, status, after, limit))
    types = (
        [of_type] if of_type is not None else sorted({name for name, _ in (await served.figures.counted()).by_status})
    )
    found: list[Stored] = []
    for name in types:
        if after is not None and name < after.workflow_type:
            continue
        behind = after if after is not None and after.workflow_type == name else None
        found += await _beginning(served, name, status, text, behind, limit - len(found))
        if len(found) >= limit:
            break
    return found


async def _beginning(
    served: ServedStore, name: str, status: str | None, text: str, after: WorkflowKey | None, limit: int
) -> list[Stored]:
    """Those of one type whose id begins with ``text``: the one with just this id, then those behind it."""
    exact = WorkflowKey(name, text)
    found: list[Stored] = []
    if after is None or after < exact:
        there = (await served.reader.load([exact])).get(exact)
        if there is not None and status in (None, there.status):
            found.append(there)
        after = exact
    while len(found) < limit:
        rows = await served.reader.instances(name, status, after, min(PAGE, limit))
        fitting = [row for row in rows if row.key.instance_id.startswith(text)]
        found += fitting
        if len(fitting) < len(rows) or len(rows) < min(PAGE, limit):
            break
        after = rows[-1].key
    return found[:limit]
