"""``/metrics`` of real engines: what they did stands there, by bounded labels, also when the store does not answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

import onex
from onex.kernel.errors import EffectFailed, EffectUnknown, InternalTrigger, OnexError
from onex.kernel.intent import ModelIntent
from onex.monitoring.engine_metrics import EngineMetrics
from onex.monitoring.engine_probes import EngineProbes
from onex.monitoring.resources import LoopLag
from onex.wiring.engine import WiredEngine
from tests.cli.conftest import ITEMS, ORDERS
from tests.laws.tree import ROOT
from tests.orchestration.orchestra import FIRST, written

GUIDE = ROOT / "docs" / "guides" / "monitoring.md"
SUMS = ("_sum", "_count")
JOB = Path(__file__).parents[1] / "nodes" / "job"
CALLS = Path(__file__).parents[1] / "engine" / "called_app" / "calls.py"
Sample = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(metrics: EngineMetrics) -> Sample:
    text = (await metrics.text()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Sample, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def watched(app: Path, story: Callable[[WiredEngine, EngineMetrics], Awaitable[None]], store: str = "memory:") -> None:
    async def go() -> None:
        async with await onex.open(store, app, bus="memory:") as engine:
            probes = EngineProbes(engine, fresh_s=0.0)
            await story(engine, EngineMetrics(engine, probes, LoopLag()))
            await probes.close()

    asyncio.run(go())


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "orders"))


def test_what_was_done_stands_there_by_type_trigger_target_and_code() -> None:
    async def story(engine: WiredEngine, metrics: EngineMetrics) -> None:
        await engine.materialize()
        await engine.submit("orders:secret-customer-7", "place", {"items": ITEMS})
        await engine.idle()
        await engine.views["workflow"].catch_up()
        with pytest.raises(InternalTrigger):
            await engine.submit("orders:secret-customer-8", "packed", {"parcel": "1"})
        await engine.state("orders:secret-customer-7")
        refused = await samples(metrics)
        labels = {"workflow_type": "orders", "fault": "sender"}
        assert of(refused, "reducer_failed_actions_total", **labels) == engine.counters.refused == 1
        assert of(refused, "onex_rejections_total", workflow_type="orders", code="internal_trigger") == 1
        assert of(refused, "reducer_failed_actions_total", workflow_type="orders", fault="workflow") == 0
        found = await samples(metrics)
        assert of(found, "reducer_successful_actions_total", workflow_type="orders") == engine.counters.committed == 3
        for trigger in ("place", "charged", "packed"):
            name = "reducer_pattern_workflow_state_transitions_total"
            assert of(found, name, workflow_type="orders", trigger=trigger) == 1
        assert of(found, "onex_effect_calls_total", target="bank", result="succeeded") == 1
        assert of(found, "node_execution_time_ms_count", node_type="effect", status="success", error_type="") == 2
        assert of(found, "reducer_pattern_routing_latency_ms_count") == engine.counters.latency.count
        assert of(found, "canonical_store_commit_latency_ms_count") > 0
        assert of(found, "canonical_store_get_state_total") == 1
        assert of(found, "reducer_pattern_routing_success_rate") == 1
        assert of(found, "reducer_pattern_workflow_active_instances", workflow_type="orders") == 0
        assert of(found, "projection_materializer_projections_materialized_total", projection="workflow") == 3
        assert of(found, "projection_materializer_wm_lag_ms", projection="workflow") == 0
        assert of(found, "reducer_pattern_routing_circuit_breaker_state", target="bus") == 0
        assert of(found, "onex_outbox_intents", state="waiting") == 0
        assert of(found, "onex_shards_owned") == of(found, "onex_store_up") == 1
        text = (await metrics.text()).decode()
        assert "secret-customer" not in text

    watched(ORDERS, story)


def test_tries_that_fail_and_succeed_later_are_recoveries() -> None:
    async def story(engine: WiredEngine, metrics: EngineMetrics) -> None:
        await engine.submit("job:1", "plain", {"what": "refused for now"})
        await engine.idle()
        found = await samples(metrics)
        repeated = sum(number for (name, _), number in found.items() if name == "error_recovery_attempts_total")
        assert repeated == engine.counters.effects_retried > 0
        ended = sum(number for (name, _), number in found.items() if name == "onex_effect_calls_total")
        assert ended == of(found, "onex_effects_run_total") == engine.counters.effects_run

    watched(JOB, story)


def test_a_store_that_does_not_answer_costs_its_own_families_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(engine: WiredEngine, metrics: EngineMetrics) -> None:
        async def never(*asked: object) -> NoReturn:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        probes = metrics._probes
        assert of(await samples(metrics), "onex_rejections_kept") == 0
        probes.counts.within_s = probes.stopped.within_s = 0.02
        probes.counts.fresh_s = 0.0
        monkeypatch.setattr(engine.reader, "counts", never)
        found = await samples(metrics)
        assert of(found, "onex_store_up") == 1
        assert of(found, "onex_rejections_kept") == 0  # as it was last counted
        monkeypatch.setattr(engine.reader, "outbox", never)
        found = await samples(metrics)
        assert of(found, "onex_store_up") == 0
        assert of(found, "onex_batches_total") == engine.counters.batches
        assert not {name for name, _ in found} & {"onex_outbox_intents", "onex_rejections_kept"}

    watched(ORDERS, story)


def test_an_engine_counts_by_label_only_when_somebody_will_read_it() -> None:
    async def go() -> None:
        async with await onex.open("memory:", ORDERS) as engine:
            await engine.submit("orders:1", "place", {"items": ITEMS})
            await engine.idle()
            assert engine.service.labelled is None

    asyncio.run(go())


def test_the_guide_lists_every_metric_with_its_labels_and_no_other() -> None:
    rows = [line.split("|") for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    listed = {name: set(re.findall(r"`(\w+)`", row[2])) for row in rows for name in re.findall(r"`([a-z]\w+)`", row[1])}

    async def story(engine: WiredEngine, metrics: EngineMetrics) -> None:
        await engine.materialize()
        await engine.submit("job:1", "plain", {"what": "refused for now"})
        with pytest.raises(OnexError):
            await engine.submit("job:1", "plain", {"what": "refused for now"}, expected_version=99)
        await engine.idle()
        shown = {
            name.removesuffix("_bucket"): {label for label, _ in labels} for name, labels in await samples(metrics)
        }
        names = {name for name in shown if not name.startswith(("process_", "python_")) and not name.endswith(SUMS)}
        histograms = {name for name in names if "le" in shown[name]}
        assert {name: shown[name] - {"le"} for name in names} | {
            "event_bus_events_published_total": {"topic"},
            "onex_target_intents_waiting": {"target"},
            "event_bus_events_consumed_total": {"topic"},
            "event_bus_events_passed_over_total": {"topic"},
            "onex_orchestrations_paused": {"workflow_type"},
            "onex_schedules_missed_total": set(),
        } == listed
        assert len(histograms) == 5

    watched(JOB, story)


def test_a_target_that_does_not_answer_shows_its_open_breaker_and_who_waits() -> None:
    async def down(intent: ModelIntent[BaseModel]) -> None:
        raise EffectUnknown("no answer")

    async def go() -> None:
        async with await onex.open("memory:", CALLS, executors={"bank": down}) as engine:
            probes = EngineProbes(engine)
            metrics = EngineMetrics(engine, probes)
            await engine.submit("calls:1", "go", {"calls": 5})
            while not engine.counters.breakers_opened:
                await asyncio.sleep(0.005)
            found = await samples(metrics)
            assert of(found, "reducer_pattern_routing_circuit_breaker_state", target="calls.bank") == 2
            assert of(found, "onex_breakers_opened_total") == 1
            assert of(found, "onex_target_intents_waiting", target="calls.bank") > 0
            assert of(found, "onex_effect_calls_total", target="bank", result="unknown") >= 3
            await probes.close()

    asyncio.run(go())


def test_an_orchestration_that_is_held_by_a_failed_task_is_counted_as_paused(tmp_path: Path) -> None:
    """So an alert finds the one that waits for a person; nothing else does."""
    plan = written(tmp_path / "plan", "- {id: pay, effect: bank, payload: Thing, result: Made, on_failure: hold}\n")

    def bank(intent: ModelIntent[BaseModel]) -> NoReturn:
        raise EffectFailed("there is no such account")

    async def go() -> None:
        async with await onex.open("memory:", plan, executors={"bank": bank}) as engine:
            probes = EngineProbes(engine, fresh_s=0.0)
            metrics = EngineMetrics(engine, probes)
            assert of(await samples(metrics), "onex_orchestrations_paused", workflow_type="plan") == 0
            await engine.submit("plan:1", "start", FIRST)
            await engine.wait("plan:1", until="paused")
            async with asyncio.timeout(20):  # a scrape may show the counts of the one before
                while of(await samples(metrics), "onex_orchestrations_paused", workflow_type="plan") != 1:
                    await asyncio.sleep(0)
            await probes.close()

    asyncio.run(go())
