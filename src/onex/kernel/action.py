"""Action: one thing that happened to one instance, as a reducer sees it. ModelAction: the same as a message from outside.

The rule: an action carries everything that its reducer may know besides the state. Its time is the only "now" of a reducer,
and new ids are made from its id, so a replay makes the same ones. No reducer needs a clock or a random number.

An action from outside is a ModelAction: JSON of any sender, not yet judged. The engine's intake checks it, gives it an id and a
time if it has none, and makes an Action of it: a typed payload, and ids and times in the form that is cheap to handle.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
from unicodedata import is_normalized
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from .errors import InvalidKey
from .model_facts import Value
from .user_code import a_type

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
TYPE_CHARACTERS = 64
ID_BYTES = 16
INSTANCE_ID_BYTES = 200


@lru_cache(1024)
def _is_type(text: str) -> bool:
    # Called for short text only: the cache keeps what it is given.
    return _TYPE.fullmatch(text) is not None


class Payload(Value):
    """Base of typed payloads: frozen, no unknown fields, no NaN or infinity. It may stay in a log for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Nothing(Payload):
    """The payload of a trigger that carries none."""


NOTHING = Nothing()


class Blob(Payload):
    """A reference to large bytes. State, log and ``delta`` hold the reference; only effects and compute read the bytes.

    ``digest`` is BLAKE3 of the bytes, 64 hex digits; ``size`` in bytes. Equal bytes are one blob.
    """

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    media_type: str = "application/octet-stream"


P = TypeVar("P", bound=BaseModel)


class WorkflowKey(NamedTuple):
    """The address of one instance. Order, isolation, locks, leases and partitions are all per key."""

    workflow_type: str
    instance_id: str

    def __str__(self) -> str:
        return f"{self.workflow_type}:{self.instance_id}"

    @classmethod
    def of(cls, workflow_type: str, instance_id: str) -> WorkflowKey:
        """A checked key. Raises InvalidKey: type ``[a-z][a-z0-9_]{0,63}``, id 1-200 bytes of NFC text, no controls."""
        if type(workflow_type) is not str or type(instance_id) is not str:
            workflow_type, instance_id = _text(workflow_type, "workflow type"), _text(instance_id, "instance id")
        if len(workflow_type) > TYPE_CHARACTERS or not _is_type(workflow_type):
            raise InvalidKey(f"workflow type {workflow_type[:80]!r} must match [a-z][a-z0-9_]{{0,63}}")
        if instance_id.isascii() and instance_id.isprintable() and 1 <= len(instance_id) <= INSTANCE_ID_BYTES:
            return cls(workflow_type, instance_id)
        if _CONTROL.search(instance_id):
            raise InvalidKey(f"instance id {instance_id[:80]!r} holds a control character or a lone surrogate")
        size = len(instance_id.encode())
        if not 1 <= size <= INSTANCE_ID_BYTES:
            raise InvalidKey(f"instance id has {size} bytes; allowed are 1 to {INSTANCE_ID_BYTES}")
        if not is_normalized("NFC", instance_id):
            raise InvalidKey(f"instance id {instance_id!r} is not NFC text; normalise it before sending")
        return cls(workflow_type, instance_id)

    @classmethod
    def parse(cls, text: str) -> WorkflowKey:
        """``type:id``, split at the first colon. Raises InvalidKey."""
        return _parsed(text if type(text) is str else _text(text, "workflow key"))


def _text(value: object, what: str) -> str:
    """``value`` as a plain ``str``: of a subclass too, such as a member of a ``StrEnum``. Raises InvalidKey."""
    if isinstance(value, str):
        return str.__str__(value)
    raise InvalidKey(f"{what} is {a_type(value)}; give text")


@lru_cache(16_384)
def _parsed(text: str) -> WorkflowKey:
    # Cached, because an instance gets many actions, and these checks were a quarter of the time of the intake.
    workflow_type, colon, instance_id = text.partition(":")
    if not colon:
        raise InvalidKey(f"{text[:80]!r} is not a workflow key; write TYPE:INSTANCE, for example orders:4711")
    return WorkflowKey.of(workflow_type, instance_id)


