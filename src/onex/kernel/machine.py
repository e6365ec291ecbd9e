"""Machine: the transition table of a contract, and the reducer that is made of it and the user's handlers.

Rule 1: everything that decides a status is in the table.
Rule 2: what a transition *does* is a handler, a function of (state, action). It never chooses the next status.

One step (``MachineReducer.delta``), in this order:

1. ``Machine.next`` finds the next status: the transitions for this status and trigger are tried in their order, and the
   first one whose guards all hold is taken. A guard sees the state before the action. Where one that comes into question has
   guards on the state *after* (``Guard.after``), the handler runs first and ``Machine.decide`` chooses: step 5.
2. The handler of the trigger runs. A trigger without a handler changes nothing but the status.
3. Its result is checked: a Step, of the right state class, with the old status. A changed state goes through
   ``canonical.as_reloaded``.
4. Its intents are joined with the contract (``intent.IntentTable``).
5. A choice that waited is made on the state of step 3. No transition left: GuardFailed, and nothing of the step is kept.
6. On a change of status the old status's timer is cancelled and the new one's is set, then the new status is put in.

Guards and handlers are code of the user, so each is called in one place that catches everything (``user_code.caught``).
Whatever they do wrong becomes GuardFailed or ReducerFailed of this one action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

from .action import Action
from .canonical import as_reloaded, problems
from .errors import GuardFailed, InvalidStateTransitionError, OnexError, ReducerFailed, StateConsistencyError
from .intent import CANCELLING, Emitted, EnumIntentType, IntentSpec, IntentTable
from .intent_fields import EnumIntentPriority
from .model_facts import facts_of
from .step import ROLLBACK, Done, Rollback, S, State, Step
from .user_code import a_type, caught, plain_text, shown

P = TypeVar("P", bound=BaseModel)
Handler = Callable[[S, Action[P]], Step[S]]

_NOWHERE: Mapping[str, tuple[Transition, ...]] = {}


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition: its text in the contract, and the pure function that was compiled from it.

    ``after``: it sees the state that the handler returned, still in the old status.
    """

    text: str
    holds: Callable[[BaseModel, BaseModel], bool] = field(compare=False)
    after: bool = False

    def __str__(self) -> str:
        """As pictures and findings name it: ``state.open == 0``, ``after: state.open == 0``."""
        return f"after: {self.text}" if self.after else self.text


