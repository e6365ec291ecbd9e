"""A file of alerts: what it says, what is wrong with it, and the figures that its rules are about."""

from __future__ import annotations

from math import inf

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.contracts.alerts.alerts_file import alerts_of, default_alerts, load_alerts
from onex.contracts.alerts.alerts_model import EnumAlertSeverity, ModelAlerts
from onex.contracts.alerts.prometheus_rules import alert_name, prometheus_rules
from onex.contracts.alerts.series import Labels, MetricSample, Seen, Series, quantile
from onex.contracts.alerts.signals import SIGNALS
from onex.kernel.errors import ContractError
from onex.monitoring.alerts.history import History, judge

FILE = """\
source: shop
receivers:
  team: {chat: {url: {env: CHAT_URL}}, channel: "#ops"}
  duty: {pagerduty: {routing_key: {secret: pagerduty}}}
  post: {mail: {host: smtp.example, sender: onex@example.com}, to: ops@example.com}
  hook: {webhook: {url: {env: HOOK}, idempotency_header: Idempotency-Key}}
routes: {critical: [duty, team], high: [team]}
rules:
  error_rate: {metric: error_rate, above: 0.02, window_s: 600, severity: critical}
  shop_fails: {metric: error_rate, above: 0.1, where: {workflow_type: shop}, receivers: [post]}
objectives:
  latency: {metric: p95_ms, at_most: 200, window_s: 3600, target: 0.99}
"""


def test_a_file_replaces_defaults_by_name_and_keeps_the_others() -> None:
    alerts = alerts_of(FILE, "alerts.yaml")
    assert alerts.rules["error_rate"].above == 0.02
    assert {"routing_latency", "intents_dead", "shop_fails"} < set(alerts.rules)
    assert (alerts.objectives["latency"].at_most, set(alerts.objectives) > {"availability"}) == (200, True)
    alone = alerts_of(f"defaults: false\n{FILE}", "alerts.yaml")
    assert (list(alone.rules), list(alone.objectives)) == (["error_rate", "shop_fails"], ["latency"])


def test_who_is_told_of_what() -> None:
    alerts = alerts_of(FILE, "alerts.yaml")
    assert alerts.told(alerts.rules["error_rate"]) == ("duty", "team")
    assert alerts.told(alerts.rules["shop_fails"]) == ("post",)
    assert alerts.told(alerts.rules["routing_latency"]) == ()
    without = alerts.model_copy(update={"routes": None})
    assert without.told(without.rules["routing_latency"]) == ("team", "duty", "post", "hook")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("- a", "not_a_mapping", "mapping"),
        ("rulez: {}", "unknown_key", "did you mean 'rules'"),
        ("rules: {a: {metric: error_rat, above: 1}}", "unknown_metric", "did you mean 'error_rate'"),
        ("rules: {a: {metric: error_rate}}", "bad_value", "above: or below:"),
        ("rules: {a: {metric: error_rate, above: 1, below: 0}}", "bad_value", "above: or below:"),
        ("rules: {a: {metric: error_rate, above: 1, window_s: 20}}", "impossible_window", "at least 30"),
        ("rules: {a: {metric: dead_intents, above: 1, window_s: 300}}", "impossible_window", "leave window_s out"),
        ("rules: {a: {metric: error_rate, above: 1, window_s: 90000}}", "out_of_range", "at most 21600"),
        ("rules: {a: {metric: error_rate, above: 1, window_s: 5m}}", "wrong_type", "write 300"),
        ("rules: {a: {metric: error_rate, above: 1, severity: hgih}}", "unknown_value", "high"),
        ("rules: {a: {metric: error_rate, above: 1, where: {target: x}}}", "unknown_label", "workflow_type"),
        ("rules: {a: {metric: error_rate, above: 1, receivers: [x]}}", "unknown_receiver", "add it to receivers"),
        ("rules: {sla_a: {metric: error_rate, above: 1}}", "taken_name", "another name"),
        ("routes: {critical: [x]}", "unknown_receiver", "add it to receivers"),
        ("receivers: {a: {chat: {url: u}, mail: {host: h, sender: s}}}", "bad_value", "one of chat"),
        ("receivers: {a: {mail: {host: h, sender: s}}}", "bad_value", "who gets the mail"),
        ("receivers: {a: {webhook: {url: u}}}", "no_key", "idempotency_header"),
        ("objectives: {a: {metric: p95_ms, at_most: 1, window_s: 60, target: 0.9}}", "out_of_range", "at least 600"),
        ("objectives: {a: {metric: p95_ms, at_most: 1, window_s: 600, target: 99.9}}", "out_of_range", "at most 1"),
        ("objectives: {a: {metric: p95_ms, window_s: 600, target: 0.9}}", "bad_value", "at_most: or at_least:"),
        ("rules: &x {}", "yaml_anchor", "anchor"),
    ],
)
def test_what_is_wrong_has_a_name_a_place_and_a_fix(text: str, code: str, words: str) -> None:
    loaded = load_alerts(text, "alerts.yaml")
    assert loaded.alerts is None
    found = next((one for one in loaded.findings if one.code == code), loaded.findings[0])
    assert (found.code == code or code in found.code, found.line, words in f"{found.message} {found.fix}") == (
        True, 1, True,
    ), found  # fmt: skip
    with pytest.raises(ContractError):
        alerts_of(text, "alerts.yaml")


