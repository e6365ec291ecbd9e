"""A contract, the classes of payloads.py and the handlers of reducer.py become one reducer, or findings.

Theory of operation. This runs once, when an app loads. Everything that user code could do wrong later is judged here, with a
place: the line of the Python file when the app wrote the class, else the line of the contract that names it.

1. ``_class`` looks a name up in payloads.py. A class that hides one of BUILT_IN_PAYLOADS is refused: the same name would mean
   two things in contracts. Its fields are judged once, also those of nested models, however many triggers name it.
2. The state must derive from ``State``, leave ``status`` alone and have a default for every field, because the first action
   meets a state that nobody has written. So it is built and canonicalised once here (``as_reloaded``); validators and default
   factories of the user run, and whatever they raise becomes a finding. A random default is an error: a replay would begin
   from another state.
3. Each trigger has one payload class; a transition without ``payload`` carries Nothing. The outcomes failed and unknown of an
   intent carry Failure or nothing, since the engine makes that payload.
4. A handler must fit its trigger: it is a plain function of two arguments, and its annotations, as far as it has any, name the
   state, Action and the payload. What is not annotated is not judged.
5. The machine: guards are bound to the classes of state and payload. A guard whose classes are missing is skipped, because the
   missing class is a finding already.

Any error leaves ``reducer`` None. Without one, an app without reducer.py gets a reducer that only moves the status.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError

from ..kernel.action import Action, Blob, Nothing
from ..kernel.canonical import as_reloaded, problems
from ..kernel.errors import InvalidPayload
from ..kernel.finding import EnumSeverity, Finding, errors
from ..kernel.intent import EnumDelivery, EnumIntentType, EnumOutcome, Failure, IntentSpec
from ..kernel.machine import Guard, Handlers, Machine, MachineReducer, Timeout, Transition, reducer
from ..kernel.step import State
from ..kernel.user_code import caught
from .check.contract_checks import guard_finding
from .check.partial_contract import conditions
from .guard.guards import bind, parse
from .guard.problem import GuardProblem, suggest
from .model.contract import ModelContractWorkflow, drawn
from .model.fsm import ModelIntentDeclaration
from .model.payload_fields import field_problems, unwrap
from .model.round_trip import random_defaults, round_trip_warnings
from .text.yaml_tree import YamlMap, YamlPlace, node_at, place_of

BUILT_IN_PAYLOADS: Mapping[str, type[BaseModel]] = {"Nothing": Nothing, "Failure": Failure, "Blob": Blob}


class PythonPlace(NamedTuple):
    """A place in a Python file of the app."""

    path: str
    line: int
    column: int = 1


class LocatedContract(NamedTuple):
    """A contract with its tree: what ``load_contract`` returned for ``path``."""

    contract: ModelContractWorkflow
    tree: YamlMap
    path: str


class CompiledReducer(NamedTuple):
    """``reducer`` is None when a finding is an error. ``payloads[trigger]`` is the class of each trigger."""

    reducer: MachineReducer[State] | None
    payloads: Mapping[str, type[BaseModel]]
    findings: tuple[Finding, ...]


def compile_reducer(
    promise: LocatedContract,
    classes: Mapping[str, object],
    handlers: Handlers[State] | None,
    spot: Callable[[object, str], PythonPlace | None],
) -> CompiledReducer:
    """``classes`` are the names of payloads.py. ``spot(thing, field)`` is the line of a class, field or function."""
    return _Compiler(promise, classes, handlers, spot).run()


class _Compiler:
    def __init__(
        self,
        promise: LocatedContract,
        classes: Mapping[str, object],
        handlers: Handlers[State] | None,
        spot: Callable[[object, str], PythonPlace | None],
    ) -> None:
        self.contract = promise.contract
        self.tree = promise.tree
        self.path = promise.path
        self.classes = classes
        self.handlers = handlers
        self.spot = spot
        self.findings: list[Finding] = []
        self.judged: set[type[BaseModel]] = set()

    def run(self) -> CompiledReducer:
        state = self._state()
        payloads = self._payloads()
        intents = self._intents(payloads)
        self._handlers(state, payloads)
        machine = self._machine(state, payloads)
        found = tuple(self.findings)
        if errors(found) or state is None:
            return CompiledReducer(None, payloads, found)
        table = self.handlers or reducer(state)
        made = MachineReducer(self.contract.name, table, machine, payloads, intents)
        return CompiledReducer(made, payloads, found)

    # --- classes ----------------------------------------------------------------------------------------------------

    def _class(self, name: str, *loc: str | int) -> type[BaseModel] | None:
        """The class that the contract names at ``loc``; None after a finding."""
        ours = BUILT_IN_PAYLOADS.get(name)
        theirs = self.classes.get(name, ours)
        if ours is not None and theirs is not ours:
            self._at(loc, "reserved_name", f"{name} in payloads.py hides onex.{name}", "give the class another name")
            return None
        if theirs is None:
            known = [known for known, value in self.classes.items() if _is_model(value)]
            fix = suggest(name, known) or f"define it there; it has {', '.join(known) or 'no classes yet'}"
            self._at(loc, "unknown_class", f"payloads.py has no class {name!r}", fix)
            return None
        if not isinstance(theirs, type) or not issubclass(theirs, BaseModel):
            self._at(loc, "not_a_model", f"{name} in payloads.py is no pydantic model", f"class {name}(Payload): ...")
            return None
        if theirs not in self.judged:
            for one in field_problems(theirs):
                if one.model not in self.judged:
                    self._add(self.spot(one.model, one.field), loc, "field_type", one.message, one.fix)
            for one in round_trip_warnings(theirs):
                spot = self.spot(one.model, one.field)
                self._add(spot, loc, "read_back", one.message, one.fix, EnumSeverity.WARNING)
            self.judged.add(theirs)
        return theirs

    def _state(self) -> type[State] | None:
        name = self.contract.state_model
        if name is None:
            return self._bare_state()
        found = self._class(name, "state_model")
        if found is None:
            return None
        if not issubclass(found, State):
            fix = f"class {name}(State): ... (from onex)"
            self._of_state(found, "", "not_a_state", f"{name} does not derive from State", fix)
            return None
        self._status(found)
        needed = [field for field, info in found.model_fields.items() if info.is_required()]
        for field in needed:
            message = f"{name}.{field} has no default, so there is no state before the first action"
            self._of_state(found, field, "no_default", message, f"give {field} a default")
        for one in random_defaults(found):
            self._of_state(one.model, one.field, "begins_by_chance", one.message, one.fix)
        if not needed:
            reason = ""
            try:
                as_reloaded(found(status=self.contract.state_machine.initial_state))
            except InvalidPayload as error:
                reason = error.message
            except PydanticError as error:
                reason = f"its own defaults are refused: {problems(error)}"
            except BaseException as error:  # a validator or default factory of the user's
                reason = caught(error)
            if reason:
                self._of_state(found, "", "bad_default", f"{name} cannot begin: {reason}", "correct the defaults")
        return found

    def _bare_state(self) -> type[State] | None:
        """The state of a contract that names none: a status alone."""
        for name, theirs in self.classes.items():
            if isinstance(theirs, type) and issubclass(theirs, State) and theirs is not State:
                message = f"payloads.py has the state class {name}, and the contract names none"
                self._at(("state_model",), "missing_key", message, f"add state_model: {name}")
                return None
        return State

    def _status(self, state: type[State]) -> None:
        """``status`` is text, or a Literal of just the statuses that the machine has."""
        kind = state.model_fields["status"].annotation
        statuses = set(drawn(self.contract.state_machine).statuses)
        if kind is str or (get_origin(kind) is Literal and set(get_args(kind)) == statuses):
            return
        message = f"{state.__name__}.status is redefined; its values come from the contract"
        words = ", ".join(f'"{status}"' for status in sorted(statuses))
        self._of_state(state, "status", "status_redefined", message, f"remove the field, or type it Literal[{words}]")

    def _of_state(self, model: type[BaseModel], field: str, code: str, message: str, fix: str) -> None:
        self._add(self.spot(model, field), ("state_model",), code, message, fix)

    def _payloads(self) -> dict[str, type[BaseModel]]:
        found: dict[str, type[BaseModel]] = {}
        for n, transition in enumerate(self.contract.state_machine.transitions):
            if transition.payload is not None and transition.trigger not in found:
                made = self._class(transition.payload, "state_machine", "transitions", n, "payload")
                if made is not None:
                    found[transition.trigger] = made
        for transition in self.contract.state_machine.transitions:
            if transition.payload is None:
                found.setdefault(transition.trigger, Nothing)
        return {trigger: found[trigger] for trigger in self.contract.payloads if trigger in found}

    # --- intents ----------------------------------------------------------------------------------------------------

    def _intents(self, payloads: Mapping[str, type[BaseModel]]) -> dict[str, IntentSpec]:
        specs: dict[str, IntentSpec] = {}
        for n, declared in enumerate(self.contract.intents):
            payload = None
            if declared.payload is not None:
                payload = self._class(declared.payload, "intents", n, "payload")
            if declared.outcomes is not None:
                for outcome in (EnumOutcome.FAILED, EnumOutcome.UNKNOWN):
                    trigger = getattr(declared.outcomes, outcome)
                    carried = payloads.get(trigger, Nothing)
                    if carried not in (Failure, Nothing):
                        self._at(
                            ("intents", n, "outcomes", outcome),
                            "outcome_payload",
                            f"outcome {outcome} of {declared.name!r} fires {trigger!r}, which carries "
                            f"{carried.__name__}; an outcome that is no success carries Failure, or nothing",
                            f"write payload: Failure at the transitions of {trigger!r}",
                        )
            specs[declared.name] = intent_spec(declared, payload)
        return specs

    # --- handlers ---------------------------------------------------------------------------------------------------

    def _handlers(self, state: type[State] | None, payloads: Mapping[str, type[BaseModel]]) -> None:
        if self.handlers is None:
            return
        made_for = self.handlers.state_type
        if state is not None and made_for is not state:
            named = f"the contract's state_model is {state.__name__}"
            if self.contract.state_model is None:
                named = "the contract names no state_model, so its state is State of onex"
            message = f"reducer.py handles {made_for.__name__}; {named}"
            self._at(
                ("state_model",), "other_state", message, f"write reducer({state.__name__}), or change state_model"
            )
        triggers = list(self.contract.payloads)
        for trigger, handler in self.handlers.by_trigger.items():
            spot = self.spot(handler, "")
            if trigger not in triggers:
                fix = suggest(trigger, triggers) or f"the contract has {', '.join(triggers)}"
                self._add(spot, (), "unknown_trigger", f"a handler for {trigger!r}, which no transition has", fix)
            else:
                for message, fix in signature_problems(handler, trigger, state, payloads.get(trigger)):
                    self._add(spot, (), "handler", message, fix)

    # --- machine ----------------------------------------------------------------------------------------------------

    def _machine(self, state: type[State] | None, payloads: Mapping[str, type[BaseModel]]) -> Machine:
        declared = self.contract.state_machine
        transitions = []
        for n, line in enumerate(declared.transitions):
            guards = self._guards(n, state, payloads.get(line.trigger))
            transitions.append(Transition(line.from_state, line.to_state, line.trigger, guards, line.priority))
        timeouts = {
            one.name: Timeout(one.timeout_ms * 1000, one.on_timeout)
            for one in declared.states or ()
            if one.timeout_ms is not None and one.on_timeout is not None
        }
        return Machine(declared.initial_state, tuple(transitions), frozenset(declared.terminal_states), timeouts)

    def _guards(self, n: int, state: type[State] | None, payload: type[BaseModel] | None) -> tuple[Guard, ...]:
        if state is None or payload is None:
            return ()
        guards = []
        for written in conditions(node_at(self.tree, ("state_machine", "transitions", n, "conditions"))):
            try:
                guards.append(replace(bind(parse(written.text), state, payload), after=written.after))
            except GuardProblem as problem:
                self.findings.append(guard_finding(problem, written.leaf, self.path))
        return tuple(guards)

    # --- findings ---------------------------------------------------------------------------------------------------

    def _at(self, loc: tuple[str | int, ...], code: str, message: str, fix: str) -> None:
        place = place_of(self.tree, loc)
        self.findings.append(Finding(code, EnumSeverity.ERROR, *place.spot(self.path), message, fix))

    def _add(
        self,
        spot: PythonPlace | None,
        loc: tuple[str | int, ...],
        code: str,
        message: str,
        fix: str,
        severity: EnumSeverity = EnumSeverity.ERROR,
    ) -> None:
        """A finding at the line in Python, or, when the app did not write it, where the contract names it."""
        if spot is None:
            place = place_of(self.tree, loc) if loc else YamlPlace(0, 0)
            spot = PythonPlace(*place.spot(self.path))
        finding = Finding(code, severity, *spot, message, fix)
        if finding not in self.findings:
            self.findings.append(finding)


def intent_spec(declared: ModelIntentDeclaration, payload: type[BaseModel] | None) -> IntentSpec:
    """A row of ``intents:`` as the kernel's value: seconds instead of milliseconds."""
    outcomes = {}
    if declared.outcomes is not None:
        outcomes = {outcome: str(getattr(declared.outcomes, outcome)) for outcome in EnumOutcome}
    known = list(EnumIntentType)
    return IntentSpec(
        name=declared.name,
        kind=EnumIntentType(declared.type) if declared.type in known else declared.type,
        target=declared.target or "",
        payload=payload,
        outcomes=outcomes,
        retry=declared.retry.policy(),
        delivery=declared.delivery or EnumDelivery.AT_LEAST_ONCE,
        priority=declared.priority,
        timeout_s=declared.timeout_ms / 1000,
        heartbeat_s=(declared.heartbeat_ms or 0) / 1000,
        concurrency=declared.concurrency,
        trigger=declared.trigger or "",
        cancel_on_exit=declared.on_exit == "cancel",
        detached=declared.detached,
    )


