"""``@event_handler("DataAvailableEvent")``: a function that is called for each event of a type, as a workflow of its own.

    @event_handler("DataAvailableEvent", topic="lake.data.v1")
    async def index(event: DataAvailableEvent) -> None: ...

It is a short way to write what ``workflow`` and ``event_bus`` say at length, and nothing else. The function becomes an effect, and
each event an instance of a workflow that is called like the function:

    new --(the event came)--> handling --> handled, failed, or in_doubt

So what holds for effects holds for it: it may do I/O, it runs again after a crash or a failure, and has exactly one outcome. An
event that comes twice is handled once. Events have no order among each other: whoever needs one writes
``@NAME.event_handler``, where the key of an event names the instance.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar, cast, get_type_hints

from pydantic import BaseModel

from ..kernel.action import Action, Nothing
from ..kernel.envelope import EACH_ITS_OWN
from ..kernel.intent import ModelIntent, intent
from ..kernel.quota import NO_LIMITS
from ..kernel.retry import RetryPolicy
from ..kernel.step import State, Step
from ..kernel.user_code import caught
from .declaration import WorkflowDeclaration
from .intents import AnyHandler, SourcePlace

E = TypeVar("E", bound=BaseModel)
HANDLE = "handle"


class EventProgress(State):
    """How far the handling of one event is."""

    status: Literal["new", "handling", "handled", "failed", "in_doubt"] = "new"


class EventHandler(WorkflowDeclaration[EventProgress], Generic[E]):
    """The function and its workflow. Calling it calls the function, as a test may do."""

    def __init__(self, function: Callable[[E], Awaitable[None] | None], place: SourcePlace) -> None:
        name = str(getattr(function, "__name__", "handler")).lower()
        super().__init__(
            name,
            EventProgress,
            place,
            version="1.0.0",
            state_schema=1,
            terminal=None,
            limits=NO_LIMITS,
            search=(),
            description=inspect.getdoc(function) or "",
        )
        self.function = function

    def __call__(self, event: E) -> Awaitable[None] | None:
        """What the function returns."""
        return self.function(event)


def event_handler(
    event_type: str,
    /,
    *,
    topic: str = "",
    retry: int | RetryPolicy | None = None,
    timeout: timedelta | None = None,
    concurrency: int | None = None,
) -> Callable[[Callable[[E], Awaitable[None] | None]], EventHandler[E]]:
    """This function, async or not, is called with each event of this type. It may do I/O.

    Left out, the topic is that of the engine's scheme for ``event_type``. ``retry``: attempts (5), or a policy; ``timeout`` (30 s)
    bounds one; ``concurrency`` (10) is how many run at once.
    """
    place = SourcePlace.of_caller(1)

    def make(function: Callable[[E], Awaitable[None] | None]) -> EventHandler[E]:
        made: EventHandler[E] = EventHandler(function, place)
        made._check_function(function, "event_handler", place)
        event = _event_of(function, made, place)
        handle = made.effect(HANDLE, name=HANDLE, retry=retry, timeout=timeout, concurrency=concurrency)(
            _effect(function, event)
        )
        came = made.handles_event(event_type, ("new -> handling",), topic, EACH_ITS_OWN, (), (), place)
        came(_begin(event))
        made.move(handle.succeeded, "handling -> handled")
        made.move(handle.failed, "handling -> failed")
        made.move(handle.unknown, "handling -> in_doubt")
        return made

    return make


def _event_of(function: AnyHandler, made: EventHandler[E], place: SourcePlace) -> type[BaseModel]:
    """The class of the function's one parameter; Nothing after a problem."""
    try:
        hints = get_type_hints(function)
        parameters = list(inspect.signature(function).parameters)
    except Exception as error:
        made._problem(
            "handler", place, f"its annotations cannot be read: {caught(error)}", "import the names at the top"
        )
        return Nothing
    kind = hints.get(parameters[0]) if len(parameters) == 1 else None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    message = f"{made.name} does not take one event of a class"
    made._problem("handler", place, message, "write def NAME(event: DataAvailableEvent) -> None: ...")
    return Nothing


def _effect(function: AnyHandler, event: type[BaseModel]) -> Callable[..., Any]:  # the class is known at run time only
    run: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        async def run_async(intent: ModelIntent[BaseModel]) -> None:
            await cast("Awaitable[None]", function(intent.payload))

        run = run_async
    else:

        def run_sync(intent: ModelIntent[BaseModel]) -> None:
            function(intent.payload)

        run = run_sync
    for name in (
        "__module__",
        "__name__",
        "__qualname__",
        "__doc__",
    ):  # no __wrapped__: its own signature is what counts
        setattr(run, name, getattr(function, name, None))
    run.__annotations__ = {"intent": ModelIntent[event], "return": None}  # type: ignore[valid-type]  # known at run time
    return run


def _begin(event: type[BaseModel]) -> AnyHandler:
    def came(progress: EventProgress, action: Action[BaseModel]) -> Step[EventProgress]:
        return Step(progress, intent(HANDLE, action.payload))

    came.__annotations__ = {
        "progress": EventProgress,
        "action": Action[event],  # type: ignore[valid-type]  # known at run time
        "return": Step[EventProgress],
    }
    return came
