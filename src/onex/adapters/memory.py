"""A store in memory, for tests and simulation: the promises of ``ports`` with nothing between them and a dict.

Several stores may share one ``Tables``, as several processes share a file; then closing one loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ..kernel.action import WorkflowKey
from ..kernel.errors import EngineClosed, FencedError
from ..ports import (
    Applied,
    Code,
    Commit,
    Conflict,
    Counts,
    EnumOutboxState,
    Env,
    InboxRow,
    KeyChange,
    LogEntry,
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
from .refusal import ANSWER_KEPT_US, KEPT_US, ROWS, storable, storable_text


@dataclass
class Tables:
    """What is stored. ``log[n - 1]`` stands at n; ``versions[key][v - 1]`` is the n of version v."""

    owner: object = None
    fence: int = 0
    log: list[LogEntry] = field(default_factory=list)
    stored: dict[WorkflowKey, Stored] = field(default_factory=dict)
    versions: dict[WorkflowKey, list[int]] = field(default_factory=dict)
    actions: dict[tuple[WorkflowKey, bytes], int] = field(default_factory=dict)
    outbox: dict[Pointer, OutboxRow] = field(default_factory=dict)
    timers: dict[WorkflowKey, list[Pointer]] = field(default_factory=dict)
    rejections: dict[tuple[str, bytes, str], RejectionRow] = field(default_factory=dict)
    snapshots: dict[WorkflowKey, dict[int, SnapshotRow]] = field(default_factory=dict)
    blobs: dict[bytes, NewBlob] = field(default_factory=dict)
    codes: dict[Code, int] = field(default_factory=dict)
    envs: dict[Env, int] = field(default_factory=dict)
    tickets: int = 0
    inbox: dict[int, InboxRow] = field(default_factory=dict)
    answered_us: dict[int, int] = field(default_factory=dict)
    projected: dict[tuple[str, WorkflowKey], ProjectionRow] = field(default_factory=dict)
    watermarks: dict[tuple[str, int], int] = field(default_factory=dict)
    sent: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryStore:
    """Store, Reader, Sender and Projections. A commit runs between two awaits, so it is seen whole or not at all."""

    shards = 1

    def __init__(self, tables: Tables | None = None, *, rejections_kept: int = ROWS) -> None:
        self._tables = Tables() if tables is None else tables
        self._cap = rejections_kept
        self._closed = False

    @property
    def tables(self) -> Tables:
        if self._closed:
            raise EngineClosed("this store was closed; open another on its tables")
        return self._tables

    async def own(self, owner: str) -> Mapping[int, int]:
        tables = self.tables
        if tables.owner is not None:
            return {}
        tables.owner, tables.fence = self, tables.fence + 1
        return {0: tables.fence}

    async def close(self) -> None:
        if self._tables.owner is self:
            self._tables.owner = None
        self._closed = True

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        codes, envs = self.tables.codes, self.tables.envs
        return codes.setdefault(code, len(codes) + 1), envs.setdefault(env, len(envs) + 1)

    async def codes(self) -> Mapping[int, Code]:
        return {number: code for code, number in self.tables.codes.items()}

    async def envs(self) -> Mapping[int, Env]:
        return {number: env for env, number in self.tables.envs.items()}

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return {key: self._with_timers(key) for key in keys if key in self.tables.stored}

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        n = self.tables.actions.get((key, action_id))
        return None if n is None else self.tables.log[n - 1]

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        tables = self.tables
        if commit.fences.get(0) != tables.fence:
            raise FencedError(f"fence {commit.fences.get(0)} is not the shard's {tables.fence}", fence=tables.fence)
        notes, rejections, answers = list(commit.notes), list(commit.rejections), list(commit.answers)
        outcomes: list[Applied | Conflict] = []
        for change in commit.changes:
            outcomes.append(self._conflict(change) or self._apply(change))
            if isinstance(outcomes[-1], Applied):
                notes += change.notes
                rejections += change.rejections
                answers += change.answers
        for blob in commit.blobs:
            tables.blobs.setdefault(blob.digest, blob)
        for pointer in commit.settled:
            tables.outbox.pop(pointer, None)
        for note in notes:
            self._note(note)
        for answer in answers:
            if (row := tables.inbox.get(answer.ticket)) is not None and row.answer is None:
                tables.inbox[answer.ticket] = row._replace(answer=answer.answer)
                tables.answered_us[answer.ticket] = answer.at_us
        for rejection in rejections:
            self._reject(storable(rejection))
        self._sweep(commit.at_us)
        return outcomes

    def _conflict(self, change: KeyChange) -> Conflict | None:
        stored = self.tables.stored.get(change.key)
        instance, version, lease_id = (stored.instance, stored.version, stored.lease_id) if stored else (None, 0, None)
        ids = Counter(row.action_id for row in change.rows)
        known = {one for one, times in ids.items() if times > 1 or (change.key, one) in self.tables.actions}
        lease = lease_id != change.lease_seen
        if (instance, version) != (change.instance, change.based_on) or known or lease:
            return Conflict(version, frozenset(known), lease)
        return None

    def _apply(self, change: KeyChange) -> Applied:
        tables, key = self.tables, change.key
        before = tables.stored.get(key)
        instance = before.instance if before else len(tables.stored) + 1 if change.rows else 0
        first, version, last = len(tables.log) + 1, change.based_on + len(change.rows), len(change.rows) - 1
        if change.snapshot_before is not None and change.rows:
            made = before or change
            hash_before = before.state_hash if before else b""
            self._keep(
                SnapshotRow(key, change.based_on, change.snapshot_before, made.state_schema, made.code_id, hash_before)
            )
        for pointer in change.settled:
            tables.outbox.pop(pointer, None)
        if change.terminal:
            self._remove_timers(key, None)
        for index, row in enumerate(change.rows):
            n = first + index
            state_hash = change.state_hash if index == last else b""
            tables.log.append(
                LogEntry(
                    Position(0, n), key, change.based_on + index + 1, row._replace(outbox=()), change.code_id,
                    change.env_id, state_hash,
                )
            )  # fmt: skip
            tables.actions[key, row.action_id] = n
            tables.versions.setdefault(key, []).append(n)
            for intent in row.outbox:
                if intent.timer and change.terminal:
                    continue
                if intent.timer:
                    self._remove_timers(key, intent.timer)
                self._emit(tables.log[-1], intent)
        if change.rows:
            lease = (before.lease_id, before.lease_until_us) if before else (None, 0)
            tables.stored[key] = Stored(
                key, instance, version, change.epoch, change.status, change.terminal, change.state, change.state_schema,
                change.state_hash, change.code_id, Position(0, len(tables.log)), change.rows[-1].issued_us,
                change.failures, change.held, *lease, {},
            )  # fmt: skip
        elif before:
            tables.stored[key] = before._replace(failures=change.failures, held=change.held)
        if change.snapshot_after and change.rows:
            self._keep(SnapshotRow(key, version, change.state, change.state_schema, change.code_id, change.state_hash))
        return Applied(instance, Position(0, first))

    def _emit(self, entry: LogEntry, intent: NewIntent) -> None:
        pointer = Pointer(0, entry.position.n, intent.ordinal)
        if intent.timer:
            timers = self.tables.timers.get(entry.key, [])
            self.tables.timers[entry.key] = [*(one for one in timers if one in self.tables.outbox), pointer]
        row = entry.row
        self.tables.outbox[pointer] = OutboxRow(
            pointer, entry.key, entry.version, row.action_id, row.correlation, row.intents, EnumOutboxState.WAITING,
            intent.priority, intent.due_us, 0, False, 0, intent.timer, b"", "", row.payload_schema,
        )  # fmt: skip

    def _note(self, note: Note) -> None:
        row = self.tables.outbox.get(note.pointer)
        if row is not None:
            self.tables.outbox[note.pointer] = row._replace(
                state=note.state, attempt=note.attempt, due_us=note.due_us, started=note.started, crashes=note.crashes,
                result=note.result, error=storable_text(note.error),
            )  # fmt: skip

    def _keep(self, snapshot: SnapshotRow) -> None:
        self.tables.snapshots.setdefault(snapshot.key, {}).setdefault(snapshot.version, snapshot)

    def _timers(self, key: WorkflowKey) -> list[OutboxRow]:
        rows = [self.tables.outbox.get(pointer) for pointer in self.tables.timers.get(key, ())]
        return [row for row in rows if row is not None and row.state is EnumOutboxState.WAITING]

    def _remove_timers(self, key: WorkflowKey, name: str | None) -> None:
        for row in self._timers(key):
            if name in (None, row.timer):
                del self.tables.outbox[row.pointer]

    def _with_timers(self, key: WorkflowKey) -> Stored:
        timers = {row.timer: (row.pointer, row.due_us) for row in self._timers(key)}
        return self.tables.stored[key]._replace(timers=timers)

    def _reject(self, one: Rejection) -> None:
        rows, name = self.tables.rejections, (one.key, one.action_id, one.code)
        old = rows.pop(name, None)  # and back at the end: the oldest are first
        times, first_us = (old.times + 1, old.first_us) if old else (1, one.at_us)
        rows[name] = RejectionRow(*name, one.message, one.body, times, first_us, one.at_us)

    def _sweep(self, at_us: int) -> None:
        tables = self.tables
        rows = tables.rejections
        while rows and (len(rows) > self._cap or next(iter(rows.values())).last_us <= at_us - KEPT_US):
            del rows[next(iter(rows))]
        for ticket in [one for one, us in tables.answered_us.items() if us <= at_us - ANSWER_KEPT_US]:
            del tables.inbox[ticket], tables.answered_us[ticket]

    # --- reading ------------------------------------------------------------------------------------------------------

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        found = (
            stored._replace(timers={})
            for key, stored in sorted(self.tables.stored.items())
            if workflow_type in (None, key.workflow_type)
            and status in (None, stored.status)
            and (after is None or key > after)
        )
        return list(islice(found, limit))

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        return self.tables.log[after.n : after.n + limit]

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return [self.tables.log[n - 1] for n in self.tables.versions.get(key, [])[after : after + limit]]

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        kept = self.tables.snapshots.get(key, {})
        return kept.get(max((version for version in kept if version <= at_most), default=-1))

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        rows = (row for row in self._behind(after) if row.state in states and key in (None, row.key))
        return list(islice(rows, limit))

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        rows = (
            row
            for row in self._behind(after)
            if row.state is EnumOutboxState.WAITING
            and (not row.timer if timers_before_us is None else row.timer and row.due_us < timers_before_us)
        )
        return list(islice(rows, limit))

    def _behind(self, after: Pointer | None) -> list[OutboxRow]:
        outbox = self.tables.outbox
        return [outbox[pointer] for pointer in sorted(outbox) if after is None or pointer > after]

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        rows = [
            row
            for row in reversed(self.tables.rejections.values())
            if key in (None, row.key) and action_id in (None, row.action_id)
        ]
        return rows[after : after + limit]

    async def blob(self, digest: bytes) -> bytes | None:
        blob = self.tables.blobs.get(digest)
        return None if blob is None else blob.data

    async def counts(self) -> Counts:
        tables = self.tables
        outbox = Counter(row.state.value for row in tables.outbox.values())
        by_status = Counter((key.workflow_type, stored.status) for key, stored in tables.stored.items())
        states = {state.value: outbox[state.value] for state in EnumOutboxState}
        return Counts(len(tables.stored), len(tables.log), states, len(tables.rejections), dict(by_status))

    # --- inbox and projections ----------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int) -> int:
        tables = self.tables
        tables.tickets += 1
        tables.inbox[tables.tickets] = InboxRow(tables.tickets, body, at_us)
        tables.sent.set()
        return tables.tickets

    async def answer(self, ticket: int) -> bytes | None:
        row = self.tables.inbox.get(ticket)
        return None if row is None else row.answer

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        rows = (row for ticket, row in self.tables.inbox.items() if ticket > after and row.answer is None)
        return list(islice(rows, limit))

    async def woken(self) -> None:
        await self.tables.sent.wait()
        self.tables.sent.clear()

    async def watermark(self, name: str, shard: int) -> int:
        return self.tables.watermarks.get((name, shard), 0)

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        tables = self.tables
        if tables.watermarks.get((name, shard), 0) != from_n:
            return False
        tables.watermarks[name, shard] = to_n
        for row in rows:
            old = tables.projected.get((name, row.key))
            if old is None or old.version <= row.version:
                tables.projected[name, row.key] = row
        return True

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        rows = (
            row
            for (projection, key), row in sorted(self.tables.projected.items(), key=lambda item: item[0])
            if projection == name and tag in (None, row.tag) and (after is None or key > after)
        )
        return list(islice(rows, limit))
