"""Listeners: more than one listener to the events of an engine, for example a log and traces."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ..engine.metrics import DETAILS
from ..kernel.user_code import flag_of
from ..ports import Telemetry


class Listeners:
    """Implements the port ``Telemetry``: each gets what it asked for, whatever the others do."""

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners: Final = tuple((one, bool(flag_of(one, "details", False))) for one in listeners)
        self.details = any(details for _, details in self._listeners)

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        """Raises what the last of those that failed has raised: the engine counts it."""
        failed: Exception | None = None
        for listener, details in self._listeners:
            if details or name not in DETAILS:
                try:
                    listener.emit(name, **fields)
                except Exception as error:
                    failed = error
        if failed is not None:
            raise failed
