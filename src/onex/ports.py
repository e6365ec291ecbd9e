"""Everything the engine asks of the world, on one page. An adapter is a leaf that keeps one of these promises.

What crosses the ports stands in ``records``; both are imported from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from pydantic import BaseModel

from .kernel.action import WorkflowKey
from .kernel.intent import ModelIntent
from .kernel.membership import LiveWorker, Membership, ShardOwner, Worker
from .kernel.search import SearchCode, SearchField, SearchFill, SearchSpec
from .kernel.search_query import SearchPlace, SearchQuery
from .kernel.user_code import StepGuard, StepOverrun
from .records import (
    REJECTION_KEPT_US,
    Applied,
    Attempt,
    Code,
    Commit,
    Conflict,
    Counts,
    EnumAttempt,
    EnumInFlight,
    EnumOutboxState,
    Env,
    InboxAnswer,
    InboxRow,
    InFlight,
    KeyChange,
    LogEntry,
    LogRow,
    NewBlob,
    NewIntent,
    Note,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    Rejection,
    RejectionRow,
    SnapshotRow,
    Stored,
)

STUCK = b"\xff"
"""See ``Store.judged``. No record begins with it."""

# --- ports ------------------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The only time there is."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Seconds, for durations only."""

    async def sleep(self, seconds: float) -> None:
        """Returns when so much of this clock's time has passed."""


class Interpreter(Protocol):
    """What an engine tells the Python process in which it runs. None of it may raise."""

    def start(self) -> None:
        """The engine begins."""

    def idle(self) -> None:
        """There is nothing to write at this moment. Called often."""

    def give_way(self) -> None:
        """A commit is under way, perhaps in another thread that waits to run Python: let it, for some microseconds."""

    def close(self) -> None:
        """The engine has ended. Idempotent."""


class Ids(Protocol):
    """New ids: UUIDv7, 16 bytes, rising within one process."""

    def new(self) -> bytes:
        """16 bytes, greater than the last ones."""


class Store(Protocol):
    """The owner's side of a store: one process owns a shard; all that must be consistent is one ``commit``.

    ``shards`` is how many it has, fixed when it is made: 0, 1 ... ``shards`` - 1. A process takes them all (``own``), or shares
    them with others (``ShardLeases``). ``waiting`` and ``inbox`` tell of the shards that this process has at that moment.

    Any method raises DatabaseConnectionError, TemporaryDatabaseError, StateConsistencyError as they come.
    """

    @property
    def shards(self) -> int:
        """How many shards the store has."""

    async def own(self, owner: str) -> Mapping[int, int]:
        """Take all shards, for this process alone: ``{shard: fence}``, each fence higher than any before.

        Empty, and nothing is taken: another process has the store, or workers share it.
        """

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        """``(code_id, env_id)``, the same for the same values."""

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        """Those that exist."""

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        """The log row of this action, for dedup."""

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        """One transaction; one answer per change, in order. A conflicting change is left out, the rest is applied.

        Inside the transaction are checked: the fences (raises FencedError; nothing applied), per change the version, the
        lease seen and that no action id is in the log already. Durable when it returns. Raises TemporaryDatabaseError
        (nothing applied) and CommitUnknown (perhaps applied).
        """

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        """Outbox rows in state waiting, in pointer order: with None the intents that are no timers, else timers due before then."""

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        """Unanswered inbox rows by ticket."""

    def judging(self, record: bytes) -> None:
        """Remember ``record``, at most 64 KiB, in place of the last one, for who owns the store after a crash of this process.

        b'' when no user code runs. It survives the end of the process, not of the machine; it costs a write to memory and never
        waits for the disk. Raises nothing: a disk that is full keeps the old record or none.
        """

    async def judged(self) -> bytes:
        """The last record of the owner before; b'' after an orderly end. Read once, after ``own`` or ``join``.

        Where that process was ended because user code did not return, ``STUCK``, where it was, and a line feed stand before it.
        """

    async def woken(self) -> None:
        """Returns when another process may have written into the inbox.

        Where that signal can be lost, it returns after some seconds without one: the caller then looks.
        """

    async def close(self) -> None:
        """Frees what was owned. Idempotent."""


