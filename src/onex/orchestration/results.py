"""What came of an orchestration, read off its state: one result for each task, and figures of the whole.

A task that never began has no result. Times are seconds, from the times of the actions that began and ended a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from ..contracts.model.orchestration import EnumWorkflowCoordination
from ..kernel.action import Payload
from ..kernel.envelope import OnexEnvelopeV1
from .progress import PlanProgress, TaskProgress

COMPLETED = "completed"
_WORDS: Mapping[str, str] = {"done": COMPLETED}


class WorkflowStepResult(Payload):
    """One task. ``status`` is completed, or the task's own word: skipped, failed, cancelled, undone, running, waiting.

    ``previous_state`` and ``new_state`` are those of a step of a machine; of a task both are ''.
    """

    step_id: str
    status: str
    result: JsonValue = None
    error: str = ""
    execution_time: float = 0.0
    previous_state: str = ""
    new_state: str = ""

    @property
    def execution_time_ms(self) -> float:
        return self.execution_time * 1000


class WorkflowResult(Payload):
    """``success_rate``: completed tasks over those that began or were left out; 1.0 for none."""

    workflow_status: str
    step_results: tuple[WorkflowStepResult, ...]
    total_execution_time: float
    success_rate: float
    why: str = ""


class SequentialWorkflowResult(WorkflowResult):
    """One task after the other."""


class ParallelWorkflowResult(WorkflowResult):
    """``parallelism_achieved``: the most tasks that were under way at one moment."""

    parallelism_achieved: int


class WorkflowStepCompletedEvent(Payload):
    """A task of an orchestration has succeeded. The engine publishes one for each, as ``workflow_step_completed``."""

    workflow_id: str
    step_id: str
    correlation_id: UUID

    @classmethod
    def of(cls, envelope: OnexEnvelopeV1) -> WorkflowStepCompletedEvent:
        """From a message of that topic. Raises pydantic.ValidationError for another one."""
        told = envelope.payload
        named = {"workflow_id": told.get("workflow_key"), "step_id": told.get("intent")}
        return cls.model_validate({**named, "correlation_id": envelope.correlation_id})


def result_of(
    state: Mapping[str, JsonValue], mode: EnumWorkflowCoordination
) -> SequentialWorkflowResult | ParallelWorkflowResult:
    """``state`` is the JSON of the state of an orchestration. Raises pydantic.ValidationError for another state."""
    plan = PlanProgress.model_validate(state.get("plan"))
    steps = tuple(_step(name, row, state.get(name)) for name, row in plan.tasks.items())
    completed = sum(step.status == COMPLETED for step in steps)
    rows = [*plan.tasks.values()]
    began = [row.began for row in rows]
    ended = [row.ended or row.began for row in rows]
    whole: dict[str, object] = {
        "workflow_status": state.get("status"),
        "step_results": steps,
        "total_execution_time": (max(ended) - min(began)).total_seconds() if rows else 0.0,
        "success_rate": completed / len(steps) if steps else 1.0,
        "why": plan.why,
    }
    if mode is EnumWorkflowCoordination.SEQUENTIAL:
        return SequentialWorkflowResult.model_validate(whole)
    return ParallelWorkflowResult.model_validate({**whole, "parallelism_achieved": _most_at_once(rows)})


def _step(name: str, row: TaskProgress, result: JsonValue) -> WorkflowStepResult:
    took_s = (row.ended - row.began).total_seconds() if row.ended is not None else 0.0
    status = _WORDS.get(row.state, row.state)
    return WorkflowStepResult(step_id=name, status=status, result=result, error=row.error, execution_time=took_s)


def _most_at_once(rows: Sequence[TaskProgress]) -> int:
    """A task that ends when another begins was not beside it; one that took no time was there alone."""
    spans: list[tuple[datetime, datetime]] = [(row.began, row.ended or row.began) for row in rows]
    return max((sum(began <= at < ended or at == began for began, ended in spans) for at, _ in spans), default=0)
