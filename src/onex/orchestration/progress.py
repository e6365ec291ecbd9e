"""How far an orchestration is: plain values in the state of its instance. All that a crash must not lose is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, create_model

from ..contracts.orchestration.expansion import NEW, pascal
from ..kernel.action import Payload
from ..kernel.step import State

TaskState = Literal[
    "running", "waiting", "done", "skipped", "failed", "cancelled", "undoing", "undone", "undo_failed"
]  # fmt: skip
OPEN = frozenset({"running", "waiting"})
"""What has begun and not ended."""


class TaskProgress(Payload):
    """One task that has begun, or was left out. One that has not begun has no row.

    ``running``: a call was made. ``waiting``: for a signal, a time or a person. ``error`` says why it failed or was left out.
    """

    state: TaskState
    began: AwareDatetime
    ended: AwareDatetime | None = None
    error: str = ""


class PlanProgress(Payload):
    """``next`` is the status that the last step chose; the machine's guards read it. ``runs[task]`` counts how often it was begun
    again.

    ``undo`` are the tasks to undo when the whole fails, in the order of their completion. ``ending`` is '' while it goes on, then
    the status that it will come to once all is undone; ``why`` says what caused that. ``parent`` is the key of the orchestration
    that began this one, and ``reply`` the message that tells it the end; both '' where a client began it.
    """

    next: str = NEW
    tasks: dict[str, TaskProgress] = Field(default_factory=dict)
    paused: bool = False
    runs: dict[str, int] = Field(default_factory=dict)
    undo: tuple[str, ...] = ()
    ending: Literal["", "failed", "cancelled"] = ""
    why: str = ""
    parent: str = ""
    reply: str = ""


class PlanState(State):
    """Base of the states of orchestrations: beside ``plan`` each has ``input``, and a field for the result of each task."""

    plan: PlanProgress = PlanProgress()


class RerunTask(Payload):
    """Payload of ``rerun``: ``task``, and all that waits for it, is done again. What ended before it is kept."""

    task: str


class Decision(Payload):
    """Payload of an approval or a rejection: who decided, and why."""

    by: str = Field(min_length=1)
    note: str = ""


class Ended(Payload):
    """How a child ended; a class of its own for each type of child adds ``result``. ``child`` is its instance id."""

    child: str
    status: Literal["completed", "failed", "cancelled"]
    error: str = ""


class ItemFailure(Payload):
    index: int
    error: str


class Gathered(Payload):
    """What a map has so far; a class of its own for each map adds ``results`` and ``folded``.

    ``begun`` counts the items that were begun, and ``open`` are those of them that have not ended. ``failures`` are the first few.
    """

    count: int
    begun: int = 0
    succeeded: int = 0
    failed: int = 0
    open: tuple[int, ...] = ()
    failures: tuple[ItemFailure, ...] = ()


def ended_class(child: str, result: type[BaseModel] | None) -> type[Ended]:
    return create_model(f"{pascal(child)}Ended", __base__=Ended, **_optional({"result": result}))


def gathered_class(task: str, result: type[BaseModel] | None, folded: type[BaseModel] | None) -> type[Gathered]:
    """``results[index]`` is None for an item that failed, or gave nothing."""
    name = f"{pascal(task)}Gathered"
    made = create_model(name, __base__=Gathered, **_optional({"folded": folded}))
    if result is None:
        return made
    kept: type[Gathered] = create_model(name, __base__=made, results=(tuple[result | None, ...], ()))  # type: ignore[valid-type]  # known now only
    return kept


def state_class(name: str, fields: Mapping[str, type[BaseModel] | None]) -> type[PlanState]:
    """``fields[name]`` is the class of the input or of a task's result; None where a task has none."""
    return create_model(name, __base__=PlanState, **_optional(fields))


def _optional(fields: Mapping[str, type[BaseModel] | None]) -> dict[str, Any]:  # what create_model takes
    return {name: (kind | None, None) for name, kind in fields.items() if kind is not None}
