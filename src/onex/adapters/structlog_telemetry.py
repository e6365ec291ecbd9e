"""Events of the engine as log lines of structlog: ``onex.open(..., telemetry=StructlogTelemetry())``.

structlog is imported when one is made without a logger, and by ``onex run``; no other command needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol
from uuid import UUID

LEVELS: Final[Mapping[str, str]] = {
    "engine_started": "info",
    "schedules_declared": "info",
    "schedules_refused": "warning",
    "engine_closed": "info",
    "engine_lost": "error",
    "rollout": "info",
    "rollout_taken_back": "error",
    "bus_reached": "info",
    "event_rejected": "error",
    "message_quarantined": "error",
    "loop_failed": "error",
    "task_left": "error",
    "closed_with_work_left": "error",
    "judging_failed": "error",
    "instance_held": "error",
    "outcome_held": "error",
    "intent_dead": "error",
    "intents_taken_over": "info",
    "search_filled": "info",
    "shards_gained": "info",
    "shards_given": "info",
    "transition": "info",
    "refused": "info",
    "attempt_began": "info",
    "attempt_succeeded": "info",
    "attempt_cut_off": "info",
    "breaker_closed": "info",
    "effect_log": "info",
    "external_call": "info",
}
"""The level of each event; that of an ``effect_log`` is the one that the function chose. An event that is not listed is a
``warning``: nothing is lost, and somebody should look."""


class Logger(Protocol):
    """The methods that a logger needs; each logger of structlog has them."""

    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class StructlogTelemetry:
    """Implements the port ``Telemetry``. Fields keep their names; ids become text, and fields without a value are left out.

    ``details``: a line for each transition, refusal and attempt too.
    """

    def __init__(self, logger: Logger | None = None, *, details: bool = False) -> None:
        """``logger`` defaults to ``structlog.get_logger("onex")``."""
        self.details = details
        if logger is None:
            import structlog

            logger = structlog.get_logger("onex")
        self._logger: Logger = logger

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        plain = {
            key: str(value) if isinstance(value, UUID) else value
            for key, value in fields.items()
            if value is not None and value != ""
        }
        level = LEVELS.get(name, "warning")
        if name == "effect_log":
            level = str(plain.pop("level", level))
        match level:
            case "info":
                self._logger.info(name, **plain)
            case "error":
                self._logger.error(name, **plain)
            case _:
                self._logger.warning(name, **plain)
