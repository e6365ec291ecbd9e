"""How far an orchestration is, read off the JSON of its state: one row for each task that has begun or was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import JsonValue


class PlanRow(NamedTuple):
    """``items`` is how far a map is, in words; '' for any other task."""

    task: str
    state: str
    began: str
    ended: str
    items: str
    error: str


def plan_rows(state: JsonValue) -> list[PlanRow]:
    """[] for a state that is none of an orchestration."""
    return [*_rows(state)] if isinstance(state, dict) else []


def _rows(state: Mapping[str, JsonValue]) -> Iterator[PlanRow]:
    plan = state.get("plan")
    tasks = plan.get("tasks") if isinstance(plan, dict) and {"next", "undo", "ending"} <= set(plan) else None
    for name, row in tasks.items() if isinstance(tasks, dict) else ():
        if isinstance(row, dict):
            began, ended, error = (str(row.get(key) or "") for key in ("began", "ended", "error"))
            yield PlanRow(name, str(row.get("state")), began, ended, _items(state.get(name)), error)


def _items(gathered: JsonValue) -> str:
    if not isinstance(gathered, dict) or not {"count", "begun", "succeeded", "failed"} <= set(gathered):
        return ""
    return f"{gathered['succeeded']} of {gathered['count']} done, {gathered['failed']} failed"
