"""What the author of a one-file workflow writes: ``orders = workflow("orders", Order)``, and decorators on functions.

Theory of operation. Each call records what was said, with its file, line and column. What cannot be said in a contract is recorded
as a ``Problem``. Nothing is raised and no function is called, so importing such a file runs its module code and nothing else.
``derive.derived`` makes a contract of what is recorded and reports everything that is wrong at once, at these places.

- An *edge* is text: ``"basket | in_doubt -> cancelled"``; ``"*"`` is every status that is not final. Text without an arrow is the
  name of a trigger. Without one the trigger is called like the function.
- Statuses are declared once, as the type of the state's ``status``: ``status: Literal["basket", "paid"] = "basket"``. So a type
  checker finds a wrong status in a handler too.
- ``on`` is called from the top of a stack of decorators to the bottom, before any of them is applied. Transitions are numbered when
  ``on`` is called: so they are tried in the order in which they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Generic, Literal, TypeVar, overload

from pydantic import JsonValue

from ..kernel.action import Action, Nothing
from ..kernel.intent import EnumIntentType
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..kernel.retry import BreakerPolicy, RetryPolicy
from ..kernel.step import S, State, Step
from ..kernel.target_policy import NO_POLICY, TargetPolicy
from ..nodes.effect import POLICY
from .declared_events import DeclaredEvents
from .declared_schedules import DeclaredSchedules
from .declared_targets import DeclaredTargets
from .declared_transitions import Texts, name_of
from .intents import (
    AnyHandler,
    DeclaredIntent,
    Handler,
    P,
    SentIntent,
    ServeDecorator,
    SourcePlace,
    TimerIntent,
    Trigger,
    all_of,
    contract_options,
    outcome_names,
)
from .schema_changes import SchemaChanges

H = TypeVar("H", bound=AnyHandler)
S2 = TypeVar("S2", bound=State)

VersionPolicy = Literal["follow", "pinned"]


class WorkflowDeclaration(DeclaredEvents, DeclaredTargets, DeclaredSchedules, SchemaChanges, Generic[S]):
    """One workflow as declared. Made by ``workflow``."""

    def __init__(
        self,
        name: str,
        state: type[S],
        place: SourcePlace,
        *,
        version: str,
        state_schema: int,
        terminal: tuple[str, ...] | None,
        limits: ResourceLimits,
        search: tuple[str, ...],
        description: str,
        version_policy: VersionPolicy = "follow",
    ) -> None:
        DeclaredEvents.__init__(self)
        SchemaChanges.__init__(self)
        self.name, self.state, self.place = name, state, place
        self.version, self.state_schema, self.terminal, self.description = version, state_schema, terminal, description
        self.intents: list[DeclaredIntent] = []
        self.limits, self.search, self.version_policy = limits, search, version_policy
        given: object = limits
        if not isinstance(given, ResourceLimits):
            self._problem(
                "not_limits", place, f"{given!a} is no ResourceLimits", "write limits=ResourceLimits(actions_per_s=50)"
            )
            self.limits = NO_LIMITS

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    # --- transitions ------------------------------------------------------------------------------------------------

    @overload
    def on(
        self,
        trigger: Trigger[P],
        /,
        *more: Trigger[P] | str,
        when: Texts = (),
        when_after: Texts = (),
        timeout: timedelta | None = None,
        public: bool = False,
        unleased: bool = False,
    ) -> Callable[[Handler[S, P]], Handler[S, P]]: ...
    @overload
    def on(
        self,
        edge: str,
        /,
        *more: str,
        when: Texts = (),
        when_after: Texts = (),
        timeout: timedelta | None = None,
        public: bool = False,
        unleased: bool = False,
    ) -> Callable[[H], H]: ...
    def on(
        self,
        *what: Trigger[P] | str,
        when: Texts = (),
        when_after: Texts = (),
        timeout: timedelta | None = None,
        public: bool = False,
        unleased: bool = False,
    ) -> Callable[[H], H]:
        """This function handles these triggers on these edges; it is returned unchanged.

        ``what`` are triggers (objects such as ``charge.failed``, or their names) and edges (``"basket -> charging"``).
        ``when`` are conditions on the payload and the state before, in CEL or the three-token form. ``when_after`` are those on
        the state that the handler returned. With ``timeout`` the trigger fires by itself, that long after a status on the left
        of the arrow was entered. ``public``: clients may submit it although an outcome or a timer fires it. ``unleased``:
        it needs no lease.
        """
        place = SourcePlace.of_caller(1)
        first = len(self.transitions)
        triggers, edges = self._read(what, place)
        self._reserve(triggers, edges, when, when_after, timeout, place)
        last = len(self.transitions)

        def add(handler: H) -> H:
            self._check_function(handler, "on", place)
            names = triggers or (name_of(handler),)
            self._handled(first, last, names[0], handler)
            self._mark(names, place, public=public, unleased=unleased)
            return handler

        return add

    def move(
        self,
        *what: Trigger[P] | str,
        when: Texts = (),
        timeout: timedelta | None = None,
        public: bool = False,
        unleased: bool = False,
    ) -> None:
        """Transitions that only move: ``orders.move("cancel", "basket | in_doubt -> cancelled")``. Parameters as for ``on``."""
        place = SourcePlace.of_caller(1)
        triggers, edges = self._read(what, place)
        if not triggers:
            self._problem("no_trigger", place, "move names no trigger", 'write move("cancel", "basket -> cancelled")')
            return
        self._reserve(triggers, edges, when, (), timeout, place)
        self._mark(triggers, place, public=public, unleased=unleased)

    # --- intents ----------------------------------------------------------------------------------------------------

    def effect(
        self,
        target: str = "",
        *,
        name: str = "",
        kind: str = EnumIntentType.API_CALL,
        retry: int | RetryPolicy | None = None,
        delivery: str | None = None,
        priority: str | None = None,
        timeout: timedelta | None = None,
        heartbeat: timedelta | None = None,
        concurrency: int | None = None,
        rate_per_s: float | None = None,
        burst: int | None = None,
        circuit_breaker: BreakerPolicy | None = None,
        on_exit: str | None = None,
        detached: bool = False,
        succeeded: str = "",
        failed: str = "",
        unknown: str = "",
    ) -> ServeDecorator:
        """This function performs an intent, and becomes a ``ServedIntent``: ``def charge(intent: ModelIntent[Charge]) -> Charged``.

        Intent and ``target`` are called like it. ``retry``: attempts (5), or a policy. ``timeout`` (30 s) bounds one attempt,
        ``heartbeat`` the time between two of its heartbeats. ``concurrency`` (10) is how many of a target run at once;
        ``rate_per_s``, ``burst`` and ``circuit_breaker`` are its other policies (``TargetPolicy``). ``succeeded``, ``failed``,
        ``unknown`` name the outcomes' triggers, by default ``charge.succeeded`` and so on. When no handler names one of them, the
        intent has no outcomes: nobody waits.
        ``kind`` is its type in the contract; ``delivery`` is at_least_once or at_most_once; ``priority`` is critical, high,
        normal, low or background. ``on_exit="cancel"`` cancels it when its status is left. When the instance ends, what waits is
        cancelled; with ``detached`` it still runs. What waits for a retry and is cancelled has no outcome, though a try may have
        been done.
        """
        place = SourcePlace.of_caller(1)
        self._check_span(timeout, place)
        self._check_span(heartbeat, place)
        options = contract_options(retry, delivery, priority, timeout, concurrency, on_exit, detached, heartbeat)
        policy = self._policy(rate_per_s, burst, circuit_breaker, place)
        given: object = target  # a function, when the decorator is not called
        if not isinstance(given, str):
            self._problem("not_called", place, "effect is used without brackets", "write @NAME.effect()")

        return self._served("effect", kind, target, name, place, options, (succeeded, failed, unknown), policy)

    def compute(
        self,
        *,
        name: str = "",
        retry: int | RetryPolicy | None = None,
        priority: str | None = None,
        timeout: timedelta | None = None,
        concurrency: int | None = None,
        succeeded: str = "",
        failed: str = "",
        unknown: str = "",
    ) -> ServeDecorator:
        """This pure function performs an intent in a worker process: ``def score(task: Text) -> Score``. Else as ``effect``."""
        place = SourcePlace.of_caller(1)
        self._check_span(timeout, place)
        options = contract_options(retry, None, priority, timeout, concurrency)
        kind = EnumIntentType.COMPUTE_TASK
        return self._served("compute", kind, "", name, place, options, (succeeded, failed, unknown))

    def _served(
        self,
        decorator: str,
        kind: str,
        target: str,
        name: str,
        place: SourcePlace,
        options: dict[str, JsonValue],
        triggers: tuple[str, str, str],
        policy: TargetPolicy = NO_POLICY,
    ) -> ServeDecorator:
        """``triggers`` of the outcomes, '' where none is named."""

        def make(function: AnyHandler) -> DeclaredIntent:
            self._check_function(function, decorator, place)
            if policy is not NO_POLICY:
                setattr(function, POLICY, policy)
            called = name or name_of(function)
            outcomes, answered = outcome_names(called, *triggers), any(triggers)
            return DeclaredIntent(
                called, kind, place, target or called, "", function, options, outcomes, is_answered=answered
            )

        return ServeDecorator(self.add_intent, make)

    def timer(
        self, *edges: str, when: Texts = (), when_after: Texts = (), public: bool = False, unleased: bool = False
    ) -> Callable[[Callable[[S, Action[Nothing]], Step[S]]], TimerIntent[S]]:
        """A timer that this function handles, called like it. ``renew.at(moment)`` in a step sets it."""
        place = SourcePlace.of_caller(1)
        first = len(self.transitions)
        _, read = self._read(edges, place)
        self._reserve((), read, when, when_after, None, place)
        last = len(self.transitions)

        def add(handler: Callable[[S, Action[Nothing]], Step[S]]) -> TimerIntent[S]:
            self._check_function(handler, "timer", place)
            name = name_of(handler)
            self._handled(first, last, name, handler)
            self._mark((name,), place, public=public, unleased=unleased)
            declared = DeclaredIntent(name, EnumIntentType.TIMER, place, trigger=name)
            self.add_intent(declared)
            return TimerIntent(declared, handler)

        return add

    def send(
        self,
        to: WorkflowDeclaration[S2] | str,
        trigger: str,
        *,
        name: str = "",
        priority: str | None = None,
        detached: bool = False,
        succeeded: str = "",
        failed: str = "",
        unknown: str = "",
    ) -> SentIntent[Nothing]:
        """A message to instances of another workflow of this app: ``begin = parent.send(child, "begin")``.

        ``to`` is its declaration, or its name where that comes later in the file. The intent is called like the trigger.
        With ``detached`` it is sent though its instance ends before it could be.
        """
        place = SourcePlace.of_caller(1)
        called = name or trigger
        outcomes = outcome_names(called, succeeded, failed, unknown)
        options = contract_options(None, None, priority, None, None, detached=detached)
        target = to if isinstance(to, str) else to.name
        answered = bool(succeeded or failed or unknown)
        kind = EnumIntentType.ACTION_SEND
        declared = DeclaredIntent(called, kind, place, target, trigger, None, options, outcomes, is_answered=answered)
        self.add_intent(declared)
        return SentIntent(declared)

    def add_intent(self, declared: DeclaredIntent) -> None:
        self.intents.append(declared)


def workflow(
    name: str,
    state: type[S],
    *,
    version: str = "1.0.0",
    state_schema: int = 1,
    terminal: Texts | None = None,
    limits: ResourceLimits = NO_LIMITS,
    search: Texts = (),
    description: str = "",
    version_policy: VersionPolicy = "follow",
) -> WorkflowDeclaration[S]:
    """Begin a workflow in one file: ``orders = workflow("orders", Order)``.

    ``name`` is the workflow type. The statuses are those of ``state.status``, a ``Literal``; the first action meets its default.
    ``terminal`` are the final ones: by default those that no edge leaves. ``version`` is the contract's, ``state_schema`` the
    number of the state's shape, which migrations count. ``limits`` are what one instance may take:
    ``ResourceLimits(actions_per_s=50)``. ``search`` names fields of the state that instances are found by:
    ``search="total_cents"``. ``version_policy="pinned"``: an instance keeps the code it began under for life.
    """
    return WorkflowDeclaration(
        name,
        state,
        SourcePlace.of_caller(1),
        version=version,
        state_schema=state_schema,
        terminal=None if terminal is None else tuple(all_of(terminal)),
        limits=limits,
        search=tuple(all_of(search)),
        description=description,
        version_policy=version_policy,
    )
