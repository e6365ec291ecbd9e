"""Forward side: one code that continues instances in memory, as the engine would, and answers in plain values.

It keeps nothing between two questions: a state goes in as bytes and comes out as bytes. So the two codes of a forward check
live in two processes, and whoever compares them (``forward_walk.py``) imports neither.

One step, in this order:

1. The event becomes an action of this code. An outcome arrives by the trigger that *this* contract maps it to, with the payload
   that was recorded; where that no longer fits, with the plainest one of this code's class, since the effect that will run is
   this code's too. A held outcome is given as it is stored: its effect has run. A timer fires its own trigger.
2. ``delta`` is called. What it raises, or refuses, is the answer; the state stays.
3. What it emitted is read as this code reads a log, so that intents of a log, of older code and of this one are told alike.

Names travel with the schema that calls them so, and are upgraded here. Nothing is fired: an intent is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel

from ..engine.encode import decode, decode_intent, encode, encode_intents, ordinals, read_intents
from ..engine.fold import INTENTS_PER_STEP
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import logged_intent, logged_payload, logged_trigger, stored_state
from ..kernel.action import NOTHING, Action, OutcomeOf, WorkflowKey
from ..kernel.errors import InvalidStateTransitionError, OnexError, ReducerFailed
from ..kernel.intent import CANCEL, Emitted, EnumIntentType, EnumOutcome, Failure, IntentSpec
from ..kernel.step import State
from ..kernel.user_code import caught
from .branch import OUTCOME, Movers, movers
from .what_if import sent_to

TIMER: Final = EnumIntentType.TIMER
NO_ANSWER: Final = Failure(code="forward_check", message="what if it does not succeed", attempts=1)

Plainest = Callable[[type[BaseModel]], BaseModel]
"""The plainest value of a payload class. Raises OnexError when none can be made."""


class EnumEvent(StrEnum):
    OUTCOME = "outcome"
    TIMER = "timer"
    ACTION = "action"


class Event(NamedTuple):
    """What comes next. ``name`` is the intent, the timer or the trigger, as ``schema`` calls it.

    ``trigger`` and ``payload``, of ``payload_schema``, are what was recorded of an outcome; '' and b'' for the plainest one.
    ``held``: this result is stored and will be delivered as it is. A client's action has its payload in ``schema``, b'' for
    the plainest one.
    """

    what: EnumEvent
    name: str
    schema: int
    outcome: str = ""
    trigger: str = ""
    payload: bytes = b""
    payload_schema: int = 0
    held: bool = False


class StepAsked(NamedTuple):
    """One step. ``through`` is the intent that an outcome or timer comes of; the ids are the same for both codes."""

    key: WorkflowKey
    state: bytes
    event: Event
    action_id: bytes
    at_us: int
    correlation: bytes
    through: OutcomeOf | None
    cause: bytes | None


class Emission(NamedTuple):
    """An intent as this code reads it. ``said`` is equal for two that ask the same: name, payload and receiver.

    ``kind`` is '' for one that this code cannot go on with, and ``why`` says so. ``outcomes`` are those it waits for.
    ``cancels`` names what it cancels, by name or id.
    """

    name: str
    n: int
    kind: str
    said: bytes = b""
    due_us: int = 0
    idempotency_key: str = ""
    outcomes: tuple[str, ...] = ()
    cancels: str = ""
    why: str = ""


class Began(NamedTuple):
    """Where an instance stands under this code; ``why``: it cannot be continued."""

    state: bytes = b""
    movers: Movers = Movers("", False, (), (), frozenset())
    why: str = ""


class Stepped(NamedTuple):
    """After a step: ``refused`` says why there was none. ``intents`` are the bytes that a log would hold.

    ``unanswered``: no answer of that class could be made here, so nothing was tried.
    """

    state: bytes
    movers: Movers
    intents: bytes = b""
    emitted: tuple[Emission, ...] = ()
    refused: str = ""
    unanswered: bool = False


class _Unanswered(Exception):
    """No plain value of an outcome's class can be made: a person would have to say one."""


