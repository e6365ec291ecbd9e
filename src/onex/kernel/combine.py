"""Combine: several reducers as one (promise 14). Each part owns one field of the state and its own machine.

An action goes to every part that lists its trigger: all accept it, or the whole is refused and nothing changes. A trigger
with a part's name before it (``tables.extracted``) goes to that part alone. So the outcomes and timers of a part return to
it. The parts never see each other's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic

from pydantic import BaseModel

from .action import Action
from .canonical import as_reloaded, problems
from .errors import InvalidStateTransitionError, ReducerFailed
from .intent import CANCELLING, Emitted, IntentSpec, IntentTable
from .machine import initial_state
from .step import ROLLBACK, Done, Reducer, Rollback, S, State

RUNNING = "running"
FINISHED = "finished"


class Combined(Generic[S]):
    """``parts[field] -> reducer``. The whole is terminal when all parts are; then its status is ``finished``."""

    def __init__(self, workflow_type: str, state_type: type[S], parts: Mapping[str, Reducer[Any]]) -> None:
        missing = [name for name in parts if name not in state_type.model_fields]
        if missing or not parts:
            raise ReducerFailed(f"{state_type.__name__} has no field for {', '.join(missing) or 'any part'}")
        self.workflow_type = workflow_type
        self.state_type = state_type
        self.parts = dict(parts)
        self.payloads: dict[str, type[BaseModel]] = {ROLLBACK: Rollback}
        specs: dict[str, IntentSpec] = {}
        for name, part in self.parts.items():
            for trigger, model in part.payloads.items():
                if trigger == ROLLBACK:  # only the whole goes back to an earlier version
                    continue
                if self.payloads.setdefault(trigger, model) is not model:
                    raise ReducerFailed(
                        f"{trigger!r} carries two payloads: {model.__name__} in {name!r}, another elsewhere"
                    )
                self.payloads[f"{name}.{trigger}"] = model
            for spec in part.intents.by_name.values():
                if spec is CANCELLING:
                    continue
                specs[f"{name}.{spec.name}"] = _prefixed(name, spec)
        self.intents = IntentTable(specs)

    def initial(self) -> S:
        """Raises StateConsistencyError when the state's own defaults or validators refuse it."""
        parts = {name: part.initial() for name, part in self.parts.items()}
        return initial_state(self.workflow_type, lambda: self.state_type(status=RUNNING, **parts))

    @property
    def terminal(self) -> frozenset[str]:
        return frozenset({FINISHED})

    def accepts(self, state: S) -> tuple[str, ...]:
        by_part = {name: part.accepts(getattr(state, name)) for name, part in self.parts.items()}
        own = {f"{name}.{trigger}" for name, triggers in by_part.items() for trigger in triggers}
        listed = {trigger for triggers in by_part.values() for trigger in triggers}
        shared = {
            trigger
            for trigger in listed
            if all(trigger in by_part[name] for name, part in self.parts.items() if trigger in part.payloads)
        }
        return tuple(sorted(own | shared))

    def delta(self, state: S, action: Action[BaseModel]) -> Done[S]:
        """Raises InvalidStateTransitionError when no part lists the trigger, else what the first refusing part raises."""
        if action.kind == ROLLBACK and isinstance(action.payload, Rollback):
            try:
                return Done(as_reloaded(action.payload.restored(self.state_type)), ())
            except BaseException as error:
                raise ReducerFailed(
                    f"the state to go back to no longer fits {self.state_type.__name__}: {problems(error)}"
                ) from error
        receivers, kind = self._receivers(action.kind)
        changed: dict[str, State] = {}
        emitted: list[Emitted] = []
        own = action._replace(kind=kind)
        of = action.outcome_of if kind != action.kind else None
        for name in receivers:
            if of is not None:  # the part's own contract calls the intent by its name alone
                own = own._replace(through=of._replace(name=of.name.removeprefix(f"{name}.")).packed())
            done = self.parts[name].delta(getattr(state, name), own)
            changed[name] = done.state
            emitted.extend(self._of_the_whole(name, one) for one in done.intents)
        try:
            after = as_reloaded(state.evolve(**changed))
        except BaseException as error:  # a validator of the whole, which the user writes
            raise ReducerFailed(f"{self.workflow_type}.{action.kind}: {problems(error)}", trigger=kind) from error
        ended = all(getattr(after, name).status in part.terminal for name, part in self.parts.items())
        return Done(after.with_status(FINISHED if ended else RUNNING), tuple(emitted))

    def _of_the_whole(self, part: str, one: Emitted) -> Emitted:
        """The intent under the name that the whole knows. An intent is cancelled by that name too, or by its id."""
        if one.spec is CANCELLING:
            return one._replace(to=f"{part}.{one.to}") if f"{part}.{one.to}" in self.intents.by_name else one
        return one._replace(spec=self.intents.by_name[f"{part}.{one.spec.name}"])

    def _receivers(self, kind: str) -> tuple[list[str], str]:
        name, dot, trigger = kind.partition(".")
        if dot and name in self.parts and trigger in self.parts[name].payloads and trigger != ROLLBACK:
            return [name], trigger
        receivers = [name for name, part in self.parts.items() if kind in part.payloads]
        if not receivers:
            raise InvalidStateTransitionError(
                f"no part of {self.workflow_type} lists {kind!r}; they know {', '.join(sorted(self.payloads))}",
                trigger=kind,
                accepts=sorted(self.payloads),
            )
        return receivers, kind


def _prefixed(part: str, spec: IntentSpec) -> IntentSpec:
    """The intent as the whole knows it: its outcomes and timer return under the part's own triggers."""
    outcomes = {outcome: f"{part}.{trigger}" for outcome, trigger in spec.outcomes.items()}
    fires = f"{part}.{spec.trigger}" if spec.kind == "timer" else spec.trigger
    return replace(spec, name=f"{part}.{spec.name}", outcomes=outcomes, trigger=fires)
