"""Intent: a side effect as data. A reducer says what should happen; the engine decides who does it, when and how often.

An intent takes four forms, in this order:

1. A *draft*: what a handler returns, which is a payload or an ``IntentDraft`` made by ``intent``, ``timer``, ``cancel``, ``send``.
2. ``Emitted``: the draft joined with the ``IntentSpec`` of the contract (``IntentTable.join``). The log stores its bytes.
3. A pointer in the outbox to the log row that emitted it, until it is settled.
4. ``ModelIntent``: what an effect is called with.

Joining checks everything, because nothing behind it checks again. What leaves ``join`` can be written, read back equal, and
delivered. A handler may return anything, also objects that lie about their class or raise when they are looked at. So a
draft is accepted by ``type(...) is``, never by ``isinstance``, and messages show values with ``shown``, which does not raise.

``join_all`` is a hot path. Its first branch takes the common draft, a payload of a class that one intent has, without a call
to ``join``, and where no look at its values is needed without any; ``tuple.__new__`` builds the result at a third of the cost
of its constructor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, Self, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, SerializeAsAny

from .action import Payload, WorkflowKey
from .canonical import detached
from .errors import InvalidKey
from .intent_fields import (
    EnumIntentPriority,
    IntentNotDeclared,
    IntentUnfit,
    due_us_of,
    is_text,
    key_of,
    kind_of,
    priority_of,
    shown_with_type,
)
from .model_facts import needs_no_look
from .retry import RetryPolicy
from .try_signals import PROGRESS_CHARACTERS, Beat, CancelSignal
from .user_code import plain_text, said_text

P = TypeVar("P", bound=BaseModel)


class EnumIntentType(StrEnum):
    """Kinds of side effect: six of the seed documents, then three that the engine serves itself. Apps may name more."""

    DATABASE_WRITE = "database_write"
    API_CALL = "api_call"
    FILE_OPERATION = "file_operation"
    MESSAGE_PUBLISH = "message_publish"
    CACHE_UPDATE = "cache_update"
    NOTIFICATION = "notification"
    COMPUTE_TASK = "compute_task"
    TIMER = "timer"
    ACTION_SEND = "action_send"


_TIMER, _SEND = EnumIntentType.TIMER, EnumIntentType.ACTION_SEND
RUN_BEGIN, RUN_WATCH, SCHEDULE_FIRE, START_SUFFIX = "run_begin", "run_watch", "schedule_fire", "_start"
"""Kinds of queues and schedules. A queue, the workflow ``NAME_start``, begins a run of ``NAME`` by one named as the trigger."""
HARMLESS = frozenset({RUN_BEGIN, RUN_WATCH, SCHEDULE_FIRE, EnumIntentType.COMPUTE_TASK})
"""Kinds that cannot take the process with them: one that is found running at a crash is no suspect."""
CANCEL = "@cancel"
"""The name, and the kind, under which a log row holds the cancelling of an intent; ``to`` says which: its name or its id."""


class EnumDelivery(StrEnum):
    """After a crash between start and answer: run again with the same key, or give the workflow the outcome ``unknown``."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class EnumOutcome(StrEnum):
    """Each intent that has outcomes in the contract ends in exactly one of these."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Failure(Payload):
    """Payload of a ``failed`` or ``unknown`` outcome: the reason, and after how many attempts."""

    code: str
    message: str
    attempts: int


@dataclass(frozen=True, slots=True)
class IntentSpec:
    """One entry of a contract's ``intents:``: who serves it, and which trigger each outcome becomes.

    ``outcomes[outcome] -> trigger``; empty: nobody waits for an outcome. ``trigger`` is what a ``timer`` fires, and what an
    ``action_send`` delivers to the ``target`` workflow. ``timeout_s`` bounds one attempt, and ``heartbeat_s``, unless 0, the time
    between two signs of life in it. ``cancel_on_exit``: it is cancelled when its instance leaves the status in which it was
    emitted. ``detached``: it still runs when its instance ends while it waits.
    """

    name: str
    kind: str
    target: str = ""
    payload: type[BaseModel] | None = None
    outcomes: Mapping[EnumOutcome, str] = field(default_factory=dict)
    retry: RetryPolicy = RetryPolicy()
    delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE
    priority: EnumIntentPriority = EnumIntentPriority.NORMAL
    timeout_s: float = 30.0
    concurrency: int = 10
    trigger: str = ""
    payload_schema: int = 1
    cancel_on_exit: bool = False
    detached: bool = False
    heartbeat_s: float = 0.0


CANCELLING = IntentSpec(CANCEL, CANCEL)
_made = tuple.__new__  # the constructor of a NamedTuple costs three times as much, and each intent is two of them


class IntentDraft(NamedTuple):
    """What a handler asks for, before it is joined with the contract. Made by the functions below."""

    name: str | UUID
    payload: BaseModel | None = None
    priority: EnumIntentPriority | str | None = None
    due: datetime | None = None
    idempotency_key: str | UUID | int | None = None
    to: str | UUID | int | WorkflowKey = ""
    cancelled: bool = False


class Emitted(NamedTuple):
    """A draft joined with its spec: the form that is encoded into the log. ``due_us`` 0 means now."""

    spec: IntentSpec
    payload: BaseModel | None
    priority: EnumIntentPriority
    due_us: int = 0
    idempotency_key: str | None = None
    to: str = ""
    cancelled: bool = False

    @property
    def name(self) -> str:
        return self.spec.name


def intent(
    name: str,
    payload: BaseModel | None = None,
    *,
    priority: EnumIntentPriority | str | None = None,
    not_before: datetime | None = None,
    idempotency_key: str | UUID | int | None = None,
) -> IntentDraft:
    """An intent by its name in the contract: for two intents that share a payload class, or to set more than the payload.

    ``priority`` may be its word, ``"critical"``. A key that is a UUID or a whole number is kept as its text.
    """
    return _made(IntentDraft, (name, payload, priority, not_before, idempotency_key, "", False))


def timer(name: str, at: datetime) -> IntentDraft:
    """Fire the contract's timer ``name`` once, at or after ``at``. A timer that waits under this name is replaced."""
    return IntentDraft(name, due=at)


