"""What an engine in the foreground says of itself, for the person who watches: what was stopped, and what somebody has to do."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from .console import harmless, note

REPORTED: Final = frozenset(
    {
        "closed_with_work_left",
        "dead_after_crashes",
        "engine_lost",
        "held_row_unreadable",
        "judging_failed",
        "loop_failed",
        "process_died_judging",
        "refused_after_crashes",
        "state_unreadable",
        "task_left",
    }
)


class EventLines:
    """Keeps the port ``Telemetry`` by a line on stderr for each event that is no everyday one. The same line is not told twice
    in a row."""

    def __init__(self) -> None:
        self._last = ""

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        if name not in REPORTED:
            return
        words = ", ".join(f"{key} {value}" for key, value in fields.items())
        line = harmless(f"{name.replace('_', ' ')}: {words}")
        if line != self._last:
            self._last = line
            note(line)
