"""Schedules and start policies in one file: the same contract as written by hand, and mistakes at the line of the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.app import App, load_app
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding

FILE = """
from __future__ import annotations

from datetime import timedelta
from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Write(Payload):
    day: str = ""


class Report(State):
    status: Literal["new", "written"] = "new"


reports = workflow("report", Report)


@reports.on("write", "new -> written")
def write(report: Report, action: Action[Write]) -> Step[Report]:
    return Step(report)


"""


def loaded(folder: Path, *lines: str) -> App:
    file = folder / "reports.py"
    file.write_text(FILE + "\n".join(lines) + "\n")
    return load_app(file)


def findings(folder: Path, *lines: str) -> list[tuple[str, int]]:
    with pytest.raises(ContractError) as caught:
        loaded(folder, *lines)
    return [(one.code, one.line) for one in caught.value.findings if isinstance(one, Finding)]


def test_schedules_and_start_policies_are_those_of_a_contract(tmp_path: Path) -> None:
    app = loaded(
        tmp_path,
        'reports.schedule("nightly", "write", cron="30 2 * * *", zone="Europe/Berlin", jitter=timedelta(minutes=1),',
        '    not_on=["12-25"], payload={"day": "{date}"}, overlap="queue")',
        'reports.schedule("often", "write", every=timedelta(hours=1), payload=Write(day="x"))',
        'reports.starts("write", per="day", concurrency=2, rate={"most": 3, "per_ms": 1000})',
    )
    assert list(app.workflows) == ["report", "report_start", "onex_schedule"]
    assert list(app.written) == ["report"]
    nightly, often = app.workflows["report"].contract.schedules
    assert (nightly.cron, nightly.zone, nightly.jitter_ms, nightly.not_on) == (
        "30 2 * * *", "Europe/Berlin", 60_000, ("12-25",),
    )  # fmt: skip
    assert (often.every_ms, often.payload) == (3_600_000, {"day": "x"})
    start = app.workflows["report"].contract.start
    assert start is not None and (start.per, start.concurrency) == ("day", 2)


def test_a_mistake_is_found_at_the_line_of_the_call(tmp_path: Path) -> None:
    line = FILE.count("\n") + 1
    assert findings(tmp_path, 'reports.schedule("a", "write", cron="61 * * * *")') == [("cron", line)]
    assert findings(tmp_path, 'reports.schedule("a", "wrote", cron="0 0 * * *")') == [("unknown_trigger", line)]
    assert findings(tmp_path, 'reports.schedule("a", "write", every="1h")') == [("not_a_span", line)]
    assert findings(tmp_path, 'reports.schedule("a", "write", cron="0 0 * * *", payload={"dya": ""})') == [
        ("schedule_payload", line)
    ]
    assert findings(tmp_path, 'reports.starts("write", parallel=3)') == [("unknown_key", line)]
    twice = ('reports.starts("write", concurrency=3)', 'reports.starts("write", concurrency=4)')
    assert findings(tmp_path, *twice) == [("duplicate", line + 1)]
