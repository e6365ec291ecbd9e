"""Events of an engine in the foreground as lines on stderr: only those that need a person."""

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
    """Implements the port ``Telemetry``: one line on stderr for each event in REPORTED. A line is not repeated directly."""

    def __init__(self) -> None:
        self._last = ""

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        if name not in REPORTED:
            return
        words = ", ".join(f"{key} {value}" for key, value in fields.items())
        line = harmless(f"{name.replace('_', ' ')}: {words}")
        if name == "process_died_judging":
            line = (
                f"the last process ended while {fields.get('suspects')} actions or rows ran; they now run one at a time"
            )
        if line != self._last:
            self._last = line
            note(line)