def cancel(name: str | UUID) -> IntentDraft:
    """Cancel the timer ``name``, every open intent of that name of this instance, or the one intent of that id.

    One that waits never runs again, and has no outcome, although an earlier try may have been done. One that runs is told: if it
    stops, its outcome is ``failed`` with the code ``cancelled``, else what came of it. Its own id is
    ``action.outcome_of.intent_id``, or ``action.intent_id_of(name, n)``.
    """
    return IntentDraft(name, cancelled=True)


def send(name: str, instance_id: str | UUID | int | WorkflowKey, payload: BaseModel | None = None) -> IntentDraft:
    """Send an action to another instance, by the contract's ``action_send`` intent ``name``. It is applied there once.

    ``instance_id`` may be a UUID or a whole number, which becomes text. A WorkflowKey must be of the type that the contract
    sends to.
    """
    return IntentDraft(name, payload, to=instance_id)


class IntentTable:
    """The intents of a contract, by name and by payload class. ``join`` turns what a handler returned into what is stored."""

    __slots__ = ("_by_class", "_only", "_plain", "by_name")

    def __init__(self, specs: Mapping[str, IntentSpec]) -> None:
        self.by_name = {**specs, CANCEL: CANCELLING}
        self._by_class: dict[type[BaseModel], list[IntentSpec]] = {}
        for spec in specs.values():
            if spec.payload is not None:
                self._by_class.setdefault(spec.payload, []).append(spec)
        self._only: Mapping[type, IntentSpec] = {
            payload: specs[0]
            for payload, specs in self._by_class.items()
            if len(specs) == 1 and specs[0].kind not in (_TIMER, _SEND)  # a timer needs a time, a send a receiver
        }
        self._plain: set[type] = set()

    def join_all(self, drafts: Iterable[object]) -> tuple[Emitted, ...]:
        """In their order. Raises as ``join``."""
        emitted: list[Emitted] = []
        only, plain = self._only, self._plain
        for draft in drafts:
            kind = type(draft)
            if (spec := only.get(kind)) is None:
                emitted.append(self.join(draft))
            else:
                payload: BaseModel = draft  # type: ignore[assignment]  # what is in ``only`` is a payload class
                if kind not in plain or type(payload.__pydantic_fields_set__) is not set:
                    payload = self._detached(payload)
                emitted.append(_made(Emitted, (spec, payload, spec.priority, 0, None, "", False)))
        return tuple(emitted)

    def _detached(self, payload: BaseModel) -> BaseModel:
        """Remembers a class whose validated values need no look at them."""
        its = detached(payload)
        if needs_no_look(type(payload)):
            self._plain.add(type(payload))
        return its

    def join(self, draft: object) -> Emitted:
        """Raises IntentNotDeclared, which names the contract's intents; IntentUnfit; and InvalidPayload, as ``detached`` does."""
        if type(draft) is not IntentDraft:
            return self._join_payload(draft)
        name, payload, priority, due, idempotency_key, to, cancelled = draft
        if cancelled is True and isinstance(name, UUID):
            return Emitted(CANCELLING, None, CANCELLING.priority, to=str(name), cancelled=True)
        spec = self.by_name.get(name) if type(name) is str else self.by_name.get(str(name)) if is_text(name) else None
        if spec is None:
            raise IntentNotDeclared(f"intent {shown_with_type(name)} is not in the contract; it lists {self._listed()}")
        name, kind = spec.name, spec.kind
        if type(cancelled) is not bool:
            raise IntentUnfit(f"intent {name!r} is cancelled by cancel({name!r}), not by {shown_with_type(cancelled)}")
        wanted = spec.payload if not cancelled else None
        if (type(payload) if payload is not None else None) is not wanted:
            expected = wanted.__name__ if wanted else "no payload"
            raise IntentNotDeclared(f"intent {name!r} carries {kind_of(payload)}; the contract says {expected}")
        if kind == _TIMER and due is None and not cancelled:
            raise IntentNotDeclared(f"timer {name!r} needs a time: timer({name!r}, at)")
        if cancelled and kind != _TIMER:
            return Emitted(CANCELLING, None, CANCELLING.priority, to=name, cancelled=True)
        if payload is not None and (
            type(payload) not in self._plain or type(payload.__pydantic_fields_set__) is not set
        ):
            payload = self._detached(payload)
        joined = (
            spec,
            payload,
            spec.priority if priority is None else priority_of(name, priority),
            0 if due is None else due_us_of(name, due),
            None if idempotency_key is None else key_of(name, idempotency_key),
            "" if to == "" and kind != _SEND else _receiver(spec, to),
            cancelled,
        )
        return _made(Emitted, joined)

    def _join_payload(self, payload: object) -> Emitted:
        if not isinstance(payload, BaseModel):
            raise IntentNotDeclared(
                f"a handler emitted {kind_of(payload)}; an intent is an instance of a payload class, or intent(name, payload)"
            )
        model = type(payload)
        specs = self._by_class.get(model)
        if specs is None:
            raise IntentNotDeclared(
                f"{model.__name__} is the payload of no intent in the contract; it lists {self._listed()}"
            )
        names = ", ".join(spec.name for spec in specs)
        if len(specs) > 1:
            raise IntentNotDeclared(
                f"{model.__name__} is the payload of several intents ({names}); say intent(name, payload)"
            )
        (spec,) = specs
        if spec.kind == _SEND:
            raise IntentNotDeclared(f"{names!r} needs a receiver: send({names!r}, instance_id, payload)")
        if spec.kind == _TIMER:
            raise IntentNotDeclared(f"timer {names!r} needs a time: timer({names!r}, at)")
        return Emitted(spec, detached(payload), spec.priority)

    def _listed(self) -> str:
        return ", ".join(sorted(name for name in self.by_name if name != CANCEL)) or "none"


