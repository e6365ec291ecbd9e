"""Budget: a reducer that never returns fails its action, not the engine. The clock is behind a port; the verdict is recorded.

A wall-clock budget is no part of replay: the refused action left no row, so there is nothing to fold again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ..kernel.action import Action
from ..kernel.errors import ReducerFailed
from ..kernel.intent import IntentTable
from ..kernel.step import Done, Reducer, State
from ..kernel.user_trace import trace_text
from ..ports import StepGuard, StepOverrun


class Budgeted:
    """The same reducer, each step under a guard."""

    __slots__ = ("_delta", "_guard", "intents", "payloads", "reducer", "state_type", "terminal", "workflow_type")

    def __init__(self, reducer: Reducer[Any], guard: StepGuard) -> None:
        self.reducer = reducer
        self.workflow_type: str = reducer.workflow_type
        self.state_type: type[Any] = reducer.state_type
        self.payloads: Mapping[str, type[BaseModel]] = reducer.payloads
        self.intents: IntentTable = reducer.intents
        self.terminal: frozenset[str] = reducer.terminal
        self._delta = reducer.delta
        self._guard = guard

    def initial(self) -> State:
        state: State = self.reducer.initial()
        return state

    def accepts(self, state: Any) -> tuple[str, ...]:
        return self.reducer.accepts(state)

    def delta(self, state: Any, action: Action[BaseModel]) -> Done[Any]:
        """Raises ReducerFailed for a step that was ended; else what the reducer raises."""
        guard = self._guard
        try:
            guard.enter()
            try:
                return self._delta(state, action)
            finally:
                guard.leave()
        except StepOverrun as overrun:
            _leave_for_good(
                guard
            )  # while the exception is held: it is raised again when it is let go of within the step
            where = trace_text(overrun)
            del overrun
            failed = ReducerFailed(
                f"{self.workflow_type}.{action.kind} did not end within its step budget and was ended",
                trigger=action.kind,
                overrun=True,
            )
            failed.trace = where
            raise failed from None


def _leave_for_good(guard: StepGuard) -> None:
    """The exception may have come before ``leave`` had begun."""
    while True:
        try:
            return guard.leave()
        except StepOverrun:
            continue
