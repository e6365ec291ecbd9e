"""The log of one instance: page by page, in outline, and as it grows.

An outline divides a history into at most ``points`` ranges and tells when each began and ended, so that a page can draw a long life
and fold the idle time in it, without reading the rows between. It reads the two rows at the edges of each range.

The live stream sends each new action as an event whose id is its version. A client that comes back says the last id it got
(``Last-Event-ID``), and gets all behind it: nothing is missed, nothing comes twice. The stream ends when the instance has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from ..kernel.action import WorkflowKey
from ..views.hidden import HiddenFields
from .answers import Answered, AskedKey, LogEntryAnswer, Rows, key_of, log_entry
from .events import EVENTS, event, stream
from .policy import GuardedRoute
from .served_store import Asking, Served, ServedStore

routes = APIRouter(route_class=GuardedRoute, tags=["instance"])

EACH: Final = 2000
"""Up to so many versions an outline has every one of them in view, and tells each gap."""
IDLE_US: Final = 60_000_000
LIVE_PAGE: Final = 500
PAUSE_S: Final = 0.2
"""A stream looks for more at most five times a second: nobody sees faster, and it costs the engine's machine less."""


class LogAnswer(Answered):
    """Actions in version order. ``next`` is the version to ask behind; null: these are the newest."""

    actions: list[LogEntryAnswer]
    first_version: int
    last_version: int
    next: int | None


class RangeAnswer(Answered):
    """Versions ``first`` to ``last``, and when they were applied, in microseconds since 1970."""

    first: int
    last: int
    first_us: int
    last_us: int


class IdleAnswer(Answered):
    """Nothing happened between version ``after`` and the next one for ``us`` microseconds."""

    after: int
    us: int


class OutlineAnswer(Answered):
    """The whole life of an instance in few ranges. ``idle`` are the longest pauses; between ranges only, where the life is long."""

    first_version: int
    last_version: int
    ranges: list[RangeAnswer]
    idle: list[IdleAnswer]
    exact: bool


@routes.get("/api/instance/log")
async def log(
    served: Served,
    asking: Asking,
    asked: AskedKey,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="only behind this version; else the newest")] = None,
    limit: Rows = 200,
) -> LogAnswer:
    """List actions of one instance."""
    key = key_of(asked)
    stored = await served.stored(key)
    begin = max(stored.cut, stored.version - limit) if after is None else max(after, stored.cut)
    rows = await served.reader.history(key, begin, limit)
    hide = served.hide(asking)
    last = rows[-1].version if rows else begin
    return LogAnswer(
        actions=[log_entry(entry, hide) for entry in rows],
        first_version=stored.cut + 1,
        last_version=max(stored.version, last),
        next=last if last < stored.version else None,
    )


@routes.get("/api/instance/outline")
async def outline(
    served: Served, asked: AskedKey, points: Annotated[int, Query(ge=1, le=500, description="ranges at most")] = 200
) -> OutlineAnswer:
    """Show when an instance was busy and when it was idle, however long its history is."""
    key = key_of(asked)
    stored = await served.stored(key)
    first, last = stored.cut + 1, stored.version
    if last - stored.cut <= EACH:
        return await _exact(served, key, first, last, points)
    step = -(-(last - stored.cut) // points)
    ranges: list[RangeAnswer] = []
    for begin in range(first, last + 1, step):
        end = min(begin + step - 1, last)
        head = await served.reader.history(key, begin - 1, 1)
        tail = head if end == begin else await served.reader.history(key, end - 1, 1)
        if not head or not tail:
            break
        ranges.append(RangeAnswer(first=begin, last=end, first_us=head[0].row.issued_us, last_us=tail[0].row.issued_us))
    idle = [
        IdleAnswer(after=one.last, us=two.first_us - one.last_us)
        for one, two in pairwise(ranges)
        if two.first_us - one.last_us >= IDLE_US
    ]
    return OutlineAnswer(first_version=first, last_version=last, ranges=ranges, idle=_longest(idle), exact=False)


async def _exact(served: ServedStore, key: WorkflowKey, first: int, last: int, points: int) -> OutlineAnswer:
    rows = await served.reader.history(key, first - 1, EACH)
    times = [(entry.version, entry.row.issued_us) for entry in rows]
    step = max(1, -(-len(times) // points))
    parts = [times[n : n + step] for n in range(0, len(times), step)]
    ranges = [
        RangeAnswer(first=part[0][0], last=part[-1][0], first_us=part[0][1], last_us=part[-1][1]) for part in parts
    ]
    idle = [
        IdleAnswer(after=version, us=later - at)
        for (version, at), (_, later) in pairwise(times)
        if later - at >= IDLE_US
    ]
    return OutlineAnswer(first_version=first, last_version=last, ranges=ranges, idle=_longest(idle), exact=True)


def _longest(idle: list[IdleAnswer]) -> list[IdleAnswer]:
    return sorted(sorted(idle, key=lambda one: -one.us)[:100], key=lambda one: one.after)


@routes.get("/api/instance/live", response_class=StreamingResponse, responses=EVENTS)
async def live(
    served: Served,
    asking: Asking,
    asked: AskedKey,
    after: Annotated[
        int | None, Query(ge=0, le=2**53, description="begin behind this version; else at the newest")
    ] = None,
    last_event_id: Annotated[str, Header(max_length=20, description="the version of the last event that came")] = "",
) -> StreamingResponse:
    """Follow one instance: each new action is an event ``action`` with a LogEntryAnswer; ``ended`` is the last one."""
    key = key_of(asked)
    stored = await served.client.stored(key)
    begin = int(last_event_id) if last_event_id.isdecimal() else after
    begin = (stored.version if stored is not None else 0) if begin is None else begin
    return stream(_actions(served, key, begin, served.hide(asking)), served.ending)


async def _actions(served: ServedStore, key: WorkflowKey, after: int, hide: HiddenFields) -> AsyncIterator[bytes]:
    while True:
        seen = served.changes.count
        rows = await served.reader.history(key, after, LIVE_PAGE)
        for entry in rows:
            after = entry.version
            yield event("action", log_entry(entry, hide), str(after))
        if len(rows) < LIVE_PAGE:
            stored = (await served.reader.load([key])).get(key)
            if stored is not None and stored.terminal and stored.version <= after:
                yield event("ended", None, str(after))
                return
            if stored is None or stored.version <= after:
                await served.change(seen)
            await asyncio.sleep(PAUSE_S)