def _receiver(spec: IntentSpec, to: object) -> str:
    if spec.kind != _SEND:
        if to != "":
            raise IntentUnfit(
                f"intent {spec.name!r} is a {spec.kind}, and has no receiver; it is given {shown_with_type(to)}"
            )
        return ""
    if isinstance(to, WorkflowKey):
        if to.workflow_type != spec.target:
            raise IntentUnfit(f"intent {spec.name!r} is sent to a {spec.target!r}, not to {shown_with_type(to)}")
        to = to.instance_id
    if isinstance(to, UUID) or (isinstance(to, int) and not isinstance(to, bool)):
        to = str(to)
    if not isinstance(to, str):
        raise IntentUnfit(
            f"intent {spec.name!r} is sent to {shown_with_type(to)}; a receiver is an instance id: text, a UUID or a number"
        )
    if not to:
        raise IntentNotDeclared(f"{spec.name!r} needs a receiver: send({spec.name!r}, instance_id, payload)")
    try:
        return WorkflowKey.of(spec.target, str(to)).instance_id
    except InvalidKey as error:
        raise IntentUnfit(f"intent {spec.name!r} has no such receiver: {plain_text(error.message)}") from error


def intent_id(action_id: UUID, key: WorkflowKey, name: str, n: int) -> UUID:
    """``uuid5(action_id, "type:instance/name/n")``; ``n`` counts the intents of that name in that step, from 0."""
    return uuid5(action_id, f"{key}/{name}/{n}")


