"""A minimal owner for tests: it makes changes on what it has seen, commits them, and remembers what was applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self, TypedDict, Unpack

from ...code_use import CodeUses
from ...codec import KeyTables
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.lease import Lease
from ...kernel.route import shard_of
from ...kernel.search import SearchMove
from ...ports import (
    Applied,
    Attempt,
    Code,
    Commit,
    Conflict,
    Env,
    InboxAnswer,
    KeyChange,
    LogRow,
    NewBlob,
    NewIntent,
    Note,
    Pointer,
    Projections,
    Reader,
    Rejection,
    Retention,
    SearchTables,
    Sender,
    ShardLeases,
    Store,
    Stored,
)

CODE = Code("orders", "1.0.0", b"c" * 32, 1)
ENV = Env("0.1", "2.12", "3.11", "2025a", "")

A = WorkflowKey("orders", "a")
B = WorkflowKey("orders", "b")
C = WorkflowKey("parcels", "c")


def action(name: str) -> bytes:
    """A 16-byte id that reads as its name."""
    return name.encode().rjust(16, b".")


def row(name: str, *outbox: NewIntent, issued_us: int = 1_000, status: str = "open") -> LogRow:
    """An action named ``name``; each field has another value, so that a store which mixes two up is found."""
    text = name.encode()
    return LogRow(
        action(name), f"do_{name}", b'{"payload":"' + text + b'"}', issued_us, action("of " + name),
        action("by " + name), "tester", b"body hash of " + text, b"intents of " + text, status, outbox, 3,
    )  # fmt: skip


class AnyStore(Store, Reader, CodeUses, Sender, Projections, Retention, SearchTables, KeyTables, Protocol):
    """One object that implements all eight ports."""


class AnySharedStore(AnyStore, ShardLeases, Protocol):
    """One that many processes may share."""


class ChangeFields(TypedDict, total=False):
    instance: int | None
    based_on: int
    state: bytes
    state_schema: int
    state_hash: bytes
    status: str
    terminal: bool
    code_id: int
    env_id: int
    epoch: int
    failures: int
    held: str
    settled: tuple[Pointer, ...]
    row_blobs: tuple[tuple[int, bytes], ...]
    snapshot_before: bytes | None
    snapshot_after: bool
    lease_seen: bytes | None
    lease: Lease | None
    notes: tuple[Note, ...]
    rejections: tuple[Rejection, ...]
    answers: tuple[InboxAnswer, ...]
    search: SearchMove | None


class CommitFields(TypedDict, total=False):
    fences: Mapping[int, int]
    blobs: tuple[NewBlob, ...]
    notes: tuple[Note, ...]
    rejections: tuple[Rejection, ...]
    answers: tuple[InboxAnswer, ...]
    settled: tuple[Pointer, ...]
    at_us: int
    attempts: tuple[Attempt, ...]
    keys: tuple[WrappedKey, ...]


class Owner:
    """``seen[key]`` is ``(instance, version)`` after the last change of it that was applied."""

    def __init__(self, store: AnyStore, fences: Mapping[int, int], code_id: int, env_id: int) -> None:
        self.store = store
        self.fences = fences
        self.code_id = code_id
        self.env_id = env_id
        self.seen: dict[WorkflowKey, tuple[int, int]] = {}

    @classmethod
    async def of(cls, store: AnyStore) -> Self:
        fences = await store.own("tester")
        assert fences, "the store has another owner"
        return cls(store, fences, *await store.intern(CODE, ENV))

    def change(self, key: WorkflowKey, *rows: LogRow, **fields: Unpack[ChangeFields]) -> KeyChange:
        """A change based on what was seen last. Its state contains the version that it makes."""
        instance, version = self.seen.get(key, (None, 0))
        made = version + len(rows)
        status = rows[-1].status if rows else "open"
        change = KeyChange(
            key, instance, version, rows, b'{"v":%d}' % made, 1, b"hash %d" % made, status, False, self.code_id,
            self.env_id, shard=shard_of(key, self.store.shards),
        )  # fmt: skip
        return change._replace(**fields)

    async def commit(self, *changes: KeyChange, **fields: Unpack[CommitFields]) -> Sequence[Applied | Conflict]:
        outcomes = await self.store.commit(Commit(self.fences, changes)._replace(**fields))
        assert len(outcomes) == len(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Applied) and outcome.instance:
                self.seen[change.key] = outcome.instance, change.based_on + len(change.rows)
        return outcomes

    async def apply(self, key: WorkflowKey, *rows: LogRow, **fields: Unpack[ChangeFields]) -> Applied:
        """One change, which must be applied."""
        (outcome,) = await self.commit(self.change(key, *rows, **fields))
        assert isinstance(outcome, Applied), outcome
        return outcome

    async def stored(self, key: WorkflowKey) -> Stored:
        return (await self.store.load([key]))[key]