class Reader(Protocol):
    """What any process may read, the owner's too. Rows that are there are durable."""

    @property
    def shards(self) -> int:
        """How many shards the store has."""

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        """Those that exist."""

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        """By (type, id). ``timers`` are left empty."""

    async def codes(self) -> Mapping[int, Code]:
        """``{code_id: code}``, all that rows were made by."""

    async def envs(self) -> Mapping[int, Env]:
        """``{env_id: environment}``, all that rows were made under."""

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        """Rows of ``after.shard`` with n > ``after.n``, in order: what a tail follows."""

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        """Rows of one instance with version > ``after``, in order."""

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        """The newest snapshot with version <= ``at_most``."""

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        """Rows in one of these states, of one instance or of all, in pointer order, behind ``after``."""

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        """Newest first, of one instance (``type:id``) or one action id, or all; ``after`` skips as many."""

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        """The ``limit`` newest kept tries of this instance's intents: by pointer, and each intent's in their order."""

    async def blob(self, digest: bytes) -> bytes | None:
        """The bytes, which are not compared with the digest here; None when none are kept."""

    async def counts(self) -> Counts:
        """Rows by table, instances by type and status, as of one moment."""

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        """By name, type and schema: of the ``limit`` newest instances those that have not ended, then the first ``limit``
        intents of the outbox, then at most ``limit`` held outcomes."""

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        """Unanswered inbox rows by ticket."""

    async def close(self) -> None:
        """Idempotent."""


class Sender(Protocol):
    """How a process that does not own an instance submits to the one that does."""

    @property
    def shards(self) -> int:
        """How many shards the store has."""

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        """Durable when it returns; the ticket to ask with. ``shard`` is that of the key in ``body`` (``kernel.route.shard_of``);
        0 where it names none.
        Raises InvalidPayload, PayloadTooLarge: see ``kernel.size_limits.check_body``.
        """

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        """The same for many in one transaction: all or none. A ticket for each, in their order and rising.
        ``shards`` stand where their bodies stand; none given: all 0.
        """

    async def answer(self, ticket: int) -> bytes | None:
        """The owner's answer, once there is one."""

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        """The answers of these tickets, of those that have one."""


class ShardLeases(Protocol):
    """How the processes that share a store know of each other, and who has which shard.

    Every time here is the store's own: the clock of a worker is never compared with anything. The fence alone keeps a commit of
    a former owner out; a lease only says when others may take what it had.
    """

    async def join(self, worker: Worker) -> None:
        """Become a worker with a lease that runs, and without shards. Raises OwnershipLost where one process has the store
        for itself."""

    async def beat(self) -> Membership:
        """Renew this worker's lease, and look. A lease that had run out runs again; shards taken meanwhile are another's."""

    async def look(self) -> Membership:
        """The same look, for any process: no lease is renewed."""

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        """Of these, those that are free or whose worker's lease has run out: ours now, ``{shard: fence}``, each fence raised."""

    async def give(self, shards: Collection[int]) -> None:
        """Those of these that are ours are free. Nothing of them is committed after it."""

    async def leave(self) -> None:
        """All that is ours is free, and the worker is forgotten. Idempotent."""

    async def workers_changed(self) -> None:
        """Returns when a worker may have joined, left or given a shard. The signal can be lost; ``beat`` tells what is."""


class Cut(NamedTuple):
    """The log rows of one instance behind version ``was``, its ``cut`` so far, up to version ``to`` are to go."""

    key: WorkflowKey
    was: int
    to: int