def outcome_id(intent: UUID) -> UUID:
    """The action id of an intent's one outcome."""
    return uuid5(intent, "outcome")


def sent_id(intent: UUID) -> UUID:
    """The action id under which an ``action_send`` is applied at its receiver."""
    return uuid5(intent, "sent")


class ModelIntent(BaseModel, Generic[P]):
    """What an effect is called with: typed, immutable, and complete. Serialize it only where it leaves the process.

    ``idempotency_key`` is the same at every attempt: send it to the service you call. ``attempt`` counts from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    intent_id: UUID
    intent_type: str
    target: str = Field(description="service, table, endpoint or resource, as the contract names it")
    payload: SerializeAsAny[P]
    correlation_id: UUID
    idempotency_key: str
    causation_id: UUID | None = Field(default=None, description="the action whose step emitted it")
    name: str = ""
    workflow_key: WorkflowKey | None = None
    version: int = Field(default=0, ge=0, description="the version whose action emitted it")
    n: int = Field(default=0, ge=0, description="which of the intents of this name in that step")
    attempt: int = Field(default=1, ge=1)
    priority: EnumIntentPriority = EnumIntentPriority.NORMAL
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)
    _cancelled: CancelSignal | None = PrivateAttr(default=None)
    _beat: Beat | None = PrivateAttr(default=None)
    _progress: str = PrivateAttr(default="")

    @property
    def cancelled(self) -> CancelSignal:
        """``intent.cancelled.is_set()`` is true once a step has cancelled it: for a function in a thread, which cannot be stopped.

        One that stops raises ``EffectFailed(..., code="cancelled")``. An async function is stopped by a CancelledError.
        """
        if self._cancelled is None:
            self._cancelled = CancelSignal()
        return self._cancelled

    def heartbeat(self, progress: str | float = "") -> None:
        """Tell that the work goes on, and how far it has come: ``intent.heartbeat("40 of 100")``. From any thread; it never waits.

        ``onex show`` shows the last text while it runs. With ``heartbeat_ms`` in the contract, a try that gives no sign for so
        long is timed out as ``stalled``. It may be called often: what is written is at most one text a second.
        """
        if self._beat is not None:
            self._beat(said_text(progress, PROGRESS_CHARACTERS))

    @property
    def last_progress(self) -> str:
        """What an earlier try told last by ``heartbeat``, also where a crash ended it: from there this one may go on.

        '' for the first try, and where nothing is known: a text told in the last second before a crash may be missing.
        """
        return self._progress

    def told_by(self, signal: CancelSignal, beat: Beat | None = None, last_progress: str = "") -> Self:
        """The same intent, told by ``signal`` when it is cancelled, and telling ``beat`` how far it is. For whoever runs it."""
        self._cancelled, self._beat, self._progress = signal, beat, last_progress
        return self

    def serialize_payload(self) -> dict[str, JsonValue]:
        """The payload as JSON, for effects that send it."""
        return self.payload.model_dump(mode="json")
