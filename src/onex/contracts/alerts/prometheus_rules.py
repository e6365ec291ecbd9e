"""The same rules as text for Prometheus.

Each rule becomes one alerting rule of the same name, expression, ``for`` and severity. What only somebody outside can see stands
beside them: that a process is not there, and that its store does not answer. An objective is no rule here: its minutes are
recorded in the store (``onex sla``).
"""

from __future__ import annotations

from collections.abc import Iterator

from .alerts_model import EnumAlertSeverity, ModelAlerts, ModelRule
from .series import quoted

JOB = "onex"
HEAD = """\
# Written by `onex alerts --prometheus`. What to do at each of them: docs/guides/monitoring.md.
groups:
"""


def prometheus_rules(alerts: ModelAlerts) -> str:
    """A file of rules, as ``promtool check rules`` takes it."""
    lines = ["  - name: onex-rules", "    rules:"] if alerts.rules else []
    for name, rule in alerts.rules.items():
        lines += _rule(alert_name(name), _expression(rule), rule.for_s, rule.severity, _summary(rule))
    lines += ["  - name: onex-outside", "    rules:"]
    critical = EnumAlertSeverity.CRITICAL
    lines += _rule("OnexDown", f'up{{job="{JOB}"}} == 0', 60, critical, "{{ $labels.instance }} is not there")
    away = "The store does not answer {{ $labels.instance }}"
    lines += _rule("OnexStoreAway", "onex_store_up == 0", 60, critical, away)
    return HEAD + "\n".join(lines) + "\n"


def alert_name(rule: str) -> str:
    """``error_rate`` is OnexErrorRate."""
    return "Onex" + "".join(word[:1].upper() + word[1:] for word in rule.replace("-", "_").split("_"))


def _expression(rule: ModelRule) -> str:
    by = "job, instance" if rule.signal.scope == "process" else "job"
    form = rule.form
    if form.names == {"process_resident_memory_bytes"}:  # every program that Prometheus scrapes has it
        form = form.narrowed({"job": JOB})
    sign, bound = (">", rule.above) if rule.above is not None else ("<", rule.below)
    return f"{form.promql(rule.span_s, by)} {sign} {bound:.12g}"


def _summary(rule: ModelRule) -> str:
    what = rule.description.replace("{{", "{ {") or rule.signal.about
    where = " on {{ $labels.instance }}" if rule.signal.scope == "process" else ""
    unit = f" {rule.signal.unit}" if rule.signal.unit else ""
    return f"{rule.metric} is {{{{ $value | humanize }}}}{unit}{where}, {rule.bound}: {what}"


def _rule(name: str, expression: str, for_s: int, severity: EnumAlertSeverity, summary: str) -> Iterator[str]:
    yield f"      - alert: {name}"
    yield f"        expr: {_yaml(expression)}"
    yield f"        for: {for_s}s"
    yield f"        labels: {{severity: {severity}}}"
    yield "        annotations:"
    yield f"          summary: {quoted(summary)}"


def _yaml(expression: str) -> str:
    """On a line of its own, so that no quoting is needed."""
    return f"|-\n          {expression}"