class Retention(Protocol):
    """How a log is kept short. Any process may ask, beside the owner: each call is judged by what is stored at that moment."""

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        """Remove these rows, with kept states and attempts of theirs, in one transaction. ``dry``: say only what could go.
        False: it stays, since no batch ends at ``to``, the state there is neither kept nor the current one, an intent up to
        there is open, a projection has not read it, or it is the last row of its shard."""

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        """Digest and size, by digest, behind ``after``: blobs kept since ``before_us`` or longer that no log row names."""

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        """Remove those that no log row names now; how many."""

    async def expire(self, at_us: int, *, dry: bool = False) -> int:
        """Remove answers, attempts and rejections that are past their time; how many rows. ``dry``: only count."""


class Projections(Protocol):
    """Tables built from the log: rows and watermark move in one transaction."""

    async def watermark(self, name: str, shard: int) -> int:
        """The last n applied; 0 before the first."""

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        """Upserts the rows and moves the watermark from ``from_n`` to ``to_n``; False, and nothing changed, when it stands
        elsewhere."""

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        """Rows with this tag, or all, in the order of type and id, behind ``after``."""


class SearchReads(Protocol):
    """How any process finds instances by their search fields and by what every instance has."""

    async def search_specs(self) -> Mapping[str, SearchSpec]:
        """By workflow type, of those that have search fields now."""

    async def find(
        self, query: SearchQuery, after: SearchPlace | None, limit: int
    ) -> Sequence[tuple[Stored, SearchCode]]:
        """A page, in the order of the query, behind ``after``; with each the code in the column of the order."""

    async def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        """How many are found, by the codes of a column, in their order with None first; one row for all where no column is
        given."""


class SearchTables(SearchReads, Protocol):
    """The owner's side of them: values move in the commit that changes the state (``KeyChange.search``)."""

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        """These types have these fields from now on, none where none are given; other types keep theirs. Another list than
        before is another spec, not filled unless there are no instances. Values of a type without fields are removed."""

    async def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        """Instances of its type that have no values of this spec, by id, behind the id ``after``. ``timers`` are left empty."""

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        """Write these, each where its instance still stands at that version. What a commit changes at that moment is left out."""

    async def search_filled(self, spec: SearchSpec) -> bool:
        """Mark the spec as filled. False, and nothing is marked, where an instance has no values of it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an effect or a compute function gave back, with the blobs its value names."""

    value: BaseModel | None
    blobs: tuple[NewBlob, ...] = ()


IntentExecutionResult = Result


class Executor(Protocol):
    """Serves the intents of one target. May be called again with the same idempotency key after a crash."""

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed (surely not done), EffectUnknown or anything else (perhaps done)."""


class Blobs(Protocol):
    """Bytes behind a ``Blob`` reference; effects and compute only."""

    async def read(self, digest: bytes) -> bytes:
        """Raises StateConsistencyError when no such blob is kept."""


class Telemetry(Protocol):
    """One stream of named events with plain fields: metrics, logs and health listen to it.

    A listener that has an attribute ``details``, and it is True, also gets one event per transition, refusal and attempt.
    """

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        """One event, as it happens, on the loop of the engine: it must not wait."""


__all__ = [
    "REJECTION_KEPT_US", "STUCK", "Applied", "Attempt", "Blobs", "Clock", "Code", "Commit", "Conflict", "Counts", "Cut",
    "EnumAttempt", "EnumInFlight", "EnumOutboxState", "Env", "Executor", "Ids", "InFlight", "InboxAnswer", "InboxRow",
    "IntentExecutionResult", "Interpreter", "KeyChange", "LiveWorker", "LogEntry", "LogRow", "Membership", "NewBlob",
    "NewIntent", "Note", "OutboxRow", "Pointer", "Position", "ProjectionRow", "Projections", "Reader", "Rejection",
    "RejectionRow", "Result", "Retention", "SearchCode", "SearchField", "SearchFill", "SearchPlace", "SearchQuery",
    "SearchReads", "SearchSpec", "SearchTables", "Sender", "ShardLeases", "ShardOwner", "SnapshotRow", "StepGuard",
    "StepOverrun", "Store", "Stored", "Telemetry", "Worker",
]  # fmt: skip
