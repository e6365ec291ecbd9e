"""Step: what one action does to one state. The only computation that is ever replayed.

    delta(state, action) -> (new_state, intents[])

A handler returns a ``Step``: the changed state, in its old status, and drafts of intents. The reducer checks it and makes a
``Done`` of it: the next status from the machine's table, and the intents joined with the contract. ``Done`` is what the
engine encodes and commits. ``Reducer`` is all that the engine knows of a workflow's decisions, and ``fold`` runs one over
many actions, as replay does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json

from .action import Action, Payload
from .intent import Emitted, IntentDraft, IntentTable
from .model_facts import Value

_new = object.__new__
_set = object.__setattr__


class State(Value):
    """Base of states: a frozen value. The engine sets ``status`` from the machine's table; a handler never does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    status: str = ""

    def evolve(self, **changes: object) -> Self:
        """A changed copy, validated. Raises pydantic.ValidationError for an unknown field or a wrong type."""
        changed: Self = self.__pydantic_validator__.validate_python({**self.__dict__, **changes})
        return changed

    def with_status(self, status: str) -> Self:
        """The same value in another status. Only the status, a text, changes, so nothing is validated again."""
        if status == self.status:
            return self
        moved = _new(type(self))
        _set(moved, "__dict__", {**self.__dict__, "status": status})
        fields = self.__pydantic_fields_set__
        _set(moved, "__pydantic_fields_set__", fields if "status" in fields else fields | {"status"})
        _set(moved, "__pydantic_extra__", None)
        _set(moved, "__pydantic_private__", None)
        return moved


S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


class Step(Generic[S_co]):
    """``Step(state)`` or ``Step(state, intent, ...)``. It unpacks: ``state, intents = step``."""

    __slots__ = ("intents", "state")

    def __init__(self, state: S_co, *intents: BaseModel | IntentDraft) -> None:
        self.state = state
        self.intents = intents

    def __iter__(self) -> Iterator[object]:
        return iter((self.state, self.intents))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and (self.state, self.intents) == (other.state, other.intents)

    __hash__ = None  # type: ignore[assignment]  # how Python says unhashable; a state may hold dicts

    def __repr__(self) -> str:
        return f"Step({', '.join(map(repr, (self.state, *self.intents)))})"


class Done(Generic[S_co]):
    """A step joined with its contract: the next status is set, and the intents are joined. The engine encodes and commits it."""

    __slots__ = ("intents", "state")

    def __init__(self, state: S_co, intents: tuple[Emitted, ...]) -> None:
        self.state = state
        self.intents = intents


ROLLBACK = "@rollback"


class Rollback(Payload):
    """Payload of ``@rollback``: an earlier state returns as a new version. History is never removed."""

    to_version: int = Field(ge=1)
    state: dict[str, JsonValue]

    def restored(self, state_type: type[S]) -> S:
        """The state as ``state_type``. Raises pydantic.ValidationError when it does not fit that class any more."""
        return state_type.model_validate_json(to_json(self.state))


class Reducer(Protocol[S]):
    """Everything the engine knows of a workflow's decisions. Pure and total: it answers or raises, and keeps nothing."""

    @property
    def workflow_type(self) -> str: ...

    @property
    def state_type(self) -> type[S]: ...

    @property
    def payloads(self) -> Mapping[str, type[BaseModel]]:
        """``payloads[trigger] -> model`` of every trigger it knows."""

    @property
    def intents(self) -> IntentTable: ...

    def initial(self) -> S:
        """The state before the first action."""

    @property
    def terminal(self) -> frozenset[str]:
        """Statuses that accept nothing more."""

    def accepts(self, state: S) -> tuple[str, ...]:
        """Triggers with a transition from here, guards aside, sorted."""

    def delta(self, state: S, action: Action[BaseModel]) -> Done[S]:
        """Raises IllegalTransition, GuardFailed, ReducerFailed."""


def fold(reducer: Reducer[S], actions: Iterable[Action[BaseModel]], state: S | None = None) -> Done[S]:
    """The state after ``actions`` and every intent on the way, in order. Raises what ``delta`` raises."""
    current = reducer.initial() if state is None else state
    emitted: list[Emitted] = []
    for action in actions:
        done = reducer.delta(current, action)
        current = done.state
        emitted.extend(done.intents)
    return Done(current, tuple(emitted))