class OutcomeOf(NamedTuple):
    """The intent that an outcome, a timer's trigger or a delivered message comes of.

    ``n`` counts, from 0, the intents of that name in the step that emitted it; ``version`` is the version this step made. Of a
    message, all four are the sender's. ``name`` is what the contract calls the intent; the id stays where that was renamed.
    """

    intent_id: UUID
    name: str
    n: int
    version: int

    def packed(self) -> bytes:
        """As it is stored behind the cause of a log row: 16 bytes of id, then ``version/n/name``."""
        return self.intent_id.bytes + f"{self.version}/{self.n}/{self.name}".encode()

    @classmethod
    def unpacked(cls, data: bytes) -> OutcomeOf:
        """Raises ValueError for bytes that ``packed`` never gives."""
        version, n, name = data[ID_BYTES:].decode().split("/", 2)
        return cls(UUID(bytes=data[:ID_BYTES]), name, int(n), int(version))


class Action(NamedTuple, Generic[P]):
    """What ``delta`` is called with. Ids are 16 raw bytes, times whole microseconds; properties give UUID and datetime.

    ``cause`` is the id of the action that led to this one; ``through`` is which of its intents, packed: read ``outcome_of``.

    A tuple, because one process makes millions of these: building one costs a third of building a frozen dataclass.
    """

    key: WorkflowKey
    kind: str
    payload: P
    id: bytes
    issued_us: int
    correlation: bytes
    issuer: str = ""
    cause: bytes | None = None
    through: bytes = b""

    @property
    def outcome_of(self) -> OutcomeOf | None:
        """The intent whose outcome this is, or whose timer or message; None for an action that anybody else sent.

        None too for an outcome that was recorded before ONEX wrote this down: such a row replays as it was made, without it.
        """
        return OutcomeOf.unpacked(self.through) if self.through else None

    @property
    def action_id(self) -> UUID:
        """The caller's id, or one that the engine made."""
        return UUID(bytes=self.id)

    @property
    def correlation_id(self) -> UUID:
        """The id of the action that began the conversation: its own, if no other did."""
        return UUID(bytes=self.correlation)

    @property
    def issued_at(self) -> datetime:
        """Aware UTC: when the engine accepted the action, never earlier than the instance's previous one."""
        return EPOCH + timedelta(microseconds=self.issued_us)

    def intent_id_of(self, name: str, n: int = 0) -> UUID:
        """The id of an intent that the step of this action emits: the ``n``-th of that name, from 0. ``cancel`` takes it later.

        In a part of a combined reducer the name begins with that part: ``tables.extract``.
        """
        return uuid5(self.action_id, f"{self.key}/{name}/{n}")

    def mint(self, name: str) -> UUID:
        """A new id, the same at every replay: ``uuid5(action_id, name)``."""
        return uuid5(self.action_id, name)


def micros(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; times are aware UTC")
    return (moment - EPOCH) // _MICROSECOND


class EnumActionType(StrEnum):
    """What the engine should do with a command. The trigger is ``ModelAction.kind``."""

    START_WORKFLOW = "start_workflow"
    DELEGATE_TASK = "delegate_task"
    UPDATE_STATE = "update_state"
    ABORT_WORKFLOW = "abort_workflow"
    CHECKPOINT_STATE = "checkpoint_state"
    ROLLBACK_STATE = "rollback_state"


class EnumActionStatus(StrEnum):
    """The progress of a command. It is read from the log, never written into the action."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ModelAction(BaseModel):
    """A command as a message: data from outside, which the intake checks. Frozen: a command does not change once issued."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workflow_key: WorkflowKey
    kind: str = Field(description="the trigger asked for, for example 'place'")
    command_payload: dict[str, JsonValue] = Field(default_factory=dict)
    action_id: UUID | None = Field(default=None, description="the caller's id for dedup; minted when absent")
    action_type: EnumActionType = EnumActionType.UPDATE_STATE
    target_node: str = "reducer"
    correlation_id: UUID | None = None
    issued_at: AwareDatetime | None = Field(default=None, description="stamped by the engine when it accepts")
    expires_at: AwareDatetime | None = None
    lease_id: UUID | None = None
    epoch: int | None = Field(default=None, ge=0, strict=True)
    expected_version: int | None = Field(
        default=None, ge=0, strict=True, description="refused at any other version of the instance"
    )
    parent_action_id: UUID | None = None
    issuer: str = ""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
