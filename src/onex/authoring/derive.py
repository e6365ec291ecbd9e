"""The contract of a one-file workflow: the same located tree that the reader of YAML makes, with places in the Python file.

Theory of operation. ``derived`` is called once per workflow, after the module was imported. It reads annotations and calls no
function of the user's. In this order:

1. Statuses are the values of the ``Literal`` that types ``state.status``. The initial one is its default.
2. Each trigger gets one payload class. An outcome ``succeeded`` carries what its effect returns, ``failed`` and ``unknown`` carry
   ``Failure``. A timer carries nothing. Any other trigger carries what its handlers are annotated with, ``Action[Place]``.
3. Handlers are joined by trigger. One trigger may have several handlers, one for each status it comes from; then ``_by_status``
   picks.
4. The rows of the contract are written as a tree. Each row has the place of the call that declared it. So every check that was
   made for YAML finds its place in Python: ``contracts.load.load_tree`` and all that follows do not know the difference.

What cannot be put into a contract becomes a finding here: two handlers for one edge, a missing annotation, two classes of one name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, JsonValue

from ..contracts.compile import PythonPlace, signature_problems
from ..contracts.guard.problem import suggest
from ..contracts.text.yaml_tree import YamlMap, YamlNode
from ..kernel.action import Action, Nothing
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.intent import EnumIntentType, EnumOutcome, Failure
from ..kernel.machine import Handlers
from ..kernel.step import State, Step
from ..kernel.user_code import caught
from ..nodes.compute import ComputeIO
from ..nodes.effect import EffectIO
from ..nodes.io import Function, FunctionShape, compute_shape, effect_shape
from .declaration import WorkflowDeclaration
from .declared_transitions import by_trigger
from .intents import AnyHandler, DeclaredIntent, DeclaredTransition, SourcePlace, milliseconds
from .located_nodes import LocatedNodes, Show

ANY = "*"
_S = TypeVar("_S", bound=State)
Declaration = WorkflowDeclaration[State]


@dataclass(frozen=True, slots=True)
class DerivedWorkflow:
    """``classes[name]`` are those that the contract names; ``path`` is the file, as shown, that declares the workflow.

    ``tree`` is None where the statuses are not known; a finding says why.
    ``effects[target]`` and ``computes[name]`` are the functions that serve its intents.
    """

    name: str
    tree: YamlMap | None
    path: str
    classes: Mapping[str, type[BaseModel]]
    handlers: Handlers[State]
    effects: Mapping[str, Function]
    computes: Mapping[str, Function]
    findings: tuple[Finding, ...]


def derived(declaration: Declaration, others: Mapping[str, Declaration], show: Show) -> DerivedWorkflow:
    """``others[name]`` are all workflows of the app, whose triggers a message may name."""
    nodes = LocatedNodes(declaration.place.path, show)
    return _Derivation(declaration, others, show, nodes).run()


@dataclass
class _Derivation:
    declaration: Declaration
    others: Mapping[str, Declaration]
    show: Show
    nodes: LocatedNodes
    findings: list[Finding] = field(default_factory=list)
    classes: dict[str, type[BaseModel]] = field(default_factory=dict)

    def run(self) -> DerivedWorkflow:
        said = self.declaration
        for problem in said.problems:
            self._error(problem.code, problem.place, problem.message, problem.fix)
        statuses = self._statuses()
        shapes = self._shapes()
        payloads = self._payloads(said, shapes)
        handlers = Handlers(said.state)
        for trigger, group in by_trigger(said.transitions).items():
            made = self._handler(trigger, group, payloads.get(trigger))
            if made is not None:
                handlers.by_trigger[trigger] = made
        tree = self._tree(statuses, payloads, shapes) if statuses else None
        served = {one.target: one.function for one in said.intents if one.function and not _is_compute(one)}
        computed = {one.target: one.function for one in said.intents if one.function and _is_compute(one)}
        path = self.show(said.place.path)
        return DerivedWorkflow(
            said.name, tree, path, self.classes, handlers, served, computed, tuple(dict.fromkeys(self.findings))
        )

    # --- statuses ---------------------------------------------------------------------------------------------------

    def _statuses(self) -> tuple[str, ...]:
        """In the order of the type. Empty after a finding."""
        said = self.declaration
        state: object = said.state  # whatever the user gave
        if not isinstance(state, type) or not issubclass(state, State):
            fix = "name a class that derives from State"
            self._error("not_a_state", said.place, f"workflow {said.name!r} has no state class", fix)
            return ()
        kind = said.state.model_fields["status"].annotation
        words = get_args(kind) if get_origin(kind) is Literal else ()
        if not words or not all(isinstance(word, str) for word in words):
            name = said.state.__name__
            message = f"{name} does not declare its statuses"
            fix = f'write in {name}: status: Literal["new", "done"] = "new"'
            self._error("no_statuses", said.place, message, fix)
            return ()
        return tuple(map(str, words))

    def _initial(self, statuses: Sequence[str]) -> str:
        """The default of ``status``. A status without one is found when the state is compiled."""
        default: object = self.declaration.state.model_fields["status"].get_default()
        if isinstance(default, str) and default not in statuses:
            message = f"the first status is {default!r}, which is not one of {', '.join(statuses)}"
            self._error(
                "unknown_state", self.declaration.place, message, suggest(default, list(statuses)) or "name one"
            )
        return default if isinstance(default, str) and default in statuses else statuses[0]

    def _terminal(self, statuses: Sequence[str]) -> list[str]:
        said = self.declaration
        if said.terminal is not None:
            return list(said.terminal)
        sources = {source for one in said.transitions for source in one.sources}
        if ANY in sources:
            place = next(one.place for one in said.transitions if ANY in one.sources)
            message = 'an edge begins at "*", so it is not known which statuses are final'
            self._error("no_terminal", place, message, f'write workflow("{said.name}", ..., terminal=["done"])')
        return [status for status in statuses if status not in sources and status != self._initial(statuses)]

    # --- payloads ---------------------------------------------------------------------------------------------------

    def _shapes(self) -> dict[str, FunctionShape]:
        """By name of the intent: what its function takes and returns."""
        shapes: dict[str, FunctionShape] = {}
        seen: dict[str, DeclaredIntent] = {}
        for one in self.declaration.intents:
            if one.shape is not None:
                shapes[one.name] = one.shape
            if (before := seen.setdefault(one.name, one)) is not one:
                message = f"two intents are called {one.name!r}; the other is on line {before.place.line}"
                self._error("duplicate", one.place, message, 'give one of them name="..."')
            if one.function is None or not inspect.isfunction(one.function):
                continue
            try:
                shape = (compute_shape if _is_compute(one) else effect_shape)(
                    one.function, ComputeIO if _is_compute(one) else EffectIO
                )
            except ContractError as error:
                found = [finding for finding in error.findings if isinstance(finding, Finding)]
                self.findings += [finding._replace(path=self.show(finding.path)) for finding in found]
                continue
            shapes[one.name] = shape
        return shapes

    def _payloads(self, said: Declaration, shapes: Mapping[str, FunctionShape]) -> dict[str, type[BaseModel]]:
        """The class of each trigger's payload."""
        payloads: dict[str, type[BaseModel]] = {}
        for one in said.intents:
            if one.kind == EnumIntentType.TIMER:
                payloads[one.trigger] = Nothing
            if one.is_answered:
                shape = shapes.get(one.name)
                payloads[one.outcomes[EnumOutcome.SUCCEEDED]] = shape.result if shape else Nothing
                payloads[one.outcomes[EnumOutcome.FAILED]] = Failure
                payloads[one.outcomes[EnumOutcome.UNKNOWN]] = Failure
        annotated: dict[str, AnyHandler] = {}
        for transition in said.transitions:
            handler, trigger = transition.handler, transition.trigger
            if not inspect.isfunction(handler) or trigger in payloads:
                continue
            payload = self._carried(handler, transition.place)
            if payload is None:
                continue
            if trigger not in annotated:
                annotated[trigger] = handler
                payloads[trigger] = payload
        for trigger in dict.fromkeys(one.trigger for one in said.transitions):
            payloads.setdefault(trigger, Nothing)
        return payloads

    def _carried(self, handler: AnyHandler, place: SourcePlace) -> type[BaseModel] | None:
        """``P`` of a handler's ``Action[P]``; None after a finding."""
        name = getattr(handler, "__name__", repr(handler))
        fix = "annotate the action with the class of its payload, Action[...], or Action[Nothing] where there is none"
        try:
            hints = get_type_hints(handler)
            parameters = list(inspect.signature(handler).parameters)
        except Exception as error:
            message = f"the annotations of {name} cannot be read: {caught(error)}"
            self._error("handler", place, message, "import the names at the top of the file")
            return None
        if len(parameters) < 2:
            return None  # its signature is a finding of its own
        hint = hints.get(parameters[1])
        arguments = get_args(hint)
        if get_origin(hint) is Action and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel):
            return Nothing if arguments[0] is BaseModel else arguments[0]
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            fix = f"annotate it Action[{hint.__name__}]"
        self._error("handler", place, f"{name} does not say which payload its action carries", fix)
        return None

    # --- handlers ---------------------------------------------------------------------------------------------------

    def _handler(
        self, trigger: str, group: Sequence[DeclaredTransition], payload: type[BaseModel] | None
    ) -> Callable[..., Step[State]] | None:
        """The one function for a trigger; None where it only moves."""
        state = self.declaration.state
        at: dict[str, tuple[AnyHandler | None, SourcePlace]] = {}
        for one in group:
            for source in one.sources:
                before = at.setdefault(source, (one.handler, one.place))
                if before[0] is not one.handler:
                    message = f"two handlers for {trigger!r} from {source!r}; the other is on line {before[1].line}"
                    self._error("two_handlers", one.place, message, "keep one of them, or handle both in one function")
        functions = list(dict.fromkeys(one.handler for one in group if inspect.isfunction(one.handler)))
        for one in group:
            if one.handler is not None and functions and one.handler in functions[1:]:
                # compile judges the first one
                for message, fix in signature_problems(one.handler, trigger, state, payload):
                    self._error("handler", one.place, message, fix)
        if not functions:
            return None
        handlers = {source: cast("Callable[..., Step[State]] | None", handler) for source, (handler, _) in at.items()}
        if len(set(handlers.values())) == 1:
            return cast("Callable[..., Step[State]]", functions[0])
        return _by_status(handlers, cast("Callable[..., Step[State]]", functions[0]))

    # --- the tree ---------------------------------------------------------------------------------------------------

    def _tree(
        self,
        statuses: Sequence[str],
        payloads: Mapping[str, type[BaseModel]],
        shapes: Mapping[str, FunctionShape],
    ) -> YamlMap:
        said = self.declaration
        top = said.place
        transitions = list(self._transitions(payloads))
        machine = {
            "initial_state": self.nodes.of(self._initial(statuses), top),
            "terminal_states": self.nodes.of(list(self._terminal(statuses)), top),
            "states": self.nodes.listing(list(self._states(statuses)), top),
            "transitions": self.nodes.listing(transitions, top),
        }
        parts: dict[str, YamlNode] = {
            "name": self.nodes.of(said.name, top),
            "contract_version": self.nodes.of(_version(said.version), top),
            "node_type": self.nodes.of("REDUCER_GENERIC", top),
            "description": self.nodes.of(said.description, top),
            "state_model": self.nodes.of(self._named(said.state, top), top),
            "state_schema": self.nodes.of(said.state_schema, top),
            "unleased": self._words(said.unleased),
            "public": self._words(said.public),
            "search": self.nodes.of([*said.search], top),
            "resource_limits": self.nodes.of({**said.limits.given}, top),
            "version_policy": self.nodes.of(said.version_policy, top),
            "state_machine": self.nodes.mapping(machine, top),
            "targets": said.target_nodes(self.nodes, top),
            "intents": self.nodes.listing([self._intent(one, shapes) for one in said.intents], top),
            "event_bus": said.event_nodes(self.nodes, self._named, top),
            "start": said.start_node(self.nodes, top),
            "schedules": said.schedule_nodes(self.nodes, top),
        }
        for key, default in (("description", ""), ("state_schema", 1), ("version_policy", "follow")):
            if getattr(said, key) == default:
                del parts[key]
        for key, empty in (
            ("unleased", said.unleased), ("public", said.public), ("search", said.search), ("intents", said.intents),
            ("resource_limits", said.limits.given), ("targets", said.targets), ("event_bus", said.has_events),
            ("start", said.start), ("schedules", said.schedules),
        ):  # fmt: skip
            if not empty:
                del parts[key]
        return self.nodes.mapping(parts, top)

    def _transitions(self, payloads: Mapping[str, type[BaseModel]]) -> Iterator[YamlNode]:
        named: set[str] = set()
        for one in self.declaration.transitions:
            payload = payloads.get(one.trigger, Nothing)
            for source in one.sources:
                row: dict[str, JsonValue] = {
                    "from_state": source, "to_state": one.target, "trigger": one.trigger
                }  # fmt: skip
                if payload is not Nothing and one.trigger not in named:
                    row["payload"] = self._named(payload, one.place)
                named.add(one.trigger)
                conditions: list[JsonValue] = [{"expression": text} for text in one.when]
                conditions += [{"expression": text, "after": True} for text in one.when_after]
                if conditions:
                    row["conditions"] = conditions
                yield self.nodes.of(row, one.place)

    def _states(self, statuses: Sequence[str]) -> Iterator[YamlNode]:
        timed: dict[str, DeclaredTransition] = {}
        for one in self.declaration.transitions:
            if one.timeout is None:
                continue
            if not isinstance(one.timeout, timedelta):
                message = f"{one.timeout!r} is no span of time"
                self._error("state_timeout", one.place, message, "write timeout=timedelta(days=3)")
                continue
            for source in one.sources:
                before = timed.setdefault(source, one)
                if (before.trigger, before.timeout) != (one.trigger, one.timeout):
                    message = f"{source!r} has another timeout on line {before.place.line}; a status has one"
                    self._error("state_timeout", one.place, message, "use a timer for the second one")
                if source not in statuses:
                    fix = suggest(source, list(statuses)) or "name a status"
                    self._error("state_timeout", one.place, f"{source!r} has no timeout of its own", fix)
        for status in statuses:
            row: dict[str, JsonValue] = {"name": status}
            one_timed = timed.get(status)
            if one_timed is not None and isinstance(one_timed.timeout, timedelta):
                row |= {"timeout_ms": milliseconds(one_timed.timeout), "on_timeout": one_timed.trigger}
            yield self.nodes.of(row, one_timed.place if one_timed else self.declaration.place)

    def _intent(self, one: DeclaredIntent, shapes: Mapping[str, FunctionShape]) -> YamlNode:
        row: dict[str, JsonValue] = {"name": one.name, "type": one.kind}
        if one.kind != EnumIntentType.TIMER:
            row["target"] = one.target
        if one.trigger:
            row["trigger"] = one.trigger
        payload = self._sent(one) if one.kind == EnumIntentType.ACTION_SEND else None
        if (shape := shapes.get(one.name)) is not None:
            payload = shape.payload
        if payload is not None and payload is not Nothing:
            row["payload"] = self._named(payload, one.place)
        if one.is_answered:
            row["outcomes"] = {str(outcome): trigger for outcome, trigger in one.outcomes.items()}
        return self.nodes.of(row | dict(one.options), one.place)

    def _sent(self, one: DeclaredIntent) -> type[BaseModel] | None:
        """What the receiver's trigger carries. A receiver that does not exist is found when the app is joined."""
        other = self.others.get(one.target)
        if other is None:
            return None
        for transition in other.transitions:
            if transition.trigger == one.trigger and transition.handler is not None:
                return self._carried(transition.handler, transition.place)
        return None

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _named(self, model: type[BaseModel], place: SourcePlace) -> str:
        name = model.__name__
        if self.classes.setdefault(name, model) is not model:
            other = self.classes[name].__module__.rpartition(".")[2]
            message = f"two classes are called {name}: one of {model.__module__.rpartition('.')[2]}, one of {other}"
            self._error("duplicate", place, message, "give one of them another name")
        return name

    def _words(self, words: Mapping[str, SourcePlace]) -> YamlNode:
        return self.nodes.listing([self.nodes.of(word, at) for word, at in words.items()], self.declaration.place)

    def _error(self, code: str, place: SourcePlace, message: str, fix: str) -> None:
        spot = PythonPlace(self.show(place.path), place.line, place.column)
        self.findings.append(Finding(code, EnumSeverity.ERROR, *spot, message, fix))


def _by_status(
    handlers: Mapping[str, Callable[..., Step[_S]] | None], first: Callable[..., Step[_S]]
) -> Callable[..., Step[_S]]:
    """Several handlers of one trigger as one: the handler of the status, else that of ``"*"``. None only moves."""
    other = handlers.get(ANY)

    @functools.wraps(first)
    def handle(state: _S, action: Action[BaseModel]) -> Step[_S]:
        handler = handlers.get(state.status, other)
        return Step(state) if handler is None else handler(state, action)

    return handle


def _is_compute(one: DeclaredIntent) -> bool:
    return one.kind == EnumIntentType.COMPUTE_TASK


def _version(text: str) -> JsonValue:
    """``{major, minor, patch}``; anything else as it is, for the contract's own check to refuse."""
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return text
    return dict(zip(("major", "minor", "patch"), map(int, parts), strict=True))
