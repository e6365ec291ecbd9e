"""Alerts as values and JSON: each rule of a file, and each alert that is recorded in a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from ..contracts.alerts.alerts_model import SLA, ModelAlerts, ModelWatch
from ..ports import Stored
from ..workflows.alerts.onex_alert.payloads import Alert, Desk

OK = "ok"
STANDINGS = {"quiet": OK, "resolved": OK}
"""What a status is called here; the others are called as they are."""


class AlertRow(NamedTuple):
    """``alert`` is None where nothing was ever recorded. ``watched``: the rule is in the file; ``read``: its value a minute ago."""

    name: str
    severity: str
    standing: str
    metric: str
    bound: str
    alert: Alert | None = None
    watched: bool = True
    read: float | None = None

    @property
    def value(self) -> float | None:
        """The last value that is recorded: of an open alert what was told of it, else what was read in the last minute."""
        told = None if self.alert is None else self.alert.value
        return told if self.standing != OK and told is not None else self.read

    @property
    def since(self) -> datetime | None:
        """Since when it stands so; None where that is since ever."""
        alert = self.alert
        if alert is None:
            return None
        return {"pending": alert.since, "firing": alert.fired_at, "settling": alert.fired_at}.get(
            self.standing, alert.resolved_at
        )

    @property
    def silenced_until(self) -> datetime | None:
        return None if self.alert is None else self.alert.silenced_until

    @property
    def remark(self) -> str:
        """Who has it, who is not told of it, and who could not be told."""
        alert = self.alert
        if alert is None:
            return "" if self.watched else "its rule is not in this file"
        words = [f"taken up by {alert.acknowledged_by}"] if alert.acknowledged_by and self.standing != OK else []
        if alert.silenced_until is not None:
            words.append(f"silent until {alert.silenced_until:%Y-%m-%d %H:%M} UTC")
        words += [f"{name}: {text}" for name, desk in alert.desks.items() if (text := _of_desk(desk))]
        if not self.watched:
            words.append("its rule is not in this file")
        return ", ".join(words)

    def as_json(self) -> dict[str, JsonValue]:
        alert = self.alert
        shown: dict[str, JsonValue] = {
            "alert": self.name,
            "standing": self.standing,
            "severity": self.severity,
            "metric": self.metric,
            "bound": self.bound,
            "watched": self.watched,
            "value": self.value,
            "since": None if (since := self.since) is None else since.isoformat(),
            "incidents": 0 if alert is None else alert.incident,
        }
        if alert is not None:
            whole = alert.model_dump(mode="json")
            for name in ("acknowledged_by", "acknowledged_at", "note", "silenced_until", "silenced_by", "relapses"):
                shown[name] = whole[name]
            shown["receivers"] = {
                name: {
                    "kind": desk.kind,
                    "knows": desk.knows,
                    "sending": desk.says,
                    "tries": desk.tries,
                    "doubts": desk.doubts,
                    "error": desk.error,
                }
                for name, desk in alert.desks.items()
            }
        return shown


def alert_rows(alerts: ModelAlerts, recorded: Iterable[Stored], values: Mapping[str, float]) -> list[AlertRow]:
    """The rules of the file and the alerts of its objectives, then what is recorded and not in it. ``values[rule]``: last read."""
    found = {one.key.instance_id: one for one in recorded}
    watches: dict[str, tuple[ModelWatch, str]] = {name: (rule, rule.bound) for name, rule in alerts.rules.items()}
    for name, objective in alerts.objectives.items():
        watches[SLA + name] = objective, f"{objective.bound} in {objective.target:.6g} of {objective.window_s} s"
    rows = [
        _row(name, watch.severity.value, watch.metric, bound, found.pop(name, None))._replace(read=values.get(name))
        for name, (watch, bound) in watches.items()
    ]
    for name, stored in sorted(found.items()):
        row = _row(name, "", "", "", stored)
        rule = None if row.alert is None else row.alert.rule
        if rule is not None:
            row = row._replace(severity=rule.severity, metric=rule.metric, bound=rule.bound)
        rows.append(row._replace(watched=False))
    return rows


def _row(name: str, severity: str, metric: str, bound: str, stored: Stored | None) -> AlertRow:
    if stored is None or stored.version == 0:
        return AlertRow(name, severity, OK, metric, bound)
    alert = Alert.model_validate_json(stored.state)
    return AlertRow(name, severity, STANDINGS.get(stored.status, stored.status), metric, bound, alert)


def _of_desk(desk: Desk) -> str:
    if desk.sending is not None:
        return f"is being told ({desk.says})"
    if desk.tries:
        return f"not told after {desk.tries} rounds: {desk.error}"
    return f"perhaps not told: {desk.error}" if desk.doubts and desk.error else ""
