"""A report of each shift of a plant, begun by schedules: in the plant's time zone, not on holidays, never two at once.

The figures here are a small rule on the date, so that the example needs no plant. Put a query of yours into ``count``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from onex import Action, Failure, ModelIntent, Payload, State, Step, workflow

HOLIDAYS = ("12-25", "12-26", "01-01", "2026-08-03/2026-08-21")


class Report(State):
    status: Literal["new", "counting", "done", "failed"] = "new"
    day: str = ""
    shift: str = ""
    parts: int = 0


class Begin(Payload):
    day: str
    shift: str = Field(description="its name")


class Count(Payload):
    day: str
    shift: str


class Counted(Payload):
    parts: int


reports = workflow("shift_report", Report)


@reports.effect(retry=3)
def count(intent: ModelIntent[Count]) -> Counted:
    return Counted(parts=100 + sum(map(int, intent.payload.day.split("-"))) % 40)


for shift, hour in (("early", 14), ("late", 22), ("night", 6)):
    reports.schedule(
        shift,
        "begin",
        cron=f"5 {hour} * * *",
        zone="Europe/Berlin",
        not_on=HOLIDAYS,
        jitter=timedelta(minutes=2),
        payload={"day": "{date}", "shift": "{name}"},
        catch_up="all",
    )


@reports.on("begin", "new -> counting")
def begin(report: Report, action: Action[Begin]) -> Step[Report]:
    day, shift = action.payload.day, action.payload.shift
    return Step(report.evolve(day=day, shift=shift), Count(day=day, shift=shift))


@reports.on(count.succeeded, "counting -> done")
def counted(report: Report, action: Action[Counted]) -> Step[Report]:
    return Step(report.evolve(parts=action.payload.parts))


@reports.on(count.failed, count.unknown, "counting -> failed")
def not_counted(report: Report, action: Action[Failure]) -> Step[Report]:
    return Step(report)
