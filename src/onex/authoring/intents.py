"""The intents of a workflow that is written in one file, as objects: handlers name them, and what they fire, without text."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Generic, NamedTuple, ParamSpec, TypeVar, overload
from uuid import UUID

from pydantic import BaseModel, JsonValue

from ..kernel.action import Action, Nothing, WorkflowKey
from ..kernel.intent import EnumOutcome, Failure, IntentDraft, cancel, intent, send, timer
from ..kernel.intent_fields import EnumIntentPriority
from ..kernel.retry import RetryPolicy
from ..kernel.step import S, Step
from ..nodes.io import FunctionShape

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")
Q = ParamSpec("Q")

Handler = Callable[[S, Action[P]], Step[S]]
AnyHandler = Callable[..., object]


class SourcePlace(NamedTuple):
    """Where a call begins. ``path`` is the file as Python names it; line and column count from 1."""

    path: str
    line: int
    column: int

    @classmethod
    def of_caller(cls, depth: int) -> SourcePlace:
        """The call ``depth`` frames above the function that asks."""
        frame = sys._getframe(depth + 1)
        positions = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
        return cls(frame.f_code.co_filename, positions[0] or frame.f_lineno, (positions[2] or 0) + 1)


class Trigger(Generic[P]):
    """Something that may happen to an instance, and the class of its payload. ``@orders.on(charge.failed, ...)`` names one."""

    __slots__ = ("intent", "name")

    def __init__(self, name: str, of: DeclaredIntent | None = None) -> None:
        self.name = name
        self.intent = of

    def __repr__(self) -> str:
        return f"<trigger {self.name}>"


@dataclass(eq=False, slots=True)
class DeclaredIntent:
    """One intent as declared. ``options`` are keys of the contract's row, in its units; those that are None are left out.

    ``outcomes[outcome] -> trigger``. ``is_answered`` says that some handler names an outcome: without one nobody waits.
    ``shape`` is what it takes and gives where a target of the contract serves it, and no ``function``.
    """

    name: str
    kind: str
    place: SourcePlace
    target: str = ""
    trigger: str = ""
    function: AnyHandler | None = None
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    outcomes: Mapping[EnumOutcome, str] = field(default_factory=dict)
    is_answered: bool = False
    shape: FunctionShape | None = None


class _WithOutcomes(Generic[R]):
    """``succeeded``, ``failed`` and ``unknown`` are the triggers that the outcomes of this intent become."""

    def __init__(self, declared: DeclaredIntent) -> None:
        self.declared = declared
        names = declared.outcomes
        self.succeeded: Trigger[R] = Trigger(names[EnumOutcome.SUCCEEDED], declared)
        self.failed: Trigger[Failure] = Trigger(names[EnumOutcome.FAILED], declared)
        self.unknown: Trigger[Failure] = Trigger(names[EnumOutcome.UNKNOWN], declared)

    @property
    def name(self) -> str:
        """As the contract names it."""
        return self.declared.name

    def cancel(self) -> IntentDraft:
        """Cancels what waits or runs under this name. What waits has no outcome, although an earlier try may have been done."""
        return cancel(self.name)


class _Emitted(_WithOutcomes[R]):
    """A handler emits it by its payload: ``Step(order, Charge(cents=5))``; with ``intent`` it says more than the payload."""

    def intent(
        self,
        payload: BaseModel | None = None,
        *,
        priority: EnumIntentPriority | str | None = None,
        not_before: datetime | None = None,
        idempotency_key: str | UUID | int | None = None,
    ) -> IntentDraft:
        """This intent with a priority, a time, or a key of its own."""
        return intent(self.name, payload, priority=priority, not_before=not_before, idempotency_key=idempotency_key)


class CalledIntent(_Emitted[R]):
    """An intent that a target of the contract serves, without a function."""


class ServedIntent(_Emitted[R], Generic[Q, T, R]):
    """An intent, and the function that serves it. Calling it calls the function, as a test may do."""

    def __init__(self, declared: DeclaredIntent, function: Callable[Q, T]) -> None:
        super().__init__(declared)
        self.function = function

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        """What the function returns."""
        return self.function(*args, **kwargs)


class ServeDecorator:
    """Makes a ServedIntent of a function. Its outcome ``succeeded`` carries what the function returns, awaited."""

    def __init__(self, add: Callable[[DeclaredIntent], None], make: Callable[[AnyHandler], DeclaredIntent]) -> None:
        self._add, self._make = add, make

    @overload
    def __call__(self, function: Callable[Q, Awaitable[None]], /) -> ServedIntent[Q, Awaitable[None], Nothing]: ...
    @overload
    def __call__(self, function: Callable[Q, Awaitable[R]], /) -> ServedIntent[Q, Awaitable[R], R]: ...
    @overload
    def __call__(self, function: Callable[Q, None], /) -> ServedIntent[Q, None, Nothing]: ...
    @overload
    def __call__(self, function: Callable[Q, R], /) -> ServedIntent[Q, R, R]: ...
    def __call__(self, function: AnyHandler, /) -> object:
        declared = self._make(function)
        self._add(declared)
        served: ServedIntent[..., object, BaseModel] = ServedIntent(declared, function)
        return served


class PublishedEvent:
    """An event on a topic. A step publishes it by its class, or says more with ``intent``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def intent(
        self,
        payload: BaseModel | None = None,
        *,
        priority: EnumIntentPriority | str | None = None,
        not_before: datetime | None = None,
    ) -> IntentDraft:
        """This event with a priority or a time."""
        return intent(self.name, payload, priority=priority, not_before=not_before)


