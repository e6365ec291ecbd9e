"""An orchestration on the screen: its tasks, how far each is, and what a person does about one that holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.cli.conftest import ROOT, Commands, fill

SAGA = ROOT / "examples" / "order_saga"
LARGE: dict[str, JsonValue] = {"id": "a", "sku": "tea", "cents": 60_000}


@pytest.fixture
def waiting(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that waits for a person."""
    monkeypatch.setenv("ONEX_SAGA_DIR", str(place / "world"))
    fill(SAGA, [("order_saga:a", "start", {**LARGE})])


def test_show_has_a_row_for_each_task_that_has_begun(waiting: None, commands: Commands) -> None:
    told = commands("show", "order_saga:a")
    rows = [line.split()[:2] for line in told.out.splitlines() if line.startswith("  ")]
    assert ["reserve", "done"] in rows
    assert ["review", "waiting"] in rows
    assert '"tasks"' not in told.out, "the plan is shown as a table"
    plan = commands("show", "order_saga:a", "--json").row["state"]
    assert isinstance(plan, dict) and isinstance(plan["plan"], dict)


def test_the_picture_says_how_far_each_task_of_an_instance_is(waiting: None, commands: Commands) -> None:
    told = commands("diagram", SAGA, "--key", "order_saga:a")
    assert [line.split("<small>")[1].split("<")[0] for line in told.out.splitlines() if "<small>" in line] == [
        "done",
        "done",
        "waiting",
        "effect ship",
    ]


def test_a_picture_of_an_instance_that_has_no_tasks_is_refused(waiting: None, commands: Commands) -> None:
    assert commands("diagram", SAGA, "--key", "order_saga:b").code != 0
    assert "has not begun" in commands("diagram", SAGA, "--key", "order_saga:b").err
