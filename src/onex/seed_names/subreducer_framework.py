"""SubreducerFramework, a preset over ``engine/registry.py`` and ``kernel/combine.py``: registered reducers, called in memory.

It is for tests and scripts that want a transition without a store. The engine does the same with a store (``engine/fold.py``).
A refused step leaves no trace here either, because a step makes a new value and leaves the old one as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from ..engine.registry import ReducerRegistry, Workflow
from ..kernel.action import Action, WorkflowKey
from ..kernel.combine import Combined
from ..kernel.errors import InvalidStateTransitionError
from ..kernel.intent import Emitted
from ..kernel.machine import Machine
from ..kernel.step import S, State
from ..ports import Stored


class ReducerResult(NamedTuple):
    """One transition: the status before, the trigger, the state after, and the intents."""

    previous: str
    trigger: str
    state: State
    intents: tuple[Emitted, ...]

    @property
    def new(self) -> str:
        return self.state.status


class SubreducerFramework:
    """Delegates to the reducers of a registry."""

    def __init__(self, registry: ReducerRegistry) -> None:
        self.registry = registry

    def delegate(self, workflow_type: str, state: State | None, action: Action[BaseModel]) -> ReducerResult:
        """The transition of ``state`` (None: the initial one). Raises what the reducer refuses with, UnknownWorkflow."""
        reducer = self.registry[workflow_type].reducer
        before: State = reducer.initial() if state is None else state
        if before.status in reducer.terminal:
            raise InvalidStateTransitionError(
                f"{before.status!r} is terminal and accepts nothing", status=before.status
            )
        done = reducer.delta(before, action)
        return ReducerResult(before.status, action.kind, done.state, done.intents)

    def run(
        self, workflow_type: str, state: State | None, actions: Sequence[Action[BaseModel]]
    ) -> tuple[ReducerResult, ...]:
        """Several transitions, all or none: the first refusal raises and the caller still holds the state it came with."""
        taken: list[ReducerResult] = []
        for action in actions:
            taken.append(self.delegate(workflow_type, state, action))
            state = taken[-1].state
        return tuple(taken)

    def accepts(self, workflow_type: str, state: State) -> tuple[str, ...]:
        """The triggers with a transition from here, guards aside. Raises UnknownWorkflow."""
        accepted: tuple[str, ...] = self.registry[workflow_type].reducer.accepts(state)
        return accepted

    def combine(self, workflow_type: str, state_type: type[S], parts: Mapping[str, str]) -> Combined[S]:
        """Several registered reducers as one: ``parts[field] -> workflow type``. Raises UnknownWorkflow, ReducerFailed."""
        reducers: dict[str, Any] = {field: self.registry[name].reducer for field, name in parts.items()}
        return Combined(workflow_type, state_type, reducers)


# Names of the source documents for classes that have another name here.
FSMDefinition = Machine
FSMContext = Action
WorkflowState = State
WorkflowStateData = Stored
WorkflowRoutingData = WorkflowKey
SubreducerInstance = Workflow