class SentIntent(_WithOutcomes[R]):
    """A message to an instance of another workflow of the app: ``begin.to("child-1", Begin(...))``."""

    def to(self, instance_id: str | UUID | int | WorkflowKey, payload: BaseModel | None = None) -> IntentDraft:
        """Sends it to that instance, where it is applied once."""
        return send(self.name, instance_id, payload)


class TimerIntent(Generic[S]):
    """A timer, and the handler of what it fires. ``fired`` is that trigger. Calling it calls the handler, as a test may do."""

    def __init__(self, declared: DeclaredIntent, handler: Callable[[S, Action[Nothing]], Step[S]]) -> None:
        self.declared = declared
        self.handler = handler
        self.fired: Trigger[Nothing] = Trigger(declared.trigger)

    def __call__(self, state: S, action: Action[Nothing]) -> Step[S]:
        """What the handler returns."""
        return self.handler(state, action)

    def at(self, moment: datetime) -> IntentDraft:
        """Fires once, at or after ``moment``, which is aware. A timer of this name that waits is replaced."""
        return timer(self.declared.name, moment)

    def cancel(self) -> IntentDraft:
        """Removes the timer if it waits."""
        return cancel(self.declared.name)


class DeclaredTransition(NamedTuple):
    """One edge as declared: ``trigger`` moves each of ``sources`` to ``target``. ``when`` are conditions on the state before,
    ``when_after`` those on the state after the handler. ``timeout``: the trigger fires that long after a source is entered.
    """

    trigger: str
    sources: tuple[str, ...]
    target: str
    when: tuple[str, ...]
    when_after: tuple[str, ...]
    timeout: object  # a timedelta or None; a user may give anything, and it is judged when the contract is derived
    handler: AnyHandler | None
    place: SourcePlace


class Problem(NamedTuple):
    """Something that cannot be said in a contract, found when it was declared."""

    code: str
    place: SourcePlace
    message: str
    fix: str


def outcome_names(name: str, succeeded: str, failed: str, unknown: str) -> dict[EnumOutcome, str]:
    """``charge.succeeded`` and so on, where no other name is given."""
    given = {EnumOutcome.SUCCEEDED: succeeded, EnumOutcome.FAILED: failed, EnumOutcome.UNKNOWN: unknown}
    return {outcome: called or f"{name}.{outcome}" for outcome, called in given.items()}


def milliseconds(span: timedelta) -> int:
    """Whole milliseconds; below 1 the contract refuses it."""
    return span // timedelta(milliseconds=1)


def all_of(*groups: str | tuple[str, ...] | list[str]) -> Iterator[str]:
    """Texts, and texts in lists, in their order."""
    for group in groups:
        if isinstance(group, str):
            if group:
                yield group
        else:
            yield from group


def contract_options(
    retry: int | RetryPolicy | None,
    delivery: str | None,
    priority: str | None,
    timeout: timedelta | None,
    concurrency: int | None,
    on_exit: str | None = None,
    detached: bool = False,
    heartbeat: timedelta | None = None,
) -> dict[str, JsonValue]:
    """Keys of an intent's row in a contract."""
    said: dict[str, JsonValue] = {
        "retry": _retry(retry),
        "delivery": delivery,
        "priority": priority,
        "timeout_ms": milliseconds(timeout) if isinstance(timeout, timedelta) else None,
        "heartbeat_ms": milliseconds(heartbeat) if isinstance(heartbeat, timedelta) else None,
        "concurrency": concurrency,
        "on_exit": on_exit,
        "detached": detached or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _retry(retry: int | RetryPolicy | None) -> dict[str, JsonValue] | None:
    if retry is None:
        return None
    if isinstance(retry, RetryPolicy):
        return {
            "max_attempts": retry.max_attempts,
            "initial_ms": round(retry.initial_s * 1000),
            "max_ms": round(retry.max_s * 1000),
            "factor": retry.factor,
            "jitter": retry.jitter,
        }
    return {"max_attempts": retry}