def test_the_thresholds_of_the_source_documents_are_defaults() -> None:
    rules = default_alerts().rules
    critical, medium = EnumAlertSeverity.CRITICAL, EnumAlertSeverity.MEDIUM
    wanted = {
        "error_rate": ("error_rate", "above 0.01", critical),
        "routing_latency": ("p99_ms", "above 50", medium),
        "instance_memory": ("instance_memory_bytes", "above 100000000", medium),
        "circuit_breaker_open": ("breakers_open", "above 0", critical),
        "recovery_rate": ("recovery_rate", "below 0.85", critical),
        "latency_objective": ("p95_ms", "above 5000", critical),
        "process_memory": ("process_memory_bytes", "above 512000000", medium),
    }
    assert {name: (rules[name].metric, rules[name].bound, rules[name].severity) for name in wanted} == wanted
    assert {name: (one.target, one.window_s) for name, one in default_alerts().objectives.items()} == {
        "latency": (0.999, 3600), "availability": (0.999, 86_400), "recovery": (0.95, 21_600), "cache_hits": (0.99, 43_200),
    }  # fmt: skip


def test_the_rules_for_prometheus_have_the_same_names_bounds_and_times() -> None:
    alerts = alerts_of(FILE, "alerts.yaml")
    written = [rule for group in yaml.safe_load(prometheus_rules(alerts))["groups"] for rule in group["rules"]]
    by_name = {rule["alert"]: rule for rule in written}
    assert set(by_name) == {*map(alert_name, alerts.rules), "OnexDown", "OnexStoreAway"}
    for name, rule in alerts.rules.items():
        found = by_name[alert_name(name)]
        assert (found["for"], found["labels"]["severity"]) == (f"{rule.for_s}s", rule.severity.value)
    assert 'workflow_type="shop"' in by_name["OnexShopFails"]["expr"]
    assert by_name["OnexErrorRate"]["expr"].endswith("> 0.02")
    assert "[600s]" in by_name["OnexErrorRate"]["expr"]


# --- figures ----------------------------------------------------------------------------------------------------------

