"""Tests of a reducer as given / when / then, with values only: no engine, no file, no clock.

given(orders, Order(status="basket")).when("place", Place(...)).then(status="charging", intents=[Charge(...)])
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Generic, Self, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel

from ..app.same_class import as_class, equal
from ..kernel.action import EPOCH, NOTHING, Action, OutcomeOf, WorkflowKey, micros
from ..kernel.errors import OnexError, ValidationError
from ..kernel.intent import Emitted, intent_id
from ..kernel.step import Reducer, S

P = TypeVar("P", bound=BaseModel)

TESTED = WorkflowKey("test", "1")
_IDS = UUID("2c8f0a52-5d2e-5b1c-8f3a-6d1d4c7e9b00")


def action(
    kind: str,
    payload: P,
    *,
    key: WorkflowKey | None = None,
    at: datetime = EPOCH,
    number: int = 0,
    outcome_of: OutcomeOf | None = None,
) -> Action[P]:
    """An action for a test, the same in every run: its id follows from ``kind`` and ``number``.

    ``outcome_of`` is the intent that it is the outcome of.
    """
    action_id = uuid5(_IDS, f"{kind}/{number}").bytes
    through = outcome_of.packed() if outcome_of is not None else b""
    return Action(key or TESTED, kind, payload, action_id, micros(at), action_id, through=through)


class Given(Generic[S]):
    """A reducer, the state it is in, and what the last action did."""

    def __init__(self, reducer: Reducer[S], state: S, emitted: tuple[Emitted, ...] = ()) -> None:
        self.reducer, self.state, self.emitted = reducer, state, emitted
        self.refused: OnexError | None = None
        self.version = 0
        self._steps = 0
        self._intents: list[OutcomeOf] = []

    def when(
        self,
        kind: str,
        payload: BaseModel = NOTHING,
        *,
        at: datetime = EPOCH,
        outcome_of: OutcomeOf | str | None = None,
    ) -> Self:
        """Applies one action. A refusal is kept for ``then_refused`` and leaves the state as it was.

        ``payload`` may be of a class that the test imported: it is taken as the app's own class of that name.
        ``outcome_of`` is the intent that it is the outcome of: a name stands for the last intent of that name that a step of
        this test emitted. Its ``version`` counts the steps of this test, from 1.
        """
        of = self._emitted_as(outcome_of) if isinstance(outcome_of, str) else outcome_of
        self._steps += 1
        self.emitted, self.refused = (), None
        model = self.reducer.payloads.get(kind)
        own = payload if model is None else as_class(model, payload) or payload
        one = action(kind, own, at=at, number=self._steps, outcome_of=of)
        try:
            done = self.reducer.delta(self.state, one)
        except OnexError as error:
            self.refused = error
            return self
        self.state, self.emitted = done.state, done.intents
        self.version += 1
        counted: Counter[str] = Counter()
        for name in (emitted.name for emitted in done.intents):
            n = counted[name]
            counted[name] += 1
            self._intents.append(OutcomeOf(intent_id(one.action_id, one.key, name, n), name, n, self.version))
        return self

    def _emitted_as(self, name: str) -> OutcomeOf:
        for of in reversed(self._intents):
            if of.name == name:
                return of
        names = ", ".join(dict.fromkeys(of.name for of in self._intents)) or "none"
        raise AssertionError(f"no step of this test emitted {name!r}; emitted were {names}")

    def then(self, *, intents: list[BaseModel | str] | None = None, **fields: object) -> Self:
        """Checks fields of the new state, and the intents of the last step: each by its payload or by its name.

        A payload, and what stands in a field, may be of a class that the test imported: it is compared with the app's class of
        that name field by field. Raises AssertionError, which says what was found; also for an action that was refused.
        """
        if self.refused is not None:
            raise AssertionError(f"refused: {self.refused}") from self.refused
        for name, wanted in fields.items():
            found = getattr(self.state, name)
            assert equal(found, wanted), f"{name} is {found!r}, not {wanted!r}"
        if intents is not None:
            by_name = [isinstance(one, str) for one in intents] + [False] * len(self.emitted)
            found_intents = [
                one.name if named or one.payload is None else one.payload
                for one, named in zip(self.emitted, by_name, strict=False)
            ]
            assert equal(found_intents, intents), f"emitted {found_intents!r}, not {intents!r}"
        return self

    def then_refused(self, error: type[OnexError]) -> Self:
        """Checks that the last action was refused with this error. Raises AssertionError, which says what came of it."""
        assert isinstance(self.refused, error), f"not refused with {error.__name__} but {self.refused!r}"
        return self


def given(reducer: Reducer[S], state: S | None = None) -> Given[S]:
    """A test of ``reducer`` that starts from ``state``, or from the initial state.

    ``state`` may be of a class that the test imported, with the name of the app's own. Raises ValidationError for another one.
    """
    if state is None:
        return Given(reducer, reducer.initial())
    own = as_class(reducer.state_type, state)
    if own is None:
        expected = reducer.state_type.__qualname__
        raise ValidationError(f"the state is a {type(state).__qualname__}; {reducer.workflow_type} has {expected}")
    return Given(reducer, own)
