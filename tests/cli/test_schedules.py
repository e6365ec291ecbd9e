"""``onex schedules``: what an engine has declared is listed, paused, resumed, fired and looked ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest

import onex
from onex.contracts.model.schedule import SCHEDULE
from onex.monitoring.engine_metrics import EngineMetrics
from onex.monitoring.engine_probes import EngineProbes
from onex.monitoring.resources import LoopLag
from onex.wiring.engine import WiredEngine
from tests.cli.conftest import STORE, Commands

CONTRACT = """
name: report
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
description: A report
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: done, trigger: begin}
"""
NIGHTLY = '  - {name: nightly, cron: "30 2 * * *", zone: Europe/Berlin, trigger: begin}\n'
YEARLY = '  - {name: yearly, cron: "0 0 1 1 *", trigger: begin, jitter_ms: 60000}\n'


def app(place: Path, *schedules: str) -> Path:
    folder = place / "report"
    folder.mkdir(exist_ok=True)
    (folder / "contract.yaml").write_text(CONTRACT + ("schedules:\n" + "".join(schedules) if schedules else ""))
    return folder


def opened(folder: Path, work: Callable[[WiredEngine], Awaitable[None]] | None = None) -> None:
    async def go() -> None:
        async with await onex.open(STORE, folder) as engine:
            assert engine.schedules is not None, "every engine has some, or none"
            await engine.schedules.declared.wait()
            await engine.idle()
            if work is not None:
                await work(engine)

    asyncio.run(go())


@pytest.fixture
def declared(place: Path) -> Path:
    folder = app(place, NIGHTLY, YEARLY)
    opened(folder)
    return folder


def status(commands: Commands) -> dict[str, object]:
    return {str(row["schedule"]): row["status"] for row in commands("schedules", "--json").rows}


def test_schedules_are_listed_with_what_came_of_them(commands: Commands, declared: Path) -> None:
    lines = commands("schedules").out.splitlines()
    assert lines[0].split()[:2] == ["schedule", "status"]
    assert [line.split()[:2] for line in lines[1:]] == [["report/nightly", "active"], ["report/yearly", "active"]]
    nightly, _ = commands("schedules", "--json").rows
    assert nightly["fired"] == nightly["missed"] == 0 and nightly["next_due"]


def test_the_next_ten_are_shown_in_the_zone_and_in_utc(commands: Commands, declared: Path) -> None:
    rows = commands("schedules", "next", "nightly", "--json").rows
    assert len(rows) == 10
    for row in rows:
        local, due = datetime.fromisoformat(str(row["local"])), datetime.fromisoformat(str(row["due"]))
        assert local == due and (local.hour, local.minute) in ((2, 30), (3, 0))
    assert len(commands("schedules", "next", "report/nightly").out.splitlines()) == 11
    late = commands("schedules", "next", "yearly", "--json").rows
    assert all(row["fires_at"] != row["due"] for row in late)


def test_an_operator_pauses_resumes_and_fires_one_also_while_no_engine_runs(commands: Commands, declared: Path) -> None:
    told = commands("schedules", "pause", "nightly")
    assert told.code == 0 and "no engine runs" in told.err and "stored" in told.out
    opened(declared)
    assert status(commands) == {"report/nightly": "paused", "report/yearly": "active"}
    assert "paused" in commands("schedules", "next", "nightly").err
    commands("schedules", "resume", "nightly")
    commands("schedules", "trigger", "nightly")
    opened(declared)
    (nightly, _) = commands("schedules", "--json").rows
    assert nightly["status"] == "active" and nightly["fired"] == 1
    assert commands("ls", "--type", "report", "--json").row["status"] == "done"


def test_what_is_not_there_is_named(commands: Commands, declared: Path) -> None:
    assert "did you mean nightly?" in commands("schedules", "next", "nigthly").err
    assert "the name is missing" in commands("schedules", "pause").err
    assert "takes no name" in commands("schedules", "list", "nightly").err


def test_an_engine_tells_what_differs_from_the_store_and_nothing_else(commands: Commands, declared: Path) -> None:
    def versions() -> list[object]:
        return [row["version"] for row in commands("ls", "--type", SCHEDULE, "--json").rows]

    opened(declared)
    assert versions() == [1, 1], "nothing has changed"
    opened(app(declared.parent, NIGHTLY.replace("30 2", "45 2")))
    assert versions() == [2, 2]
    assert status(commands) == {"report/nightly": "active", "report/yearly": "ended"}
    opened(app(declared.parent, NIGHTLY, YEARLY))
    assert versions() == [3, 3], "what is changed back is told again"
    opened(app(declared.parent))
    assert status(commands) == {"report/nightly": "ended", "report/yearly": "ended"}


def test_a_store_without_schedules_says_so(commands: Commands, place: Path) -> None:
    opened(app(place))
    told = commands("schedules")
    assert told.code == 0 and "no schedules" in told.err
    assert commands("ls", "--json").out == ""


def test_missed_firings_are_a_metric_where_the_app_has_schedules(place: Path) -> None:
    async def told(folder: Path) -> bool:
        async with await onex.open("memory:", folder) as engine:
            probes = EngineProbes(engine, fresh_s=0.0)
            text = (await EngineMetrics(engine, probes, LoopLag()).text()).decode()
            await probes.close()
            return "onex_schedules_missed_total 0.0" in text

    assert asyncio.run(told(app(place, NIGHTLY)))
    assert not asyncio.run(told(app(place)))
