"""The workflows of alerts beside those of an app, on the same engine: ``onex:alerts`` with the receivers of a file."""

from __future__ import annotations

from typing import Final

from ..adapters.watchdog import Watchdog
from ..app import load_app
from ..contracts.alerts.alerts_model import ModelAlerts
from ..effects.alert_receivers import alert_executors
from ..effects.context import EffectContext
from ..engine.registry import Workflow
from ..ports import Blobs
from .effect_threads import EffectThreads
from .served import ServedApp

ALERTS_APP: Final = "onex:alerts"
ALERT_TYPES: Final = ("onex_alert", "onex_objectives")


def alert_workflows(
    alerts: ModelAlerts | None, blobs: Blobs, watchdog: Watchdog, effects: EffectContext
) -> tuple[Workflow, ...]:
    """None without a file of alerts. Raises DependencyResolutionError where the library of a receiver is not installed."""
    if alerts is None:
        return ()
    served = ServedApp(
        load_app(ALERTS_APP), blobs, EffectThreads(), None, alert_executors(alerts, effects), watchdog, effects
    )
    return served.registry().workflows