@dataclass(frozen=True, slots=True)
class Transition:
    """``from_state`` may be ``"*"``. Transitions for a status are tried before those for ``"*"``, then by higher priority."""

    from_state: str
    to_state: str
    trigger: str
    guards: tuple[Guard, ...] = ()
    priority: int = 0
    before: tuple[Guard, ...] = field(init=False, repr=False, compare=False)
    after: tuple[Guard, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """``guards`` in two parts: on the state before the handler, and on the state after it."""
        object.__setattr__(self, "before", tuple(guard for guard in self.guards if not guard.after))
        object.__setattr__(self, "after", tuple(guard for guard in self.guards if guard.after))


@dataclass(frozen=True, slots=True)
class Timeout:
    """The timer of a status: set on entering it, cancelled on leaving it, fires ``trigger``."""

    after_us: int
    trigger: str


def state_timer(status: str) -> str:
    """The name of the timer that a status with ``timeout_ms`` has. Names with ``@`` are reserved for the engine."""
    return f"@{status}"


class Machine:
    """``table[status][trigger] -> transitions, in the order they are tried``. A terminal status has an empty row."""

    __slots__ = ("_reachable", "initial", "table", "terminal", "timeouts", "transitions")

    def __init__(
        self,
        initial: str,
        transitions: tuple[Transition, ...],
        terminal: frozenset[str] = frozenset(),
        timeouts: Mapping[str, Timeout] | None = None,
        states: tuple[str, ...] = (),
    ) -> None:
        """``states`` may name statuses that no transition has."""
        self.initial = initial
        self.transitions = transitions
        self.terminal = terminal
        self.timeouts = dict(timeouts or {})
        # dict.fromkeys keeps the contract's order, which diagrams and messages follow
        touched = (s for t in transitions for s in (t.from_state, t.to_state) if s != "*")
        statuses = dict.fromkeys([initial, *touched, *sorted(terminal), *states])
        table: dict[str, dict[str, tuple[Transition, ...]]] = {}
        for status in statuses:
            row: dict[str, list[Transition]] = {}
            for transition in transitions:
                if status not in terminal and transition.from_state in (status, "*"):
                    row.setdefault(transition.trigger, []).append(transition)
            table[status] = {
                trigger: tuple(sorted(fitting, key=lambda t: (t.from_state == "*", -t.priority)))
                for trigger, fitting in row.items()
            }
        self.table: Mapping[str, Mapping[str, tuple[Transition, ...]]] = table
        self._reachable: dict[str, frozenset[str]] = {}

    @property
    def statuses(self) -> tuple[str, ...]:
        return tuple(self.table)

    def accepts(self, status: str) -> tuple[str, ...]:
        """The triggers that have a transition from ``status``; guards are not asked. Sorted."""
        return tuple(sorted(self.table.get(status, ())))

    def unguarded(self) -> Mapping[str, Mapping[str, str | None]]:
        """``[status][trigger] -> next status``; None where ``next`` has a guard to ask, or the trigger is ``@rollback``."""
        return {
            status: {on: None if on == ROLLBACK or one[0].guards else one[0].to_state for on, one in row.items()}
            for status, row in self.table.items()
        }

    def reachable(self, status: str) -> frozenset[str]:
        """The statuses that one action or more may lead to from ``status``; guards are not asked."""
        found = self._reachable.get(status)
        if found is None:
            seen: set[str] = set()
            ahead = [status]
            while ahead:
                for tried in self.table.get(ahead.pop(), _NOWHERE).values():
                    new = {one.to_state for one in can_be_taken(tried)} - seen
                    seen |= new
                    ahead += new
            found = self._reachable[status] = frozenset(seen)
        return found

    def next(self, status: str, trigger: str, state: BaseModel, payload: BaseModel) -> str | tuple[Transition, ...]:
        """The next status, or the transitions among which ``decide`` chooses on the state after.

        Raises InvalidStateTransitionError, GuardFailed.
        """
        fitting = self.table.get(status, _NOWHERE).get(trigger, ())
        if not fitting:
            accepts = self.accepts(status)
            raise InvalidStateTransitionError(
                f"{trigger!r} is not accepted in {status!r}; it accepts {', '.join(accepts) or 'nothing'}",
                status=status,
                trigger=trigger,
                accepts=list(accepts),
            )
        if not fitting[0].guards:  # the common case: no guard to call
            return fitting[0].to_state
        refused: list[str] = []
        waiting: list[Transition] = []
        for transition in fitting:
            failed = first_failed(transition.before, state, payload)
            if failed is not None:
                refused.append(failed)
            elif transition.after:
                waiting.append(transition)
            elif not waiting:
                return transition.to_state
            else:
                waiting.append(transition)
                break  # it needs nothing more, so none behind it is tried
        if waiting:
            return tuple(waiting)
        raise _refusal(status, trigger, refused)

    def decide(self, status: str, waiting: tuple[Transition, ...], state: BaseModel, payload: BaseModel) -> str:
        """The next status of those that ``next`` left: the first whose guards hold on ``state``, the one after the handler.

        Raises GuardFailed.
        """
        refused: list[str] = []
        for transition in waiting:
            failed = first_failed(transition.after, state, payload)
            if failed is None:
                return transition.to_state
            refused.append(f"{failed} after its handler")
        error = _refusal(status, waiting[0].trigger, refused)
        error.handler_ran = True
        raise error


def _refusal(status: str, trigger: str, refused: list[str]) -> GuardFailed:
    message = f"{trigger!r} is refused in {status!r}: {'; '.join(dict.fromkeys(refused))}"
    return GuardFailed(message, status=status, trigger=trigger, conditions=refused)


def can_be_taken(tried: Sequence[Transition]) -> Sequence[Transition]:
    """Of the transitions for one status and trigger, in the order they are tried: all up to the first one without guards."""
    last = next((n for n, transition in enumerate(tried) if not transition.guards), len(tried))
    return tried[: last + 1]


def first_failed(guards: tuple[Guard, ...], state: BaseModel, payload: BaseModel) -> str | None:
    """What is wrong with the first condition that does not hold; None: all hold."""
    for guard in guards:
        try:
            if not guard.holds(state, payload):
                return f"condition {guard.text!r} is false"
        except BaseException as error:
            return f"condition {guard.text!r} raised {caught(error)}"
    return None


class Handlers(Generic[S]):
    """Handlers by trigger, filled by ``@table.on("trigger")``. The loader joins them with a contract."""

    def __init__(self, state_type: type[S]) -> None:
        self.state_type = state_type
        self.by_trigger: dict[str, Handler[S, BaseModel]] = {}

    def on(self, *triggers: str) -> Callable[[Handler[S, P]], Handler[S, P]]:
        """Give these triggers a handler. A trigger without one changes the status and nothing else.

        Raises ReducerFailed when a trigger has one already.
        """

        def add(handler: Handler[S, P]) -> Handler[S, P]:
            for trigger in triggers:
                if trigger in self.by_trigger:
                    raise ReducerFailed(f"two handlers for {trigger!r}: keep one")
                self.by_trigger[trigger] = handler  # type: ignore[assignment]  # the loader checks P against the contract
            return handler

        return add


def reducer(state_type: type[S]) -> Handlers[S]:
    """Start a reducer over ``state_type``: ``orders = reducer(Order)``."""
    return Handlers(state_type)


class MachineReducer(Generic[S]):
    """A reducer that takes statuses from a Machine and changes from handlers, by trigger."""

    __slots__ = (
        "_handlers", "_leads_to", "_on_exit", "_plain", "intents", "machine", "payloads", "state_type", "workflow_type"
    )  # fmt: skip

    def __init__(
        self,
        workflow_type: str,
        handlers: Handlers[S],
        machine: Machine,
        payloads: Mapping[str, type[BaseModel]],
        intents: Mapping[str, IntentSpec],
    ) -> None:
        self.workflow_type = workflow_type
        self.state_type = handlers.state_type
        self.machine = machine
        self.payloads: Mapping[str, type[BaseModel]] = {**payloads, ROLLBACK: Rollback}
        own = {
            state_timer(status): IntentSpec(state_timer(status), EnumIntentType.TIMER, trigger=timeout.trigger)
            for status, timeout in machine.timeouts.items()
        }
        self.intents = IntentTable({**intents, **own})
        self._handlers = handlers.by_trigger
        self._leads_to = machine.unguarded()
        self._plain = False
        self._on_exit = tuple(
            Emitted(CANCELLING, None, CANCELLING.priority, to=spec.name, cancelled=True)
            for spec in self.intents.by_name.values()
            if spec.cancel_on_exit
        )

    def initial(self) -> S:
        """The state before the first action. Raises StateConsistencyError when its class cannot be made with its defaults."""
        return initial_state(self.workflow_type, lambda: self.state_type(status=self.machine.initial))

    @property
    def terminal(self) -> frozenset[str]:
        return self.machine.terminal

    def accepts(self, state: S) -> tuple[str, ...]:
        return self.machine.accepts(state.status)

    def delta(self, state: S, action: Action[BaseModel]) -> Done[S]:
        """Raises InvalidStateTransitionError, GuardFailed; ReducerFailed for anything the handler did wrong."""
        before = state.status
        kind = action.kind
        after: str | tuple[Transition, ...] | None
        try:
            after = self._leads_to[before][kind]
        except KeyError:  # a status or a trigger that the table does not have
            after = None
        if after is None:
            if kind == ROLLBACK:
                return self._rolled_back(before, action)
            after = self.machine.next(before, kind, state, action.payload)
        handler = self._handlers.get(kind)
        emitted: tuple[Emitted, ...] = ()
        if handler is not None:
            try:
                step = handler(state, action)
                changed = step.state if type(step) is Step else None
                if type(changed) is not self.state_type or changed.status != before:
                    raise _unfit(step, self.state_type)
                if changed is not state:
                    if not self._plain or type(changed.__pydantic_fields_set__) is not set:
                        changed = self._settled(changed)
                    state = changed
                if step.intents:
                    emitted = self.intents.join_all(step.intents)
            except BaseException as error:
                reason = failure_text(error)
                raise ReducerFailed(
                    f"{self.workflow_type}.{kind} failed on {before!r}: {reason}", trigger=kind
                ) from error
        if after != before:
            if not isinstance(after, str):
                after = self.machine.decide(before, after, state, action.payload)
            if after != before:
                if self._on_exit:  # before what this step emits, which belongs to the new status
                    emitted = self._on_exit + emitted
                if self.machine.timeouts:
                    emitted += self._state_timers(before, after, action)
            state = state.with_status(after)
        return Done(state, emitted)

    def _settled(self, state: S) -> S:
        """As it will be read back. Remembers whether a state of this class needs no look at its values."""
        settled = as_reloaded(state)
        self._plain = facts_of(self.state_type).check is None
        return settled

    def _rolled_back(self, before: str, action: Action[BaseModel]) -> Done[S]:
        if not isinstance(action.payload, Rollback):
            raise ReducerFailed(f"the payload of {ROLLBACK} is Rollback, not {type(action.payload).__name__}")
        try:
            state = as_reloaded(action.payload.restored(self.state_type))
        except BaseException as error:
            raise ReducerFailed(
                f"the state to go back to no longer fits {self.state_type.__name__}: {problems(error)}"
            ) from error
        if state.status not in self.machine.table:
            raise ReducerFailed(f"the state to go back to is in {state.status!r}, which the machine no longer has")
        left = state.status != before
        return Done(state, self._on_exit + self._state_timers(before, state.status, action) if left else ())

    def _state_timers(self, before: str, after: str, action: Action[BaseModel]) -> tuple[Emitted, ...]:
        timers, by_name = list[Emitted](), self.intents.by_name
        if before in self.machine.timeouts:
            timers.append(Emitted(by_name[state_timer(before)], None, EnumIntentPriority.NORMAL, cancelled=True))
        if (timeout := self.machine.timeouts.get(after)) is not None:
            due_us = action.issued_us + timeout.after_us
            timers.append(Emitted(by_name[state_timer(after)], None, EnumIntentPriority.NORMAL, due_us))
        return tuple(timers)


def failure_text(error: BaseException) -> str:
    """The text for what a handler, or the join of its intents, raised: of an error of ONEX its message alone."""
    reason = problems(error)
    if issubclass(type(error), OnexError) and type(message := getattr(error, "message", None)) is str:
        return plain_text(message)
    return reason


def initial_state(workflow_type: str, make: Callable[[], S]) -> S:
    """The state that ``make`` returns, checked. Raises StateConsistencyError for anything that ``make`` raises."""
    try:
        return as_reloaded(make())
    except BaseException as error:
        raise StateConsistencyError(f"{workflow_type} has no state to begin with: {problems(error)}") from error


def _unfit(step: object, state_type: type[State]) -> ReducerFailed:
    """What is wrong with the result of a handler that is not a Step with a state of this class in its old status."""
    if type(step) is not Step:
        return ReducerFailed(f"the handler returned {_returned(step)}; return Step(state, *intents)")
    after = step.state
    if type(after) is not state_type:
        return ReducerFailed(f"the handler returned {_returned(after)}; this reducer's state is {state_type.__name__}")
    return ReducerFailed(
        f"the handler set status {shown(after.status)}; the next status comes from the transition table"
    )


def _returned(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else a_type(value)
