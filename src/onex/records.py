"""Records: the rows a store writes and reads, as plain values. Adapters and engine speak in them across the ports.

Time is whole microseconds since 1970 UTC (``_us``); ids are 16 raw bytes; states, payloads and intents are canonical
bytes. A position is ``(shard, n)``, ``n`` dense per shard; ``(shard, n, ordinal)`` points at one intent of one log row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from .kernel.action import ID_BYTES, OutcomeOf, WorkflowKey
from .kernel.data_key import WrappedKey
from .kernel.lease import Lease
from .kernel.search import SearchMove


class Position(NamedTuple):
    """A place in the log. For one key, position order is version order; between keys it means nothing."""

    shard: int
    n: int


class Pointer(NamedTuple):
    """The outbox row of one intent: the log row that emitted it, and which of its intents."""

    shard: int
    n: int
    ordinal: int


class Code(NamedTuple):
    """What made a log row: bytes must be the same under the same code. ``digest`` is BLAKE3 (32 bytes)."""

    workflow_type: str
    contract_version: str
    digest: bytes
    state_schema: int


class Env(NamedTuple):
    """What a row was made under: named in a mismatch, never part of the code."""

    onex: str
    pydantic: str
    python: str
    tzdata: str
    git_revision: str


class EnumOutboxState(StrEnum):
    """``waiting``: to be run, also again. ``held``: its result waits for other code. ``dead``: it waits for an operator."""

    WAITING = "waiting"
    HELD = "held"
    DEAD = "dead"
    CANCELLED = "cancelled"
    """It ran when a step cancelled it. It is not started again, and waits for what comes of its last try."""


class NewIntent(NamedTuple):
    """An outbox row to be: ``ordinal`` in its log row's intents; ``timer`` names a timer, else ''. ``due_us`` 0 is now."""

    ordinal: int
    priority: int
    due_us: int = 0
    timer: str = ""


class LogRow(NamedTuple):
    """One applied action, as it will stand in the log. The store adds position and version.

    ``cause`` is the id of the action that led to this one, 16 bytes. Of an outcome, a timer's trigger or a message it goes on
    with the intent between the two (``OutcomeOf.packed``), unless an ONEX made the row that did not write it down.
    """

    action_id: bytes
    kind: str
    payload: bytes
    issued_us: int
    correlation: bytes
    cause: bytes | None
    issuer: str
    body_hash: bytes
    intents: bytes
    status: str
    outbox: tuple[NewIntent, ...] = ()
    payload_schema: int = 1

    @property
    def cause_id(self) -> bytes | None:
        """The id of the action that led to this one, without the intent between the two."""
        return self.cause[:ID_BYTES] if self.cause is not None else None

    @property
    def outcome_of(self) -> OutcomeOf | None:
        """The intent that this is the outcome, timer or message of. Raises ValueError in a damaged row."""
        through = b"" if self.cause is None else self.cause[ID_BYTES:]
        return OutcomeOf.unpacked(through) if through else None


class NewBlob(NamedTuple):
    """Bytes that this commit's rows name first. ``digest`` is BLAKE3 (32 bytes) of ``data``."""

    digest: bytes
    media_type: str
    data: bytes


class Note(NamedTuple):
    """A change to an outbox row that settles nothing: the next try, a recorded start, a held result, a death."""

    pointer: Pointer
    state: EnumOutboxState = EnumOutboxState.WAITING
    attempt: int = 0
    due_us: int = 0
    started: bool = False
    crashes: int = 0
    result: bytes = b""
    error: str = ""


REJECTED_BODY_BYTES: Final = 4096  # what a rejection keeps of the refused body: its first bytes
REJECTION_KEPT_US: Final = 7 * 24 * 3600 * 1_000_000  # after it was last seen; a store may drop what is older


class Rejection(NamedTuple):
    """A refusal to be looked up, one row per (key text or source, action id, code). ``trace``: where user code raised, or ''."""

    key: str
    action_id: bytes
    code: str
    message: str
    body: bytes
    at_us: int
    trace: str = ""


ATTEMPTS_KEPT: Final = 20  # tries of one intent that a store keeps, the newest; for how long: as rejections


class EnumAttempt(StrEnum):
    """``failed``: surely nothing was done. ``crashed``, ``cut_off``: its process ended, or its engine closed, while it ran."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CRASHED = "crashed"
    CUT_OFF = "cut_off"


class Attempt(NamedTuple):
    """One try of an intent that did not succeed, or the one that did after others. It stays when the intent is settled.

    ``began_us`` is 0 where the process ended before it could say. ``trace``: where code of the user raised, else ''.
    Written twice, with the same pointer, number and beginning, it is one row."""

    pointer: Pointer
    attempt: int
    began_us: int
    ended_us: int
    outcome: EnumAttempt
    code: str = ""
    message: str = ""
    trace: str = ""


class InboxAnswer(NamedTuple):
    """What the owner answers an inbox row: JSON of a Committed, or of an error. ``shard`` is the row's."""

    ticket: int
    answer: bytes
    at_us: int
    shard: int = 0


