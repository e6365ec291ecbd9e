"""The handlers of an orchestration, by trigger: each tells a ``Turn`` what came, and returns the step that follows."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

from ..contracts.orchestration.expansion import (
    CANCEL,
    DEADLINE,
    PAUSE,
    RERUN,
    RESUME,
    START,
    TASK_DUE,
    TASK_FAILED,
    TASK_SENT,
    TASK_UNKNOWN,
)
from ..kernel.action import Action
from ..kernel.errors import ReducerFailed
from ..kernel.intent import Failure
from ..kernel.machine import Handlers
from ..kernel.step import State, Step
from .compiled_plan import CompiledPlan, CompiledTask
from .progress import Decision, Ended, PlanState, RerunTask
from .turn import Turn

Tell = Callable[[Turn], None]


def handlers_of(plan: CompiledPlan, state_type: type[PlanState]) -> Handlers[State]:
    """One handler for each trigger that the machine of this plan has."""
    table: Handlers[State] = Handlers(state_type)

    def on(trigger: str, tell: Tell) -> None:
        def handle(state: State, action: Action[BaseModel]) -> Step[State]:
            assert isinstance(state, PlanState), "the machine has this state class"
            turn = Turn(plan, state, action)
            tell(turn)
            return turn.finished()

        table.on(trigger)(handle)

    on(START, lambda turn: turn.started(turn.action.payload))
    on(CANCEL, lambda turn: turn.abort("cancelled", "cancelled"))
    on(PAUSE, _paused)
    on(RESUME, _resumed)
    on(RERUN, _rerun)
    on(DEADLINE, lambda turn: turn.abort("failed", "deadline: the whole took too long"))
    on(TASK_FAILED, lambda turn: _failed(turn, maybe_done=False))
    on(TASK_UNKNOWN, lambda turn: _failed(turn, maybe_done=True))
    table.on(TASK_SENT)(_unchanged)
    on(TASK_DUE, lambda turn: turn.due(plan.of_intent(_intent_of(turn))))
    for task in plan.tasks.values():
        if task.begins_child:
            on(f"{task.id}.ended", _child_ended(task))
        elif task.call is not None:
            on(f"{task.id}.succeeded", _done(task))
        elif not task.is_wait and task.id not in plan.signals.values():
            on(f"{task.id}.approve", _done(task))
            on(f"{task.id}.reject", _rejected(task))
        if task.undo is not None:
            on(f"{task.id}.undone", _undone(task))
    for trigger, name in plan.signals.items():
        on(trigger, _done(plan.tasks[name]))
    return table


def _unchanged(state: State, action: Action[BaseModel]) -> Step[State]:
    """A message arrived. The child says more when it has ended."""
    return Step(state)


def _intent_of(turn: Turn) -> str:
    of = turn.action.outcome_of
    if of is None:
        raise ReducerFailed(f"{turn.action.kind!r} is the outcome of no intent; only the engine brings it")
    return of.name


def _done(task: CompiledTask) -> Tell:
    return lambda turn: turn.done(task, turn.action.payload)


def _child_ended(task: CompiledTask) -> Tell:
    def tell(turn: Turn) -> None:
        ended = turn.action.payload
        assert isinstance(ended, Ended), "the contract says so"
        turn.child_ended(task, ended)

    return tell


def _undone(task: CompiledTask) -> Tell:
    return lambda turn: turn.undone(task)


def _rejected(task: CompiledTask) -> Tell:
    def tell(turn: Turn) -> None:
        decision = turn.action.payload
        assert isinstance(decision, Decision), "the contract says so"
        turn.failed(task, f"rejected by {decision.by}" + (f": {decision.note}" if decision.note else ""))

    return tell


def _failed(turn: Turn, *, maybe_done: bool) -> None:
    name = _intent_of(turn)
    task, failure = turn.compiled.of_intent(name), turn.action.payload
    error = f"{failure.code}: {failure.message}" if isinstance(failure, Failure) else "failed"
    if task.undo is not None and name == task.undo.intent:
        turn.undone(task, error)
        return
    if task.begins_child:  # a child could not be told to begin; those that have begun are told to end
        turn.give_up(task)
    turn.failed(task, error, maybe_done=maybe_done)


def _rerun(turn: Turn) -> None:
    wanted = turn.action.payload
    assert isinstance(wanted, RerunTask), "the contract says so"
    turn.rerun(wanted.task)


def _paused(turn: Turn) -> None:
    turn.paused = True


def _resumed(turn: Turn) -> None:
    turn.paused = False
