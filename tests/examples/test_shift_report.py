"""The shift report: three a day in the plant's time zone, none on holidays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from onex.kernel.action import WorkflowKey
from onex.testing.virtual_time import VirtualRun, virtual
from onex.workflows.schedule.payloads import Schedule

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "shift_report"


def reports(run: VirtualRun) -> list[WorkflowKey]:
    rows = run.run(run.engine.reader.instances("shift_report", None, None, 1000))
    assert {row.status for row in rows} <= {"done"}
    return [row.key for row in rows]


def test_each_shift_of_a_working_day_is_reported_once_and_holidays_are_not() -> None:
    with virtual(FOLDER, start=datetime(2026, 12, 22, 23, 30, tzinfo=UTC)) as run:
        run.skip(days=5)
        found = sorted(str(key) for key in reports(run))
        assert len(found) == 9, "the 23rd, the 24th and the 27th, of the plant's days"
        assert found[0] == "shift_report:early-2026-12-23T13:05:00Z"
        report = run.state(found[0]).model_dump()
        assert (report["day"], report["shift"]) == ("2026-12-23", "early") and report["parts"] >= 100
        assert run.state("onex_schedule:shift_report/night", Schedule).fired == 3


def test_the_hour_of_a_shift_follows_the_clock_of_the_plant() -> None:
    with virtual(FOLDER, start=datetime(2026, 3, 28, 12, 0, tzinfo=UTC)) as run:
        run.skip(days=2)
        early = [key.instance_id for key in reports(run) if key.instance_id.startswith("early")]
        assert early == ["early-2026-03-28T13:05:00Z", "early-2026-03-29T12:05:00Z"]
