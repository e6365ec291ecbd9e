"""The figures of a store at this moment: what the first screen shows, once or as it changes.

Actions per second are the difference of two counts of the log, over some seconds. Counting is bounded (``ServedStore.counted``), so
on a large store figures are some moments old; ``counted_ago_s`` says how old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pydantic import Field, JsonValue

from ..kernel.errors import OnexError
from .answers import Answered, CountAnswer
from .served_store import ServedStore


class SummaryAnswer(Answered):
    """What matters now. Figures that nobody here knows are null."""

    instances: int
    actions: int
    actions_per_s: float
    p99_ms: float | None = Field(description="of the engine, from an action's arrival to its answer")
    in_flight: int = Field(description="intents that are not settled, timers included")
    stuck: int = Field(description="instances that are held: they take no action until somebody releases them")
    stuck_is_exact: bool = Field(description="false: only the first instances of a large store were looked at")
    held: int = Field(description="intents whose outcome is held")
    dead: int = Field(description="intents that have failed for good")
    rejections: int
    lag_ms: float | None = Field(description="how far the slowest projection of the engine is behind")
    engine_runs: bool
    counted_ago_s: float
    by_status: list[CountAnswer]


async def summary_of(served: ServedStore) -> SummaryAnswer:
    """Raises what the store raises."""
    counts = await served.counted()
    last = served.counts.last
    now_s = asyncio.get_running_loop().time()
    at_s = now_s if last is None else last.at_s
    figures = await served.health.figures()
    engine, projections = figures.get("engine"), figures.get("projections")
    p99 = engine.get("p99_ms") if isinstance(engine, dict) else None
    try:
        stuck = await served.stuck.answer()
    except OnexError:
        stuck = None
    held, exact = (0, False) if stuck is None else stuck.value
    return SummaryAnswer(
        instances=counts.instances,
        actions=counts.actions,
        actions_per_s=round(served.rate.of(at_s, counts.actions), 1),
        p99_ms=float(p99) if isinstance(p99, int | float) else None,
        in_flight=counts.outbox.get("waiting", 0),
        stuck=held,
        stuck_is_exact=exact,
        held=counts.outbox.get("held", 0),
        dead=counts.outbox.get("dead", 0),
        rejections=counts.rejections,
        lag_ms=_lag(projections if isinstance(projections, dict) else {}),
        engine_runs=await served.engine_is_there(),
        counted_ago_s=round(max(0.0, now_s - at_s), 3),
        by_status=[CountAnswer(type=name, status=at, instances=n) for (name, at), n in counts.by_status.items()],
    )


def _lag(projections: Mapping[str, JsonValue]) -> float | None:
    late = [one.get("lag_ms") for one in projections.values() if isinstance(one, dict)]
    return max((float(ms) for ms in late if isinstance(ms, int | float)), default=None)
