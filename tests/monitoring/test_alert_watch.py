"""The watch of an engine, on a real engine and a virtual clock. Its figures are a table: what it makes of them is under test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import onex
from onex.contracts.alerts.alerts_file import alerts_of
from onex.contracts.alerts.series import MetricSample, Point
from onex.kernel.errors import OnexError
from onex.kernel.intent import ModelIntent
from onex.monitoring.alerts.compliance import MINUTE_US, OBJECTIVES_KEY, report
from onex.monitoring.alerts.history import History, judge
from onex.monitoring.alerts.watch import AlertWatch
from onex.monitoring.engine_metrics import EngineMetrics
from onex.monitoring.engine_probes import EngineProbes
from onex.monitoring.resources import LoopLag
from onex.testing.virtual_time import VirtualRun, virtual
from onex.wiring.engine import WiredEngine
from onex.workflows.alerts.onex_alert.payloads import Alert
from onex.workflows.alerts.onex_objectives.payloads import Objectives
from tests.cli.conftest import JOBS, place

__all__ = ["place"]  # a fixture of the commands

FILE = """\
source: shop
defaults: false
receivers: {team: {chat: {url: "http://chat.example/x"}}}
rules:
  dead: {metric: dead_intents, above: 0, for_s: 60, settle_s: 60}
  missed: {metric: schedules_missed, above: 0, window_s: 600, for_s: 0, settle_s: 0}
  errors: {metric: error_rate, above: 0.1, window_s: 300, for_s: 0, settle_s: 0}
objectives:
  up: {metric: available, at_least: 1, window_s: 3600, target: 0.9, severity: low}
  fine: {metric: error_rate, at_most: 0.5, window_s: 3600, target: 0.9}