def signature_problems(
    handler: Callable[..., object], trigger: str, state: type[State] | None, payload: type[BaseModel] | None
) -> Iterator[tuple[str, str]]:
    """``(message, fix)`` for all that is wrong with ``def handler(state: S, action: Action[P]) -> Step[S]``."""
    name = getattr(handler, "__name__", repr(handler))
    shape = f"def {name}(state, action) -> Step"
    if inspect.iscoroutinefunction(handler) or inspect.isgeneratorfunction(handler):
        yield f"{name} is async or a generator; a handler answers at once", f"write it as {shape}; effects may wait"
        return
    parameters = list(inspect.signature(handler).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 or any(one.default is one.empty and one not in positional[:2] for one in parameters):
        yield f"{name} must take two arguments, the state and the action", f"write {shape}"
        return
    try:
        hints = get_type_hints(handler)
    except BaseException as error:  # whatever evaluating a user's annotation raises
        yield f"the annotations of {name} cannot be read: {caught(error)}", "import the names at the top of the file"
        return
    first, second = hints.get(positional[0].name), hints.get(positional[1].name)
    if state is not None and isinstance(first, type) and not issubclass(state, first):
        yield f"{name} takes a {first.__name__}; the state is {state.__name__}", f"write {state.__name__}"
    if second is not None and get_origin(second) is not Action and second is not Action:
        wanted = payload.__name__ if payload else "..."
        yield f"the second argument of {name} is not an Action", f"annotate it Action[{wanted}]"
    elif payload is not None and get_args(second):
        carried = [one for one in unwrap(get_args(second)[0]) if isinstance(one, type)]
        if carried and not any(issubclass(payload, one) for one in carried):
            named = " | ".join(one.__name__ for one in carried)
            yield (
                f"{name} takes Action[{named}]; the contract says {trigger!r} carries {payload.__name__}",
                f"write Action[{payload.__name__}], or change the contract",
            )


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel) and not value.__module__.startswith("onex.")
