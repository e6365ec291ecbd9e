"""The figures of a store at this moment, read beside its engine: what ``onex top`` and the first screen of a page show.

Actions per second are the difference of two counts of the log, over some seconds. Counting a large table takes long, so it takes at
most a twentieth of the time of one reader, and the figures are some moments old then; ``counted_ago_s`` says how old. What only the
engine knows is asked where it answers probes (``EngineHealth``), and is None where nobody says where that is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from ..engine.probe import Probe
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.membership import Membership
from ..ports import Counts, Reader
from ..wiring import engine_runs, workers_of
from .engine_health import EngineHealth

COUNT_AGAIN_S: Final = 0.5
COUNT_SHARE: Final = 20
ENGINE_AGAIN_S: Final = 2.0
STUCK_AGAIN_S: Final = 10.0
STUCK_SCAN: Final = 5000
"""Instances that are looked at for how many are held."""
PAGE: Final = 500
RATE_S: Final = 5.0


class StoreSummary(NamedTuple):
    """``stuck`` are held instances, among the first STUCK_SCAN unless ``stuck_is_exact``; ``held`` and ``dead`` are intents.

    ``in_flight``: intents that are not settled, timers included. ``p99_ms`` and ``lag_ms`` are the engine's, None where unknown.
    """

    instances: int
    actions: int
    actions_per_s: float
    p99_ms: float | None
    in_flight: int
    stuck: int
    stuck_is_exact: bool
    held: int
    dead: int
    rejections: int
    lag_ms: float | None
    engine_runs: bool
    counted_ago_s: float
    by_status: Mapping[tuple[str, str], int]


class ActionRate:
    """Actions per second, of the counts of the last RATE_S seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, at_s: float, actions: int) -> float:
        if not self._seen or at_s > self._seen[-1][0]:
            self._seen.append((at_s, actions))
        while len(self._seen) > 2 and at_s - self._seen[1][0] >= RATE_S:
            self._seen.popleft()
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class SummaryReader:
    """Of the store ``url``, which ``reader`` reads. ``engine`` is HOST:PORT of its probes, '' for nowhere."""

    def __init__(self, reader: Reader, url: str, engine: str = "") -> None:
        self._reader, self.health, self._rate = reader, EngineHealth(engine), ActionRate()
        self._counts = Probe(self._count, within_s=10.0, fresh_s=COUNT_AGAIN_S)
        self._owned = Probe(lambda: engine_runs(url), within_s=3.0, fresh_s=ENGINE_AGAIN_S)
        self._workers = Probe(lambda: workers_of(url), within_s=3.0, fresh_s=ENGINE_AGAIN_S)
        self._stuck = Probe(self._count_stuck, within_s=5.0, fresh_s=STUCK_AGAIN_S)

    async def counted(self) -> Counts:
        """What the store holds, at most some moments old. Raises what the store raises."""
        answer = await self._counts.answer()
        return answer.value if answer is not None else await self._reader.counts()

    async def engine_is_there(self) -> bool:
        """Whether an engine runs on the store, at most some moments ago."""
        answer = await self._owned.answer()
        return answer is not None and answer.value

    async def workers(self) -> Membership | None:
        """The workers that share the store, at most some moments ago; None where none can, or the store does not answer."""
        answer = await self._workers.answer()
        return None if answer is None else answer.value

    async def summary(self) -> StoreSummary:
        """Raises what the store raises."""
        counts = await self.counted()
        last, now_s = self._counts.last, asyncio.get_running_loop().time()
        at_s = now_s if last is None else last.at_s
        figures = await self.health.figures()
        engine, projections = figures.get("engine"), figures.get("projections")
        p99 = engine.get("p99_ms") if isinstance(engine, dict) else None
        try:
            stuck = await self._stuck.answer()
        except OnexError:
            stuck = None
        held, exact = (0, False) if stuck is None else stuck.value
        return StoreSummary(
            instances=counts.instances,
            actions=counts.actions,
            actions_per_s=round(self._rate.of(at_s, counts.actions), 1),
            p99_ms=float(p99) if isinstance(p99, int | float) else None,
            in_flight=counts.outbox.get("waiting", 0),
            stuck=held,
            stuck_is_exact=exact,
            held=counts.outbox.get("held", 0),
            dead=counts.outbox.get("dead", 0),
            rejections=counts.rejections,
            lag_ms=_lag(projections if isinstance(projections, dict) else {}),
            engine_runs=await self.engine_is_there(),
            counted_ago_s=round(max(0.0, now_s - at_s), 3),
            by_status=counts.by_status,
        )

    async def close(self) -> None:
        await asyncio.gather(
            *(one.close() for one in (self._counts, self._owned, self._workers, self._stuck, self.health))
        )

    async def _count(self) -> Counts:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        counts = await self._reader.counts()
        self._counts.fresh_s = max(COUNT_AGAIN_S, COUNT_SHARE * (loop.time() - begun_s))
        return counts

    async def _count_stuck(self) -> tuple[int, bool]:
        after: WorkflowKey | None = None
        found = seen = 0
        while seen < STUCK_SCAN:
            rows = await self._reader.instances(None, None, after, PAGE)
            found += sum(bool(row.held) for row in rows)
            seen += len(rows)
            if len(rows) < PAGE:
                return found, True
            after = rows[-1].key
        return found, False


def _lag(projections: Mapping[str, JsonValue]) -> float | None:
    late = [one.get("lag_ms") for one in projections.values() if isinstance(one, dict)]
    return max((float(ms) for ms in late if isinstance(ms, int | float)), default=None)
