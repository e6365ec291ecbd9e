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
to ``join``; ``tuple.__new__`` builds the result at a third of the cost of its constructor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar, cast
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializeAsAny

from .action import Payload, WorkflowKey, micros
from .canonical import detached
from .errors import InvalidKey, ValidationError
from .retry import RetryPolicy
from .user_code import plain_text, shown

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


class EnumIntentPriority(StrEnum):
    """The order of delivery, most urgent first. A waiting intent moves up one step every 30 s."""

    rank: int
    """0 is most urgent. An attribute, because a look-up by member would hash the name for each intent."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"

    def __init__(self, value: str) -> None:
        self.rank = len(type(self).__members__)


_PRIORITIES = {one.value: one for one in EnumIntentPriority}
KEY_CHARACTERS = 1000
LAST_US = micros(datetime.max.replace(tzinfo=UTC))


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
    ``action_send`` delivers to the ``target`` workflow. ``timeout_s`` bounds one attempt.
    """

    name: str
    kind: str
    target: str = ""
    payload: type[BaseModel] | None = None
    outcomes: Mapping[EnumOutcome, str] = field(default_factory=dict)
    retry: RetryPolicy = RetryPolicy(max_attempts=5, initial_s=0.5, max_s=30.0)
    delivery: EnumDelivery = EnumDelivery.AT_LEAST_ONCE
    priority: EnumIntentPriority = EnumIntentPriority.NORMAL
    timeout_s: float = 30.0
    concurrency: int = 10
    trigger: str = ""
    payload_schema: int = 1


_made = tuple.__new__  # the constructor of a NamedTuple costs three times as much, and each intent is two of them


class IntentDraft(NamedTuple):
    """What a handler asks for, before it is joined with the contract. Made by the functions below."""

    name: str
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


def cancel(name: str) -> IntentDraft:
    """Remove the timer ``name`` if it waits."""
    return IntentDraft(name, cancelled=True)


def send(name: str, instance_id: str | UUID | int | WorkflowKey, payload: BaseModel | None = None) -> IntentDraft:
    """Send an action to another instance, by the contract's ``action_send`` intent ``name``. It is applied there once.

    ``instance_id`` may be a UUID or a whole number, which becomes text. A WorkflowKey must be of the type that the contract
    sends to.
    """
    return IntentDraft(name, payload, to=instance_id)


class IntentNotDeclared(ValidationError):
    """A handler emitted an intent that its contract does not list under ``intents:``, or one with a wrong payload."""

    code = "intent_not_declared"


class IntentUnfit(ValidationError):
    """A handler gave an intent a priority, time, key or receiver that is not allowed."""

    code = "intent_unfit"


