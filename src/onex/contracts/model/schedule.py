"""``schedules:`` of a contract: when a trigger is sent by itself, to which instance, and what holds when it cannot be on time.

    {name, cron + zone | every_ms, not_on, jitter_ms, trigger, payload, instance, catch_up, overlap, cancel}

What the values mean in time stands in ``contracts.due_times``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, JsonValue

from .part import ENGINE, PROSE, Name, Part, Prose, TriggerName, Word
from .template import fields_named, filled

SCHEDULE: Final = "onex_schedule"
"""The workflow type under which the engine keeps schedules. No contract of an app may have the name."""
TARGET: Final = "onex.schedules"
WATCH_TARGET: Final = "onex.schedules/watch"
"""What its intents ask for; the engine serves both."""
FIELDS: Final = ("name", "due", "date", "time")
"""What ``{...}`` may name in ``instance`` and in texts of ``payload``."""
SCHEDULES_MAX: Final = 100
DATES = r"^(\d{2}-\d{2}|\d{4}-\d{2}-\d{2}(/\d{4}-\d{2}-\d{2})?)$"
MONTH_MS: Final = 31 * 24 * 3600 * 1000

Dates = Annotated[str, Field(pattern=DATES)]


class EnumCatchUp(StrEnum):
    """Which due times that passed while no engine ran are made up for."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class EnumOverlap(StrEnum):
    """What becomes of a firing whose predecessor's run has not ended."""

    SKIP = "skip"
    ALLOW = "allow"
    QUEUE = "queue"
    CANCEL_OTHER = "cancel_other"


class ModelSchedule(Part):
    """``cron`` is read in ``zone``; ``every_ms`` counts from 1970-01-01 UTC. ``instance`` and texts in ``payload`` may hold
    ``{name}``, ``{due}`` (UTC), ``{date}`` and ``{time}`` (of the zone)."""

    name: Annotated[Name, ENGINE]
    description: Annotated[Prose, PROSE] = ""
    cron: Annotated[Word | None, Field(description="minute hour day month weekday, in `zone`"), ENGINE] = None
    every_ms: Annotated[
        int | None, Field(ge=1000, le=MONTH_MS, description="an interval in place of `cron`"), ENGINE
    ] = None
    zone: Annotated[Word, Field(description="an IANA time zone, as Europe/Berlin"), ENGINE] = "UTC"
    not_on: Annotated[
        tuple[Dates, ...],
        Field(max_length=1000, description="dates of the zone: 2026-12-24, 12-25 (each year), 2026-12-24/2027-01-02"),
        ENGINE,
    ] = ()
    jitter_ms: Annotated[
        int,
        Field(ge=0, le=24 * 3600 * 1000, description="fires up to so much later; the same for one due time"),
        ENGINE,
    ] = 0
    trigger: Annotated[TriggerName, ENGINE]
    payload: Annotated[dict[str, JsonValue], Field(description="of the trigger"), ENGINE] = Field(default_factory=dict)
    instance: Annotated[str, Field(min_length=1, max_length=200, description="the instance it is sent to"), ENGINE] = (
        "{name}-{due}"
    )
    catch_up: Annotated[EnumCatchUp, ENGINE] = EnumCatchUp.LATEST
    overlap: Annotated[
        EnumOverlap | None, Field(description="skip, or allow where one instance takes all firings"), ENGINE
    ] = None
    cancel: Annotated[TriggerName | None, Field(description="what `cancel_other` sends to the older run"), ENGINE] = (
        None
    )

    @property
    def is_one_instance(self) -> bool:
        """Whether every firing goes to the same instance. Raises TemplateProblem."""
        return not {*fields_named(self.instance)} & {"due", "date", "time"}

    def filled_payload(self, fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The payload of one firing, with ``fields`` in its texts."""
        return {name: _filled(value, fields) for name, value in self.payload.items()}

    @property
    def policy(self) -> EnumOverlap:
        """The overlap that holds. A firing for an instance that takes them all begins no run of its own."""
        return self.overlap or (EnumOverlap.ALLOW if self.is_one_instance else EnumOverlap.SKIP)


def _filled(value: JsonValue, fields: Mapping[str, JsonValue]) -> JsonValue:
    if isinstance(value, str):
        return filled(value, fields)
    if isinstance(value, dict):
        return {name: _filled(part, fields) for name, part in value.items()}
    return [_filled(part, fields) for part in value] if isinstance(value, list) else value
