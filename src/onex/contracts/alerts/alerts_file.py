"""The text of a file of alerts becomes ``ModelAlerts``, or all that is wrong with it, each finding with its place and a fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import ValidationError as PydanticError
from pydantic_core import to_json

from ...kernel.errors import ContractError
from ...kernel.finding import EnumSeverity, Finding, errors
from ..guard.problem import suggest
from ..load import translate
from ..model.part import STRICT
from ..model.target_notification import ModelWebhookTarget
from ..text.yaml_tree import FINDINGS_MAX, Loc, YamlMap, YamlPlace, node_at, place_of, plain, read_yaml
from .alerts_model import SLA, ModelAlerts, ModelRule, ModelWatch
from .default_alerts import OBJECTIVES, RULES
from .signals import SIGNALS

WHOLE = "the file"


class LoadedAlerts(NamedTuple):
    """``alerts`` is None when a finding is an error. The defaults are in it, unless it leaves them out."""

    alerts: ModelAlerts | None
    findings: tuple[Finding, ...]


def load_alerts(text: str, path: str) -> LoadedAlerts:
    """Never raises. ``path`` only names the text in findings."""
    source = read_yaml(text, path)
    tree = source.tree
    if tree is None:
        return LoadedAlerts(None, source.findings)
    if not isinstance(tree, YamlMap):
        fix = "begin with rules: or receivers:"
        wrong = Finding(
            "not_a_mapping", EnumSeverity.ERROR, *tree.place.spot(path), "alerts are a mapping of keys", fix
        )
        return LoadedAlerts(None, (*source.findings, wrong))
    try:
        made = ModelAlerts.model_validate_json(to_json(plain(tree)), context=STRICT)
    except PydanticError as error:
        details = error.errors(include_url=False)[:FINDINGS_MAX]
        found = [translate(tree, path, detail, ModelAlerts, WHOLE) for detail in details]
        return LoadedAlerts(None, _sorted([*source.findings, *found]))
    findings = _sorted([*source.findings, *_Checks(made, tree, path).findings()])
    return LoadedAlerts(None if errors(findings) else made.with_defaults(RULES, OBJECTIVES), findings)


def alerts_of(text: str, path: str) -> ModelAlerts:
    """Raises ContractError with the findings."""
    loaded = load_alerts(text, path)
    if loaded.alerts is None:
        raise ContractError(str(errors(loaded.findings)[0]), loaded.findings)
    return loaded.alerts


def default_alerts() -> ModelAlerts:
    return ModelAlerts().with_defaults(RULES, OBJECTIVES)


class _Checks:
    def __init__(self, alerts: ModelAlerts, tree: YamlMap, path: str) -> None:
        self._alerts, self._tree, self._path = alerts, tree, path

    def findings(self) -> Iterator[Finding]:
        alerts = self._alerts
        for name, receiver in alerts.receivers.items():
            target = receiver.target
            if isinstance(target, ModelWebhookTarget) and not target.takes_key():
                yield self._found(
                    ("receivers", name, "webhook"),
                    "no_key",
                    f"the webhook {name!r} gets no idempotency key, so a notification that is sent again is a second one",
                    "add idempotency_header: Idempotency-Key",
                )
        for severity, names in (alerts.routes or {}).items():
            for at, name in enumerate(names):
                yield from self._known_receiver(name, ("routes", severity.value, at))
        for name, rule in alerts.rules.items():
            if name.startswith(SLA):
                fix = "give it another name"
                message = f"names that begin with {SLA} are of the alerts of objectives"
                yield self._found(("rules", name), "taken_name", message, fix)
            yield from self._watch(rule, ("rules", name))
            if rule.metric in SIGNALS:
                yield from self._window(rule, ("rules", name))
        for name, objective in alerts.objectives.items():
            yield from self._watch(objective, ("objectives", name))

    def _watch(self, watch: ModelWatch, at: Loc) -> Iterator[Finding]:
        for place, name in enumerate(watch.receivers or ()):
            yield from self._known_receiver(name, (*at, "receivers", place))
        if watch.metric not in SIGNALS:
            fix = suggest(watch.metric, list(SIGNALS)) or f"it knows {', '.join(SIGNALS)}"
            yield self._found((*at, "metric"), "unknown_metric", f"there is no metric {watch.metric!r}", fix)
            return
        labels = watch.signal.labels
        for label in watch.where:
            if label not in labels:
                fix = suggest(label, labels) or (f"it has {', '.join(labels)}" if labels else "leave where: out")
                yield self._found((*at, "where", label), "unknown_label", f"{watch.metric} has no label {label!r}", fix)

    def _window(self, rule: ModelRule, at: Loc) -> Iterator[Finding]:
        interval_s = self._alerts.interval_s
        if rule.window_s is not None and not rule.form.windowed:
            yield self._found(
                (*at, "window_s"),
                "impossible_window",
                f"{rule.metric} is a figure of the moment, without a window",
                "leave window_s out; for_s says how long it must last",
            )
        elif rule.form.windowed and rule.span_s < 2 * interval_s:
            yield self._found(
                (*at, "window_s"),
                "impossible_window",
                f"a window of {rule.span_s} s holds no two readings: one is made each {interval_s} s",
                f"use at least {2 * interval_s}",
            )

    def _known_receiver(self, name: str, at: Loc) -> Iterator[Finding]:
        known = list(self._alerts.receivers)
        if name not in known:
            fix = suggest(name, known) or (f"there are {', '.join(known)}" if known else "add it to receivers:")
            yield self._found(at, "unknown_receiver", f"there is no receiver {name!r}", fix)

    def _found(self, at: Loc, code: str, message: str, fix: str) -> Finding:
        place: YamlPlace = place_of(self._tree, at)
        parent = node_at(self._tree, at[:-1])
        if isinstance(parent, YamlMap) and at[-1] in parent.entries:
            place = parent.entries[str(at[-1])].key.place
        return Finding(code, EnumSeverity.ERROR, *place.spot(self._path), message, fix)


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (one.line, one.column)))
