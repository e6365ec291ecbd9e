"""The figures of a store at this moment (``monitoring.store_summary``) as an answer of the API."""

from __future__ import annotations

from pydantic import Field

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
    told = await served.figures.summary()
    rows = [CountAnswer(type=name, status=at, instances=n) for (name, at), n in told.by_status.items()]
    return SummaryAnswer(**{**told._asdict(), "by_status": rows})
