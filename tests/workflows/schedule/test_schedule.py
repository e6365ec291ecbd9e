"""What a schedule decides: which due times are made up for, and what becomes of one whose earlier run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic_core import to_json

from onex.app import load_app
from onex.contracts.due_times import firing_id, schedule_id
from onex.contracts.model.schedule import SCHEDULE
from onex.testing.harness import Given, given
from onex.testing.virtual_time import VirtualRun, virtual
from onex.workflows.schedule.payloads import FireResult, Schedule

REDUCER: Final = load_app("onex:schedule").workflows[SCHEDULE].reducer
BEGIN: Final = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
KEY: Final = "onex_schedule:report/hourly"
CONTRACT: Final = """
name: report
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
description: A report
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: running, trigger: begin}
    - {from_state: running, to_state: done, trigger: finish}
    - {from_state: running, to_state: done, trigger: stop}
schedules:
  - {name: hourly, cron: "0 * * * *", trigger: begin, %s}
"""


@contextmanager
def scheduled(folder: Path, more: str = "overlap: skip") -> Iterator[VirtualRun]:
    (folder / "contract.yaml").write_text(CONTRACT % more)
    with virtual(folder, start=BEGIN) as run:
        yield run


def declared(**more: object) -> Given[Any]:
    said = {"name": "hourly", "cron": "0 * * * *", "trigger": "begin", "overlap": "allow", **more}
    return tell(given(REDUCER), BEGIN, said)


def tell(case: Given[Any], at: datetime, said: dict[str, object]) -> Given[Any]:
    told = to_json({"workflow": "report", "definition": said})
    return case.when("declared", REDUCER.payloads["declared"].model_validate_json(told), at=at)


def fired(case: Given[Any], at: datetime) -> list[str]:
    """Due times of the firings that follow from the timer at this moment, each told as begun."""
    case.when("due", at=at)
    found = []
    while case.state.firing is not None:
        found.append(f"{case.state.firing.due:%H:%M}")
        case.when("told", FireResult(outcome="begun"), at=at, outcome_of="fire")
    return found


def begun(run: VirtualRun, hours: range) -> list[int]:
    return [hour for hour in hours if run.run(run.engine.stored(instance(hour))) is not None]


def instance(hour: int) -> str:
    return f"report:hourly-2026-03-{2 + hour // 24:02}T{hour % 24:02}:00:00Z"


# --- what is late ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "late", "missed"),
    [("latest", ["13:00"], 4), ("all", ["09:00", "10:00", "11:00", "12:00", "13:00"], 0), ("none", [], 5)],
)
def test_what_passed_while_no_engine_ran_is_made_up_for_as_the_policy_says(
    catch_up: str, late: list[str], missed: int
) -> None:
    case = declared(catch_up=catch_up)
    assert fired(case, BEGIN + timedelta(hours=5, minutes=30)) == late
    case.then(missed=missed, fired=len(late), next_due=BEGIN + timedelta(hours=6))


@pytest.mark.parametrize("catch_up", ["latest", "none"])
def test_a_due_time_that_is_handled_within_a_minute_is_in_time(catch_up: str) -> None:
    case = declared(catch_up=catch_up)
    assert fired(case, BEGIN + timedelta(hours=3, seconds=50)) == ["11:00"]
    case.then(missed=2)


def test_at_most_a_thousand_are_made_up_for() -> None:
    case = declared(cron="* * * * *", catch_up="all")
    at = BEGIN + timedelta(minutes=1500, seconds=1)
    assert len(fired(case, at)) == 1000
    case.then(missed=500, fired=1000, owed=0)


def test_a_clock_that_goes_back_fires_nothing_again() -> None:
    case = declared()
    assert fired(case, BEGIN + timedelta(hours=1)) == ["09:00"]
    assert fired(case, BEGIN + timedelta(hours=1)) == []
    case.then(next_due=BEGIN + timedelta(hours=2))


def test_a_changed_definition_counts_from_now_on() -> None:
    case = declared()
    other: dict[str, object] = {"name": "hourly", "cron": "30 * * * *", "trigger": "begin"}
    tell(case, BEGIN + timedelta(hours=4, minutes=40), other)
    case.then(next_due=BEGIN + timedelta(hours=5, minutes=30), intents=["due"])


def test_a_pause_lets_due_times_pass_and_a_resume_begins_with_the_next() -> None:
    case = declared().when("pause", at=BEGIN + timedelta(minutes=5)).then(status="paused", next_due=None)
    case.when("resume", at=BEGIN + timedelta(hours=9, minutes=1))
    case.then(status="active", next_due=BEGIN + timedelta(hours=10), missed=0)


# --- runs that go on -------------------------------------------------------------------------------------------------------


def test_a_firing_is_one_action_under_the_id_of_schedule_and_due_time(tmp_path: Path) -> None:
    with scheduled(tmp_path) as run:
        run.skip(hours=1)
        (begin,) = run.history(instance(9))
        assert begin.row.action_id == firing_id(schedule_id("report", "hourly"), BEGIN + timedelta(hours=1)).bytes
        assert begin.row.issuer == KEY


def test_skip_leaves_out_a_firing_while_the_earlier_run_goes_on(tmp_path: Path) -> None:
    with scheduled(tmp_path) as run:
        run.skip(hours=3)
        run.submit(instance(9), "finish")
        run.skip(hours=1)
        assert begun(run, range(9, 13)) == [9, 12]
        assert run.state(KEY, Schedule).skipped == 2


def test_allow_lets_runs_go_on_beside_each_other(tmp_path: Path) -> None:
    with scheduled(tmp_path, "overlap: allow") as run:
        run.skip(hours=3)
        assert begun(run, range(9, 12)) == [9, 10, 11]


def test_queue_keeps_one_and_begins_it_when_the_earlier_run_has_ended(tmp_path: Path) -> None:
    with scheduled(tmp_path, "overlap: queue") as run:
        run.skip(hours=3, minutes=20)
        state = run.state(KEY, Schedule)
        assert state.queued == BEGIN + timedelta(hours=2) and state.skipped == 1
        run.submit(instance(9), "finish")
        assert begun(run, range(9, 12)) == [9, 10]
        assert run.state(KEY, Schedule).queued is None


def test_a_pause_gives_up_what_is_queued(tmp_path: Path) -> None:
    with scheduled(tmp_path, "overlap: queue") as run:
        run.skip(hours=2, minutes=20)
        run.submit(KEY, "pause")
        run.submit(instance(9), "finish")
        run.skip(hours=5)
        assert begun(run, range(9, 16)) == [9]
        assert run.state(KEY, Schedule).skipped == 1


def test_cancel_other_ends_the_older_run_and_begins_the_new_one(tmp_path: Path) -> None:
    with scheduled(tmp_path, "overlap: cancel_other, cancel: stop") as run:
        run.skip(hours=2)
        assert [run.state(instance(hour)).status for hour in (9, 10)] == ["done", "running"]


def test_one_instance_takes_every_firing_and_refuses_what_comes_too_early(tmp_path: Path) -> None:
    with scheduled(tmp_path, "instance: daily") as run:
        run.skip(hours=2)
        state = run.state(KEY, Schedule)
        assert (state.fired, state.refused) == (1, 1) and state.last is not None
        assert "illegal_transition" in state.last.reason


def test_an_operator_fires_one_now_and_the_due_times_stay(tmp_path: Path) -> None:
    with scheduled(tmp_path) as run:
        run.skip(minutes=10)
        run.submit(KEY, "fire_now")
        state = run.state(KEY, Schedule)
        assert state.fired == 1 and state.next_due == BEGIN + timedelta(hours=1)
        assert run.state("report:hourly-2026-03-02T08:10:00Z").status == "running"
        run.submit(KEY, "pause")
        run.submit("report:hourly-2026-03-02T08:10:00Z", "finish")
        run.skip(minutes=1)
        run.submit(KEY, "fire_now")
        assert run.state(KEY, Schedule).fired == 2, "also while it is paused"


def test_an_app_without_schedules_has_no_workflow_for_them(tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text(CONTRACT.partition("schedules:")[0])
    app = load_app(tmp_path)
    assert list(app.workflows) == ["report"]
    assert list(app.with_schedules().workflows) == ["report", SCHEDULE]