class KeyChange(NamedTuple):
    """All that one batch changes for one key: checked as a whole, applied as a whole, or not at all.

    ``based_on`` is the version these rows were folded on, ``instance`` its integer id (None: the key is new). ``settled``
    outbox rows are deleted with it; a change may have no rows, and only settle or set the ``lease`` that stands from then on.
    Its ``notes``, ``rejections`` and ``answers`` are written exactly when the change is applied. ``row_blobs`` pairs the index
    of a row with the digest of a blob it names. ``snapshot_before`` writes the state before the first row (a change of code),
    ``snapshot_after`` the one after the last. ``search``: what of its search fields
    changes. ``shard`` is the key's (``kernel.route.shard_of``).
    """

    key: WorkflowKey
    instance: int | None
    based_on: int
    rows: tuple[LogRow, ...]
    state: bytes
    state_schema: int
    state_hash: bytes
    status: str
    terminal: bool
    code_id: int
    env_id: int
    epoch: int = 0
    failures: int = 0
    held: str = ""
    settled: tuple[Pointer, ...] = ()
    row_blobs: tuple[tuple[int, bytes], ...] = ()
    snapshot_before: bytes | None = None
    snapshot_after: bool = False
    lease_seen: bytes | None = None
    notes: tuple[Note, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    answers: tuple[InboxAnswer, ...] = ()
    shard: int = 0
    lease: Lease | None = None
    search: SearchMove | None = None


class Commit(NamedTuple):
    """Everything one batch changes, for one transaction. ``fences`` names each shard it writes in, and what it was taken with.

    ``settled`` rows are deleted without an action: their intents succeeded, and have no outcome. ``attempts`` of an intent that
    the log does not have are left out. ``keys`` are of instances and blobs that are new.
    """

    fences: Mapping[int, int]
    changes: tuple[KeyChange, ...] = ()
    blobs: tuple[NewBlob, ...] = ()
    notes: tuple[Note, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    answers: tuple[InboxAnswer, ...] = ()
    settled: tuple[Pointer, ...] = ()
    at_us: int = 0
    attempts: tuple[Attempt, ...] = ()
    keys: tuple[WrappedKey, ...] = ()

    @property
    def is_empty(self) -> bool:
        """There is nothing to write; ``fences`` and ``at_us`` alone are no reason for a transaction."""
        return not any((*self[1:7], self.attempts))


class Applied(NamedTuple):
    """A change that was applied: its rows stand at ``first.n ... first.n + len(rows) - 1``."""

    instance: int
    first: Position


class Conflict(NamedTuple):
    """A change that was not applied; its neighbours were. ``duplicates``: action ids of it the log already has."""

    version: int
    duplicates: frozenset[bytes] = frozenset()
    lease: bool = False


class Stored(NamedTuple):
    """The current row of one instance. ``timers[name]`` are its waiting timers; ``last_us`` the last ``issued_us``. Log rows up
    to version ``cut`` were moved to an archive; 0 for none."""

    key: WorkflowKey
    instance: int
    version: int
    epoch: int
    status: str
    terminal: bool
    state: bytes
    state_schema: int
    state_hash: bytes
    code_id: int
    position: Position
    last_us: int
    failures: int
    held: str
    lease_id: bytes | None
    lease_until_us: int
    timers: Mapping[str, tuple[Pointer, int]]
    cut: int = 0


class LogEntry(NamedTuple):
    """A row of the log, with where and when it stands. ``state_hash`` is set in the last row of a key's batch, else b''."""

    position: Position
    key: WorkflowKey
    version: int
    row: LogRow
    code_id: int
    env_id: int
    state_hash: bytes


class OutboxRow(NamedTuple):
    """An intent that is not settled, with its log row. ``started``: so it was recorded; ``started_now``: by the newest owner."""

    pointer: Pointer
    key: WorkflowKey
    version: int
    action_id: bytes
    correlation: bytes
    intents: bytes
    state: EnumOutboxState
    priority: int
    due_us: int
    attempt: int
    started: bool
    crashes: int
    timer: str
    result: bytes
    error: str
    payload_schema: int
    started_now: bool = False
    code_id: int = 0  # of the action that emitted it


class SnapshotRow(NamedTuple):
    """A kept state: the state *after* ``version``. Folding the rows behind it gives any later one."""

    key: WorkflowKey
    version: int
    state: bytes
    state_schema: int
    code_id: int
    state_hash: bytes


class Damage(NamedTuple):
    """Something stored that contradicts itself. ``key`` is the instance it is found under; None where there is none."""

    key: WorkflowKey | None
    what: str


class RejectionRow(NamedTuple):
    """``times`` equal refusals. ``key`` is empty where none could be read; ``body`` is the beginning of what was sent, as JSON."""

    key: str
    action_id: bytes
    code: str
    message: str
    body: bytes
    times: int
    first_us: int
    last_us: int
    trace: str = ""


class InboxRow(NamedTuple):
    """An action another process submits: kept when durable, folded when the owner takes it. ``body`` is ModelAction JSON."""

    ticket: int
    body: bytes
    at_us: int
    answer: bytes | None = None
    shard: int = 0


class Counts(NamedTuple):
    """What a store holds: rows by table, and instances by (type, status)."""

    instances: int
    actions: int
    outbox: Mapping[str, int]
    rejections: int
    by_status: Mapping[tuple[str, str], int]


class EnumInFlight(StrEnum):
    """``state``: an instance that has not ended stands in status ``name``. ``intent``: one of that name waits, or is dead.
    ``outcome``: a held one is to be delivered by trigger ``name``."""

    STATE = "state"
    INTENT = "intent"
    OUTCOME = "outcome"


class InFlight(NamedTuple):
    """What goes on in a store, by name: ``rows`` of one kind, type, schema and name, as the store spells it, ``first`` of them.

    ``timer``: intents that are timers. ``pointer``: where the first intent or outcome stands. A name that cannot be read is ''."""

    what: EnumInFlight
    workflow_type: str
    schema: int
    name: str
    rows: int
    first: WorkflowKey
    timer: bool = False
    pointer: Pointer | None = None


class ProjectionRow(NamedTuple):
    """One row of a projection: ``fields`` is a JSON object. ``version`` guards it: an older one never overwrites."""

    key: WorkflowKey
    version: int
    tag: str
    last_action: str
    fields: bytes
