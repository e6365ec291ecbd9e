"""Intent: a side effect as data. A reducer says WHAT should happen; who does it, when and how often is not its business.

Four shapes of one thing, in the order it travels: a *draft* (what a handler returns: a payload, or ``intent(...)``), an
``Emitted`` (joined with the contract's ``IntentSpec``; what the log stores), a pointer in the outbox, and a
``ModelIntent`` (what an effect is given).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializeAsAny

from .action import Payload, WorkflowKey, micros
from .errors import ValidationError
from .retry import RetryPolicy

P = TypeVar("P", bound=BaseModel)


class EnumIntentType(StrEnum):
    """Kinds of side effect: six of the seed documents, then the three the engine serves itself. Apps register more."""

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
    """Order of claiming, most urgent first; a waiting intent moves up one step every 30 s."""

    rank: int
    """0 is most urgent. An attribute: a look-up by member would hash its name for every intent there is."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"

    def __init__(self, value: str) -> None:
        self.rank = len(type(self).__members__)


class EnumDelivery(StrEnum):
    """What a crash between start and answer means: run again with the same key, or ask the workflow what to do."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class EnumOutcome(StrEnum):
    """Each intent that is not fire and forget ends in exactly one of these."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Failure(Payload):
    """Payload of a ``failed`` or ``unknown`` outcome: why, after how many attempts."""

    code: str
    message: str
    attempts: int


@dataclass(frozen=True, slots=True)
class IntentSpec:
    """One line of a contract's ``intents:``: who serves it, and what each outcome becomes.

    ``outcomes[outcome] -> trigger``; empty says fire and forget. ``trigger`` is what a ``timer`` fires and what an
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


class Draft(NamedTuple):
    """What a handler asks for, before the contract is joined. Build it with the functions below."""

    name: str
    payload: BaseModel | None = None
    priority: EnumIntentPriority | None = None
    due: datetime | None = None
    idempotency_key: str | None = None
    to: str = ""
    cancelled: bool = False


class Emitted(NamedTuple):
    """A draft joined with its spec: the form that is encoded into the log. ``due_us`` 0 is now."""

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
    priority: EnumIntentPriority | None = None,
    not_before: datetime | None = None,
    idempotency_key: str | None = None,
) -> Draft:
    """An intent by its contract name: needed when two intents share a payload class, or to set more than the payload."""
    return Draft(name, payload, priority, not_before, idempotency_key)


def timer(name: str, at: datetime) -> Draft:
    """Fire the contract's timer ``name`` once, at or after ``at``. Set again it is replaced."""
    return Draft(name, due=at)


def cancel(name: str) -> Draft:
    """Remove the timer ``name`` if it waits."""
    return Draft(name, cancelled=True)


def send(name: str, instance_id: str, payload: BaseModel | None = None) -> Draft:
    """An action for another instance, by the contract's ``action_send`` intent ``name``; applied there once."""
    return Draft(name, payload, to=instance_id)


class IntentNotDeclared(ValidationError):
    """A handler emitted what its contract's ``intents:`` does not list, or with the wrong payload."""

    code = "intent_not_declared"


class IntentTable:
    """A contract's intents, by name and by payload class: ``join`` turns what a handler returned into what is stored."""

    __slots__ = ("_by_class", "_only", "by_name")

    def __init__(self, specs: Mapping[str, IntentSpec]) -> None:
        self.by_name = dict(specs)
        self._by_class: dict[type[BaseModel], list[IntentSpec]] = {}
        for spec in specs.values():
            if spec.payload is not None:
                self._by_class.setdefault(spec.payload, []).append(spec)
        self._only = {payload: specs[0] for payload, specs in self._by_class.items() if len(specs) == 1}

    def join_all(self, drafts: Iterable[BaseModel | Draft]) -> tuple[Emitted, ...]:
        """In their order. Raises IntentNotDeclared."""
        emitted: list[Emitted] = []
        for draft in drafts:
            if not isinstance(draft, Draft) and (spec := self._only.get(type(draft))) is not None:
                emitted.append(Emitted(spec, draft, spec.priority))
            else:
                emitted.append(self.join(draft))
        return tuple(emitted)

    def join(self, draft: BaseModel | Draft) -> Emitted:
        """Raises IntentNotDeclared, naming what the contract does list."""
        if not isinstance(draft, Draft):
            spec = self._only.get(type(draft))
            if spec is not None:
                return Emitted(spec, draft, spec.priority)
            specs = self._by_class.get(type(draft))
            if specs is None:
                raise IntentNotDeclared(
                    f"{type(draft).__name__} is the payload of no intent in the contract; it lists {self._listed()}"
                )
            names = ", ".join(spec.name for spec in specs)
            raise IntentNotDeclared(
                f"{type(draft).__name__} is the payload of several intents ({names}); say intent(name, payload)"
            )
        name, payload, priority, due, idempotency_key, to, cancelled = draft
        spec = self.by_name.get(name)
        if spec is None:
            raise IntentNotDeclared(f"intent {name!r} is not in the contract; it lists {self._listed()}")
        if not cancelled and (type(payload) if payload is not None else None) is not spec.payload:
            wanted = spec.payload.__name__ if spec.payload else "no payload"
            raise IntentNotDeclared(f"intent {name!r} carries {type(payload).__name__}; the contract says {wanted}")
        kind = spec.kind
        if kind == _TIMER and due is None and not cancelled:
            raise IntentNotDeclared(f"timer {name!r} needs a time: timer({name!r}, at)")
        if cancelled and kind != _TIMER:
            raise IntentNotDeclared(f"{name!r} is a {kind}; only timers can be cancelled")
        if kind == _SEND and not to:
            raise IntentNotDeclared(f"{name!r} needs a receiver: send({name!r}, instance_id, payload)")
        due_us = micros(due) if due is not None else 0
        return Emitted(spec, payload, priority or spec.priority, due_us, idempotency_key, to, cancelled)

    def _listed(self) -> str:
        return ", ".join(sorted(self.by_name)) or "none"


def intent_id(action_id: UUID, key: WorkflowKey, name: str, n: int) -> UUID:
    """``uuid5(action_id, "type:instance/name/n")``; ``n`` counts from 0 the intents of that name in that step."""
    return uuid5(action_id, f"{key}/{name}/{n}")


def outcome_id(intent: UUID) -> UUID:
    """The action id of an intent's one outcome."""
    return uuid5(intent, "outcome")


def sent_id(intent: UUID) -> UUID:
    """The action id under which an ``action_send`` is applied at its receiver."""
    return uuid5(intent, "sent")


class ModelIntent(BaseModel, Generic[P]):
    """What an effect is given: typed, immutable, and all it needs to act once. Serialize at the edge, not before.

    ``idempotency_key`` is the same at every attempt: send it to the far side. ``attempt`` counts from 1.
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
        """For effects, at the I/O boundary only."""
        return self.payload.model_dump(mode="json")