"""


class Figures:
    """What ``/metrics`` would tell; ``failed`` of ``done`` more actions with each reading."""

    def __init__(self) -> None:
        self.dead, self.up, self.missed = 0.0, 1.0, 7.0
        self.done = self.failed = 0.0
        self.rate = (10.0, 0.0)

    async def points(self) -> list[Point]:
        self.done, self.failed = self.done + self.rate[0], self.failed + self.rate[1]
        return [
            ("onex_outbox_intents", {"state": "dead"}, self.dead),
            ("onex_store_up", {}, self.up),
            ("onex_schedules_missed_total", {}, self.missed),
            ("reducer_successful_actions_total", {"workflow_type": "a"}, self.done),
            ("reducer_failed_actions_total", {"workflow_type": "a", "fault": "engine"}, self.failed),
        ]


class Watched:
    def __init__(self, run: VirtualRun, told: list[str]) -> None:
        self.run, self.told, self.figures = run, told, Figures()
        self.watch = self.begin()

    def begin(self, file: str = FILE) -> AlertWatch:
        return AlertWatch(self.run.engine, alerts_of(file, "alerts.yaml"), self.figures.points)

    def minutes(self, number: float, watch: AlertWatch | None = None) -> None:
        """Lets the watch run so long, as a task of its own."""

        async def go() -> None:
            task = asyncio.create_task((watch or self.watch).run())
            await self.run.engine.clock.sleep(60 * number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run.run(go())

    def triggers(self, name: str) -> list[str]:
        return [entry.row.kind for entry in self.run.history(f"onex_alert:{name}")]


@contextmanager
def watched() -> Iterator[Watched]:
    told: list[str] = []

    def tell(intent: ModelIntent[Any]) -> None:
        told.append(f"{intent.payload.alert} {intent.payload.event}")

    with virtual("onex:alerts", executors={"onex_alert_chat": tell}) as run:
        yield Watched(run, told)


def test_an_engine_that_is_well_writes_nothing_but_its_minutes() -> None:
    with watched() as seen:
        seen.minutes(10)
        assert seen.triggers("dead") == seen.triggers("errors") == []
        assert seen.told == []
        assert len(seen.run.history(OBJECTIVES_KEY)) in (9, 10)


def test_a_breach_is_told_on_change_and_not_at_each_reading() -> None:
    with watched() as seen:
        seen.figures.dead = 3
        seen.minutes(4)
        assert seen.triggers("dead")[:4] == ["breached", "due", "told"]
        seen.figures.dead = 0
        seen.minutes(3)
        assert seen.triggers("dead")[3:] == ["recovered", "settled", "told"]
        assert seen.told == ["dead firing", "dead resolved"]


def test_a_breach_that_lasts_is_told_again_now_and_then_with_its_new_value() -> None:
    with watched() as seen:
        seen.figures.dead = 3
        seen.minutes(1)
        seen.figures.dead = 8
        seen.minutes(11)
        assert seen.triggers("dead").count("breached") == 3
        assert seen.run.state("onex_alert:dead", Alert).value == 8


def test_errors_end_when_nobody_sends_any_more() -> None:
    with watched() as seen:
        seen.figures.rate = (1.0, 1.0)
        seen.minutes(2)
        assert seen.told == ["errors firing"]
        seen.figures.rate = (0.0, 0.0)
        seen.minutes(7)
        assert seen.told == ["errors firing", "errors resolved"]


def test_the_next_watch_goes_on_where_the_last_one_was_killed() -> None:
    with watched() as seen:
        seen.figures.dead = 1
        seen.minutes(2)
        again = seen.begin()
        seen.minutes(2, again)
        assert seen.triggers("dead") == ["breached", "due", "told"]
        seen.figures.dead = 0
        seen.minutes(2, again)
        assert seen.told == ["dead firing", "dead resolved"]


def test_an_alert_whose_rule_left_the_file_is_over() -> None:
    with watched() as seen:
        seen.figures.dead = 1
        seen.minutes(2)
        seen.minutes(2, seen.begin(FILE.replace("dead:", "other:").replace("above: 0,", "above: 9,")))
        assert seen.told == ["dead firing", "dead resolved"]
        assert "no longer" in seen.run.state("onex_alert:dead", Alert).reason


def test_minutes_say_what_was_measured_and_a_violation_is_an_alert() -> None:
    with watched() as seen:
        seen.minutes(5)
        seen.figures.up = 0
        seen.minutes(4)
        seen.figures.up = 1
        seen.minutes(5)
        state = seen.run.state(OBJECTIVES_KEY, Objectives)
        now = seen.run.engine.clock.now_us() // MINUTE_US
        up, fine = report(alerts_of(FILE, "f").objectives, state, now)
        assert (4 <= up.bad <= 5, up.absent, up.met, fine.bad) == (True, 0, True, 0)
        seen.figures.up = 0
        seen.minutes(4)
        assert seen.told == ["sla_up firing"]
        state = seen.run.state(OBJECTIVES_KEY, Objectives)
        assert not report(alerts_of(FILE, "f").objectives, state, now + 4)[0].met


def test_minutes_without_an_engine_are_down_time_once_one_runs_again() -> None:
    with watched() as seen:
        seen.minutes(5)
        seen.run.skip(minutes=20)
        seen.minutes(3, seen.begin())
        now = seen.run.engine.clock.now_us() // MINUTE_US
        up, fine = report(alerts_of(FILE, "f").objectives, seen.run.state(OBJECTIVES_KEY, Objectives), now)
        assert 18 <= up.absent <= 21
        assert (up.met, fine.met, fine.absent) == (False, True, 0)
        assert "sla_up firing" in seen.told


def test_the_last_minute_says_the_values_of_all_rules() -> None:
    with watched() as seen:
        seen.figures.rate = (19.0, 1.0)
        seen.minutes(3)
        assert seen.run.state(OBJECTIVES_KEY, Objectives).values == {"dead": 0.0, "missed": 0.0, "errors": 0.05}


def test_figures_of_a_real_engine_are_judged_by_every_kind_of_rule(place: Path) -> None:
    """Here the rows are those of ``/metrics`` of an engine that works, refuses and fails."""
    alerts = alerts_of("interval_s: 1", "alerts.yaml")

    async def reading(engine: WiredEngine, at_s: float) -> MetricSample:
        probes = EngineProbes(engine)  # new ones, that have counted nothing yet
        points = await EngineMetrics(engine, probes, LoopLag()).points()
        await probes.close()
        return MetricSample.of(at_s, points, alerts.names)

    async def go() -> dict[str, float | None]:
        async with await onex.open("memory:", JOBS, alerts=alerts) as engine:
            history = History(alerts)
            history.add(await reading(engine, 0.0))
            for number in range(8):
                await engine.submit(f"jobs:{number}", "blow")
            await engine.submit("jobs:1", "add", {"amount": 1})
            with pytest.raises(OnexError):
                await engine.submit("jobs:1", "add", {"amount": 13})
            await engine.idle()
            history.add(await reading(engine, 300.0))
            assert judge(alerts.rules["intents_dead"], history).beyond
            assert judge(alerts.rules["effects_fail"], history).beyond
            assert judge(alerts.rules["error_rate"], history) == (True, 0.1)
            return {name: judge(rule, history).value for name, rule in alerts.rules.items()}

    found = asyncio.run(go())
    assert (found["intents_dead"], found["effects_fail"], found["circuit_breaker_open"]) == (8.0, 1.0, None)
    assert found["routing_latency"] is not None
    assert found["process_memory"] is not None
    assert found["process_memory"] > 1e6


def test_what_a_store_counted_while_nobody_watched_is_seen_by_the_next_watch() -> None:
    with watched() as seen:
        seen.minutes(3)
        assert seen.told == []
        seen.run.skip(hours=2)
        seen.figures.missed = 9
        seen.minutes(2, seen.begin())
        assert seen.told.count("missed firing") == 1
        assert seen.run.state("onex_alert:missed", Alert).value == 2
        seen.minutes(12, seen.begin())
        assert seen.triggers("missed")[-3:] == ["recovered", "settled", "told"]


def test_the_minute_that_runs_is_recorded_at_an_orderly_end() -> None:
    with watched() as seen:
        seen.minutes(0.5)
        before = len(seen.run.history(OBJECTIVES_KEY))
        seen.run.run(seen.watch.close())
        assert len(seen.run.history(OBJECTIVES_KEY)) == before + 1
        seen.run.run(seen.watch.close())  # the same minute is one action
        assert len(seen.run.history(OBJECTIVES_KEY)) == before + 1
