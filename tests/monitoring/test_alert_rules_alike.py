"""A rule means the same here and in Prometheus: ``promtool`` computes the expression of each signal over the same rows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from onex.contracts.alerts.series import Labels, MetricSample, Seen
from onex.contracts.alerts.signals import SIGNALS
from tests.servers.prometheus_server import program

WINDOW_S = 300
Row = tuple[str, Labels, float]

HERE: Labels = {"job": "onex", "instance": "a"}
GROWTH: list[Row] = [
    ("reducer_successful_actions_total", {"workflow_type": "a"}, 90),
    ("reducer_successful_actions_total", {"workflow_type": "b"}, 0),
    ("reducer_failed_actions_total", {"workflow_type": "a", "fault": "workflow"}, 6),
    ("reducer_failed_actions_total", {"workflow_type": "a", "fault": "engine"}, 4),
    ("reducer_failed_actions_total", {"workflow_type": "a", "fault": "sender"}, 700),
    ("error_recovery_success_total", {}, 3),
    ("error_recovery_failures_total", {}, 1),
    ("onex_effect_calls_total", {"target": "bank", "result": "succeeded"}, 7),
    ("onex_effect_calls_total", {"target": "bank", "result": "failed"}, 2),
    ("onex_effect_calls_total", {"target": "post", "result": "unknown"}, 1),
    ("onex_instance_cache_hits_total", {}, 40),
    ("onex_instance_cache_misses_total", {}, 10),
    ("onex_overloaded_total", {}, 5),
    ("onex_schedules_missed_total", {}, 2),
    *(
        ("reducer_pattern_routing_latency_ms_bucket", {"le": bound}, count)
        for bound, count in (("1.0", 10.0), ("5.0", 60.0), ("50.0", 97.0), ("100.0", 99.0), ("+Inf", 100.0))
    ),
]
"""How much each counter grows within the window; all of them begin at 1000."""
MOMENT: list[Row] = [
    ("reducer_pattern_isolation_memory_usage_bytes", {}, 2048),
    ("process_resident_memory_bytes", {}, 9e7),
    ("reducer_pattern_routing_circuit_breaker_state", {"target": "a.bank"}, 2),
    ("reducer_pattern_routing_circuit_breaker_state", {"target": "a.post"}, 1),
    ("reducer_pattern_routing_circuit_breaker_state", {"target": "bus"}, 2),
    ("onex_event_loop_lag_ms", {}, 12.5),
    ("onex_actions_waiting", {}, 17),
    ("projection_materializer_wm_lag_ms", {"projection": "x"}, 10),
    ("projection_materializer_wm_lag_ms", {"projection": "y"}, 40),
    ("onex_outbox_intents", {"state": "held"}, 3),
    ("onex_outbox_intents", {"state": "dead"}, 5),
    ("onex_outbox_intents", {"state": "waiting"}, 900),
    ("onex_orchestrations_paused", {"workflow_type": "a"}, 1),
    ("onex_orchestrations_paused", {"workflow_type": "b"}, 2),
    ("onex_store_up", {}, 1),
]


def seen() -> Seen:
    names = frozenset(name for name, _, _ in (*GROWTH, *MOMENT))
    begin = MetricSample.of(0.0, [(name, labels, 1000.0) for name, labels, _ in GROWTH], names)
    end = [*((name, labels, 1000.0 + grown) for name, labels, grown in GROWTH), *MOMENT]
    return Seen(begin, MetricSample.of(float(WINDOW_S), end, names))


def series() -> list[dict[str, str]]:
    """The same rows a minute apart, at an even pace: what Prometheus extrapolates from is then exact."""
    minutes = WINDOW_S // 60

    def named(name: str, labels: Labels) -> str:
        words = ",".join(f'{label}="{value}"' for label, value in {**HERE, **labels}.items())
        return f"{name}{{{words}}}"

    grown = [{"series": named(name, labels), "values": f"1000+{by / minutes:.10g}x10"} for name, labels, by in GROWTH]
    return [*grown, *({"series": named(name, labels), "values": f"{value:.10g}x10"} for name, labels, value in MOMENT)]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_computed_here_as_in_prometheus(name: str, tmp_path: Path) -> None:
    signal = SIGNALS[name]
    value = signal.form.value(seen())
    assert value is not None
    by = "job, instance" if signal.scope == "process" else "job"
    expression = signal.form.promql(WINDOW_S, by)
    near = max(1e-6, abs(value) * 1e-6)
    same = f"abs(({expression}) - {value!r}) < bool {near!r}"
    labels = '{job="onex", instance="a"}' if signal.scope == "process" else '{job="onex"}'
    unit = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series(),
                "promql_expr_test": [
                    {"expr": same, "eval_time": f"{WINDOW_S}s", "exp_samples": [{"labels": labels, "value": 1}]}
                ],
            }
        ],
    }
    file = tmp_path / "unit.yml"
    file.write_text(yaml.safe_dump(unit))
    told = subprocess.run(
        [program("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, f"{expression}\nhere {value}\n{told.stdout}{told.stderr}"
