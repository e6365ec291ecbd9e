"""The listener that makes log lines of an engine's events: which adapter it is, only this room knows."""

from __future__ import annotations

from ..adapters.structlog_telemetry import Logger, StructlogTelemetry
from ..ports import Telemetry

__all__ = ["Logger", "log_listener"]


def log_listener(logger: Logger, *, details: bool) -> Telemetry:
    """Hands each event to ``logger`` at its level; ``details``: those of each transition, refusal and attempt too."""
    return StructlogTelemetry(logger, details=details)