class ForwardSide:
    """``registry`` is the code; ``plainest`` makes values of its payload classes."""

    def __init__(self, registry: ReducerRegistry, plainest: Plainest) -> None:
        self._registry, self._plainest = registry, plainest
        self._sent = sent_to(registry)
        self._made: dict[type[BaseModel], BaseModel] = {}

    def schemas(self) -> Mapping[str, int]:
        """``[workflow type] -> state schema`` of the workflows it has."""
        return {one.reducer.workflow_type: one.code.state_schema for one in self._registry.workflows}

    def begin(self, key: WorkflowKey, schema: int, data: bytes) -> Began:
        """A stored state. Raises nothing: what cannot be read says why."""
        workflow = self._registry.find(key.workflow_type)
        if workflow is None:
            return Began(why=f"there is no workflow {key.workflow_type!r} any more")
        try:
            state = stored_state(workflow, schema, data)
        except OnexError as error:
            return Began(why=f"its state cannot be read: {error.message}")
        return Began(encode(state), self._movers(workflow, state))

    def read(self, workflow_type: str, steps: Sequence[tuple[int, bytes]]) -> list[tuple[Emission, ...]]:
        """The intents of log rows, each with its schema, as this code reads them."""
        workflow = self._registry[workflow_type]
        return [tuple(_read(workflow, schema, data)) for schema, data in steps]

    def step(self, asked: Sequence[StepAsked]) -> list[Stepped]:
        return [self._step(self._registry[one.key.workflow_type], one) for one in asked]

    def _step(self, workflow: Workflow, asked: StepAsked) -> Stepped:
        reducer = workflow.reducer
        state: State = decode(reducer.state_type, asked.state)
        try:
            done = reducer.delta(state, self._action(workflow, asked))
            if len(done.intents) > INTENTS_PER_STEP:
                raise ReducerFailed(f"{len(done.intents)} intents are emitted; the limit is {INTENTS_PER_STEP}")
            after, intents = encode(done.state), encode_intents(done.intents)
        except _Unanswered as error:
            return Stepped(asked.state, self._movers(workflow, state), refused=str(error), unanswered=True)
        except OnexError as error:
            return Stepped(asked.state, self._movers(workflow, state), refused=error.message)
        except BaseException as error:  # a reducer made by hand may raise anything
            return Stepped(asked.state, self._movers(workflow, state), refused=f"the reducer failed: {caught(error)}")
        emitted = tuple(_read(workflow, workflow.code.state_schema, intents))
        return Stepped(after, self._movers(workflow, done.state), intents, emitted)

    def _movers(self, workflow: Workflow, state: State) -> Movers:
        return movers(workflow, state, self._sent.get(workflow.reducer.workflow_type, frozenset()))

    # --- an event as an action of this code -----------------------------------------------------------------------------

    def _action(self, workflow: Workflow, asked: StepAsked) -> Action[BaseModel]:
        event, issuer, through = asked.event, "", b""
        if event.what is EnumEvent.ACTION:
            kind = logged_trigger(workflow, event.name, event.schema)
            if event.payload:
                payload = logged_payload(workflow, event.name, event.schema, event.payload)
            else:
                payload = self._plain(workflow.payload_model(kind))
        else:
            name = workflow.migrations.intent(event.name, event.schema, workflow.code.state_schema)
            spec = workflow.reducer.intents.by_name.get(name)
            if spec is None:
                raise InvalidStateTransitionError(f"the contract has no {event.name!r} any more")
            issuer = f"{OUTCOME}{name}"
            if asked.through is not None:
                through = asked.through._replace(name=name).packed()
            if event.what is EnumEvent.TIMER:
                kind, payload = spec.trigger, NOTHING
            else:
                kind, payload = self._outcome(workflow, spec, event)
        return Action(
            asked.key,
            kind,
            payload,
            asked.action_id,
            asked.at_us,
            asked.correlation,
            issuer,
            asked.cause,
            through,
        )

    def _outcome(self, workflow: Workflow, spec: IntentSpec, event: Event) -> tuple[str, BaseModel]:
        if event.held:
            kind = logged_trigger(workflow, event.trigger, event.payload_schema)
            return kind, logged_payload(workflow, event.trigger, event.payload_schema, event.payload)
        mapped = spec.outcomes.get(EnumOutcome(event.outcome))
        if mapped is None:
            raise InvalidStateTransitionError(f"{spec.name!r} has no outcome any more")
        if event.trigger and logged_trigger(workflow, event.trigger, event.payload_schema) == mapped:
            try:
                return mapped, logged_payload(workflow, event.trigger, event.payload_schema, event.payload)
            except OnexError:  # the effect of this code answers as this code's class says
                pass
        return mapped, self._plain(workflow.payload_model(mapped))

    def _plain(self, model: type[BaseModel]) -> BaseModel:
        if model is Failure:
            return NO_ANSWER
        if model not in self._made:
            try:
                self._made[model] = self._plainest(model)
            except OnexError as error:
                raise _Unanswered(error.message) from error
        return self._made[model]


def _read(workflow: Workflow, schema: int, data: bytes) -> list[Emission]:
    try:
        items = read_intents(data)
    except OnexError as error:
        return [Emission("?", 0, "", why=error.message)]
    names = [str(one["name"]) for one in items]
    found: list[Emission] = []
    for ordinal, (name, n) in enumerate(zip(names, ordinals(names), strict=True)):
        try:
            if schema == workflow.code.state_schema:
                emitted = decode_intent(items[ordinal], workflow.reducer.intents)
            else:
                emitted = logged_intent(workflow, schema, data, ordinal).emitted
        except OnexError as error:
            found.append(Emission(name, n, "", why=error.message))
            continue
        found.append(_emission(emitted, n))
    return found


def _emission(one: Emitted, n: int) -> Emission:
    spec = one.spec
    if spec.kind == CANCEL:
        return Emission(CANCEL, n, CANCEL, cancels=one.to)
    if one.cancelled:
        return Emission(spec.name, n, spec.kind, cancels=spec.name)
    said = orjson.dumps([spec.name, one.to]) + (b"" if one.payload is None else encode(one.payload))
    return Emission(
        spec.name,
        n,
        spec.kind,
        said,
        one.due_us,
        one.idempotency_key or "",
        tuple(sorted(outcome.value for outcome in spec.outcomes)),
    )