class IntentTable:
    """The intents of a contract, by name and by payload class. ``join`` turns what a handler returned into what is stored."""

    __slots__ = ("_by_class", "_only", "by_name")

    def __init__(self, specs: Mapping[str, IntentSpec]) -> None:
        self.by_name = dict(specs)
        self._by_class: dict[type[BaseModel], list[IntentSpec]] = {}
        for spec in specs.values():
            if spec.payload is not None:
                self._by_class.setdefault(spec.payload, []).append(spec)
        self._only = {
            payload: specs[0]
            for payload, specs in self._by_class.items()
            if len(specs) == 1 and specs[0].kind not in (_TIMER, _SEND)  # a timer needs a time, a send a receiver
        }

    def join_all(self, drafts: Iterable[object]) -> tuple[Emitted, ...]:
        """In their order. Raises as ``join``."""
        emitted: list[Emitted] = []
        only: Mapping[type, IntentSpec] = self._only
        for draft in drafts:
            if (spec := only.get(type(draft))) is not None:
                one = (spec, detached(cast(BaseModel, draft)), spec.priority, 0, None, "", False)
                emitted.append(_made(Emitted, one))
            else:
                emitted.append(self.join(draft))
        return tuple(emitted)

    def join(self, draft: object) -> Emitted:
        """Raises IntentNotDeclared, which names the contract's intents; IntentUnfit; and InvalidPayload, as ``detached`` does."""
        if type(draft) is not IntentDraft:
            return self._join_payload(draft)
        name, payload, priority, due, idempotency_key, to, cancelled = draft
        spec = self.by_name.get(name) if _is_text(name) else None
        if spec is None:
            raise IntentNotDeclared(f"intent {_shown(name)} is not in the contract; it lists {self._listed()}")
        name, kind = spec.name, spec.kind
        if type(cancelled) is not bool:
            raise IntentUnfit(f"intent {name!r} is cancelled by cancel({name!r}), not by {_shown(cancelled)}")
        wanted = spec.payload if not cancelled else None
        if (type(payload) if payload is not None else None) is not wanted:
            expected = wanted.__name__ if wanted else "no payload"
            raise IntentNotDeclared(f"intent {name!r} carries {_kind(payload)}; the contract says {expected}")
        if kind == _TIMER and due is None and not cancelled:
            raise IntentNotDeclared(f"timer {name!r} needs a time: timer({name!r}, at)")
        if cancelled and kind != _TIMER:
            raise IntentNotDeclared(f"{name!r} is a {kind}; only timers can be cancelled")
        joined = (
            spec,
            detached(payload) if payload is not None else None,
            spec.priority if priority is None else _priority(name, priority),
            0 if due is None else _due_us(name, due),
            None if idempotency_key is None else _key(name, idempotency_key),
            "" if to == "" and kind != _SEND else _receiver(spec, to),
            cancelled,
        )
        return _made(Emitted, joined)

    def _join_payload(self, payload: object) -> Emitted:
        if not isinstance(payload, BaseModel):
            raise IntentNotDeclared(
                f"a handler emitted {_kind(payload)}; an intent is an instance of a payload class, or intent(name, payload)"
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
        return ", ".join(sorted(self.by_name)) or "none"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _shown(value: object) -> str:
    """``value`` for a message, with its type. Never raises."""
    text = shown(value)
    return f"{text} ({type(value).__name__})" if not isinstance(value, str) else text


def _priority(name: str, priority: object) -> EnumIntentPriority:
    if isinstance(priority, EnumIntentPriority):
        return priority
    if isinstance(priority, str) and priority in _PRIORITIES:
        return _PRIORITIES[priority]
    raise IntentUnfit(f"intent {name!r} has priority {_shown(priority)}; allowed are {', '.join(_PRIORITIES)}")


def _due_us(name: str, due: object) -> int:
    if type(due) is datetime and due.tzinfo is UTC:
        return micros(due)  # the common case, action.issued_at + timedelta(...): no offset to subtract
    if not isinstance(due, datetime) or due.utcoffset() is None:
        raise IntentUnfit(
            f"intent {name!r} is due {_shown(due)}; a time is an aware datetime, as action.issued_at + timedelta(...)"
        )
    due_us = micros(due)
    if due_us > LAST_US:
        raise IntentUnfit(f"intent {name!r} is due {_shown(due)}, which in UTC is beyond the year 9999")
    return due_us


def _key(name: str, key: object) -> str:
    if isinstance(key, UUID) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    if not isinstance(key, str):
        raise IntentUnfit(
            f"intent {name!r} has the idempotency key {_shown(key)}; a key is text, a UUID or a whole number"
        )
    if not 1 <= len(key) <= KEY_CHARACTERS or not key.isprintable():
        raise IntentUnfit(
            f"intent {name!r} has the idempotency key {_shown(key)}; a key has 1 to {KEY_CHARACTERS} printable characters"
        )
    return str(key)


def _receiver(spec: IntentSpec, to: object) -> str:
    if spec.kind != _SEND:
        if to != "":
            raise IntentUnfit(f"intent {spec.name!r} is a {spec.kind}, and has no receiver; it is given {_shown(to)}")
        return ""
    if isinstance(to, WorkflowKey):
        if to.workflow_type != spec.target:
            raise IntentUnfit(f"intent {spec.name!r} is sent to a {spec.target!r}, not to {_shown(to)}")
        to = to.instance_id
    if isinstance(to, UUID) or (isinstance(to, int) and not isinstance(to, bool)):
        to = str(to)
    if not isinstance(to, str):
        raise IntentUnfit(
            f"intent {spec.name!r} is sent to {_shown(to)}; a receiver is an instance id: text, a UUID or a number"
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
    name: str = ""
    workflow_key: WorkflowKey | None = None
    version: int = Field(default=0, ge=0, description="the version whose action emitted it")
    n: int = Field(default=0, ge=0, description="which of the intents of this name in that step")
    attempt: int = Field(default=1, ge=1)
    priority: EnumIntentPriority = EnumIntentPriority.NORMAL
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)

    def serialize_payload(self) -> dict[str, JsonValue]:
        """The payload as JSON, for effects that send it."""
        return self.payload.model_dump(mode="json")