BOUNDS = (1.0, 5.0, 10.0, 100.0, inf)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(0.001, 99.0), min_size=1, max_size=20), q=st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_has_the_rank(values: list[float], q: float) -> None:
    counts = {bound: float(sum(value <= bound for value in values)) for bound in BOUNDS}
    found = quantile(q, counts)
    assert found is not None
    ranked = sorted(values)[max(0, -(-int(q * len(values) * 1000) // 1000) - 1)]
    upper = next(bound for bound in BOUNDS if bound >= ranked)
    lower = max((bound for bound in (0.0, *BOUNDS) if bound < upper), default=0.0)
    assert lower - 1e-9 <= found <= upper + 1e-9


def test_what_lies_beyond_the_last_bound_counts_as_that_bound_and_nothing_has_no_quantile() -> None:
    assert quantile(0.99, {1.0: 0.0, 100.0: 1.0, inf: 100.0}) == 100.0
    assert quantile(0.5, {1.0: 0.0, inf: 0.0}) is None
    assert quantile(0.5, {}) is None


def test_a_quantile_lies_on_a_straight_line_between_two_bounds() -> None:
    counts = {1.0: 10.0, 5.0: 30.0, 10.0: 60.0, 100.0: 99.0, inf: 100.0}
    assert quantile(0.05, counts) == pytest.approx(0.5)
    assert quantile(0.5, counts) == pytest.approx(5 + 5 * 20 / 30)
    assert quantile(0.99, counts) == pytest.approx(100.0)


def sample(at_s: float, done: float, failed: float = 0.0, dead: float = 0.0) -> MetricSample:
    rows: list[tuple[str, Labels, float]] = [
        ("reducer_successful_actions_total", {"workflow_type": "shop"}, done),
        ("reducer_failed_actions_total", {"workflow_type": "shop", "fault": "workflow"}, failed),
        ("reducer_failed_actions_total", {"workflow_type": "shop", "fault": "sender"}, 1000 * at_s),
        ("onex_outbox_intents", {"state": "dead"}, dead),
    ]
    return MetricSample.of(at_s, rows, default_alerts().names)


def history(*samples: MetricSample, alerts: ModelAlerts | None = None) -> History:
    made = History(alerts or default_alerts())
    for one in samples:
        made.add(one)
    return made


def test_senders_own_faults_are_no_errors() -> None:
    rule = default_alerts().rules["error_rate"]
    assert judge(rule, history(sample(0, 0), sample(300, 99, 1))) == (False, 0.01)
    assert judge(rule, history(sample(0, 0), sample(300, 98, 2))) == (True, 0.02)


def test_nothing_is_decided_before_a_whole_window_in_which_nothing_happened() -> None:
    rule = default_alerts().rules["error_rate"]
    assert judge(rule, history()).beyond is None
    assert judge(rule, history(sample(0, 5))).beyond is None
    assert judge(rule, history(sample(0, 5), sample(299, 5))).beyond is None
    assert judge(rule, history(sample(0, 5), sample(300, 5))) == (False, None)


def test_a_figure_that_nobody_tells_never_fires() -> None:
    rule = default_alerts().rules["schedules_missed"]
    assert judge(rule, history(sample(0, 5), sample(5000, 5))).beyond is None


def test_a_figure_of_the_moment_is_that_of_the_last_sample() -> None:
    rule = default_alerts().rules["intents_dead"]
    assert judge(rule, history(sample(0, 5, dead=2))) == (True, 2.0)
    assert judge(rule, history(sample(0, 5, dead=2), sample(1, 5))) == (False, 0.0)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.floats(0.1, 400), min_size=1, max_size=20), window_s=st.floats(1, 600))
def test_a_window_begins_at_the_newest_sample_that_is_old_enough(steps: list[float], window_s: float) -> None:
    times = [0.0]
    for step in steps:
        times.append(times[-1] + step)
    made = history(*(sample(at, at) for at in times))
    seen = made.seen(window_s)
    assert seen is not None
    old_enough = [at for at in times[:-1] if at <= times[-1] - window_s]
    assert seen.last.at_s == times[-1]
    assert seen.whole == bool(old_enough)
    assert seen.first.at_s == (max(old_enough) if old_enough else times[0])


def test_labels_narrow_and_leave_out() -> None:
    series = Series("onex_effect_calls_total", without=(("result", "succeeded"),)).narrowed({"target": 'a"b'})
    assert series.fits({"target": 'a"b', "result": "failed"})
    assert not series.fits({"target": 'a"b', "result": "succeeded"})
    assert series.promql() == 'onex_effect_calls_total{target="a\\"b",result!="succeeded"}'


def test_every_signal_has_a_value_of_its_own_rows() -> None:
    """A form that names rows which it does not read would be silent for ever."""
    for signal in SIGNALS.values():
        rows: list[tuple[str, Labels, float]] = [
            (name, {"le": bound, "state": state}, 5.0)
            for name in signal.form.names
            for bound in ("1", "+Inf")
            for state in ("held", "dead")
        ]
        now = MetricSample.of(1, rows, signal.form.names)
        assert signal.form.value(Seen(MetricSample(0, {}), now)) is not None
