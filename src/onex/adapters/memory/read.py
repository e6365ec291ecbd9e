"""The tables of the memory store, and how they are read."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ...code_use import CodeUse
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import EngineClosed
from ...kernel.membership import Worker
from ...kernel.route import shard_of
from ...kernel.search import SearchCode, SearchSpec
from ...ports import (
    Attempt,
    Code,
    Counts,
    EnumInFlight,
    EnumOutboxState,
    Env,
    InboxRow,
    InFlight,
    LogEntry,
    NewBlob,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    RejectionRow,
    SnapshotRow,
    Stored,
)

ORDER = list[object](EnumInFlight)


def _text(data: bytes, *path: int | str) -> str:
    """The value at ``path`` of JSON that may be damaged, as text. '' when there is none."""
    try:
        value = json.loads(data)
        for step in path:
            value = value[step]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(value)


class Bell:
    """Wakes everybody who listens, whoever rings it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def ring(self) -> None:
        rung, self.event = self.event, asyncio.Event()
        rung.set()


class BellListener:
    """Look first, then ``changed``, then look again: what rang in between is not missed."""

    def __init__(self, bell: Bell) -> None:
        self._bell, self._event = bell, bell.event

    async def changed(self) -> None:
        await self._event.wait()
        self._event = self._bell.event


@dataclass
class Tables:
    """The stored rows. ``log_of(shard)[n - 1]`` is the row at position n; ``versions[key][v - 1]`` is the position of version v.

    ``log``, ``owner`` and ``fence`` are those of a store with one shard. With more, ``logs``, ``owners`` (ids of workers; '': free)
    and ``fences`` hold one for each; ``owner`` is the store that has all shards for itself. ``heard`` is when a worker beat last.
    """

    shards: int = 1
    owner: object = None
    fence: int = 0
    logs: dict[int, list[LogEntry]] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    fences: dict[int, int] = field(default_factory=dict)
    workers: dict[str, tuple[Worker, float]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    judging: bytes = b""
    log: list[LogEntry] = field(default_factory=list)
    stored: dict[WorkflowKey, Stored] = field(default_factory=dict)
    versions: dict[WorkflowKey, list[int]] = field(default_factory=dict)
    actions: dict[tuple[WorkflowKey, bytes], int] = field(default_factory=dict)
    outbox: dict[Pointer, OutboxRow] = field(default_factory=dict)
    timers: dict[WorkflowKey, list[Pointer]] = field(default_factory=dict)
    rejections: dict[tuple[str, bytes, str], RejectionRow] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    snapshots: dict[WorkflowKey, dict[int, SnapshotRow]] = field(default_factory=dict)
    blobs: dict[bytes, NewBlob] = field(default_factory=dict)
    blob_us: dict[bytes, int] = field(default_factory=dict)
    named: dict[bytes, set[Position]] = field(default_factory=dict)
    is_cut: bool = False
    codes: dict[Code, int] = field(default_factory=dict)
    envs: dict[Env, int] = field(default_factory=dict)
    tickets: int = 0
    inbox: dict[int, InboxRow] = field(default_factory=dict)
    answered_us: dict[int, int] = field(default_factory=dict)
    projected: dict[tuple[str, WorkflowKey], ProjectionRow] = field(default_factory=dict)
    keys: dict[str, WrappedKey] = field(default_factory=dict)
    watermarks: dict[tuple[str, int], int] = field(default_factory=dict)
    search_specs: dict[str, SearchSpec] = field(default_factory=dict)
    last_spec: int = 0
    searched: dict[WorkflowKey, tuple[int, dict[int, SearchCode]]] = field(default_factory=dict)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    was_sent: Bell = field(default_factory=Bell)
    was_answered: Bell = field(default_factory=Bell)
    workers_moved: Bell = field(default_factory=Bell)

    def log_of(self, shard: int) -> list[LogEntry]:
        return self.log if self.shards == 1 else self.logs.setdefault(shard, [])

    def fence_of(self, shard: int) -> int:
        return self.fence if self.shards == 1 else self.fences.get(shard, 0)

    def raise_fence(self, shard: int) -> int:
        if self.shards == 1:
            self.fence += 1
        else:
            self.fences[shard] = self.fences.get(shard, 0) + 1
        return self.fence_of(shard)

    def log_of_key(self, key: WorkflowKey) -> list[LogEntry]:
        return self.log if self.shards == 1 else self.log_of(shard_of(key, self.shards))


class MemoryReads:
    """All methods of ``Reader``, and the reads of ``Store`` and ``Projections``."""

    _tables: Tables
    _closed = False
    worker_id = ""

    @property
    def shards(self) -> int:
        return self._tables.shards

    def _has(self, shard: int) -> bool:
        """Whether this process has the shard, where it shares them with others."""
        return not self.worker_id or self._tables.owners.get(shard) == self.worker_id

    @property
    def tables(self) -> Tables:
        if self._closed:
            raise EngineClosed("this store was closed; open another on its tables")
        return self._tables

    async def codes(self) -> Mapping[int, Code]:
        return {number: code for code, number in self.tables.codes.items()}

    async def envs(self) -> Mapping[int, Env]:
        return {number: env for env, number in self.tables.envs.items()}

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return {key: self._with_timers(key) for key in keys if key in self.tables.stored}

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        n = self.tables.actions.get((key, action_id))
        entry = None if n is None else self.tables.log_of_key(key)[n - 1]
        return entry if entry is not None and self._is_there(entry) else None

    def _is_there(self, entry: LogEntry) -> bool:
        """A row that was cut keeps its place in the list, and nobody sees it."""
        return entry.version > self.tables.stored[entry.key].cut

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
        log = self.tables.log_of(after.shard)
        if not self.tables.is_cut:
            return log[after.n : after.n + limit]
        return list(islice(filter(self._is_there, log[after.n :]), limit))

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        log, stored = self.tables.log_of_key(key), self.tables.stored.get(key)
        after = max(after, stored.cut if stored else 0)
        return [log[n - 1] for n in self.tables.versions.get(key, [])[after : after + limit]]

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
            and self._has(row.pointer.shard)
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

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        log_of = self.tables.log_of
        own = [one for one in self.tables.attempts if log_of(one.pointer.shard)[one.pointer.n - 1].key == key]
        return sorted(own[-limit:], key=lambda one: one.pointer)

    async def blob(self, digest: bytes) -> bytes | None:
        blob = self.tables.blobs.get(digest)
        return None if blob is None else blob.data

    async def counts(self) -> Counts:
        tables = self.tables
        outbox = Counter(row.state.value for row in tables.outbox.values())
        by_status = Counter((key.workflow_type, stored.status) for key, stored in tables.stored.items())
        states = {state.value: outbox[state.value] for state in EnumOutboxState}
        actions = sum(len(tables.log_of(shard)) for shard in range(tables.shards))
        return Counts(len(tables.stored), actions, states, len(tables.rejections), dict(by_status))

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        return {owner: self.tables.keys[owner] for owner in owners if owner in self.tables.keys}

    async def code_uses(self) -> Sequence[CodeUse]:
        found: dict[tuple[int, str, bool, bool], CodeUse] = {}
        began = sorted((one for one in self.tables.stored.values() if one.version), key=lambda one: one.instance)
        for one in began:
            alike = (one.code_id, one.status, one.terminal, bool(one.held))
            use = found.get(alike, CodeUse(*alike, 0, one.key, one.last_us, one.last_us))
            if one.last_us < use.first_us:
                use = use._replace(first=one.key, first_us=one.last_us)
            found[alike] = use._replace(instances=use.instances + 1, last_us=max(use.last_us, one.last_us))
        return [found[alike] for alike in sorted(found)]

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        states = [
            InFlight(EnumInFlight.STATE, key.workflow_type, stored.state_schema, stored.status, 0, key)
            for key, stored in list(self.tables.stored.items())[-limit:]
            if stored.version and not stored.terminal
        ]
        intents: list[InFlight] = []
        outcomes: list[InFlight] = []
        for number, row in enumerate(self._behind(None)):
            own, key, timer, at = row.key.workflow_type, row.key, bool(row.timer), row.pointer
            name = row.timer or _text(row.intents, at.ordinal, "name")
            if number < limit:
                intents.append(InFlight(EnumInFlight.INTENT, own, row.payload_schema, name, 0, key, timer, at))
            if row.state is EnumOutboxState.HELD and not timer:
                schema_text = _text(row.result, "schema")
                schema, kind = int(schema_text) if schema_text.isdecimal() else 1, _text(row.result, "kind")
                outcomes.append(InFlight(EnumInFlight.OUTCOME, own, schema, kind, 0, key, timer, at))
        found: dict[tuple[object, ...], InFlight] = {}
        for one in (*states, *intents, *outcomes[:limit]):
            same = (one.what, one.workflow_type, one.schema, one.name, one.timer)
            first = found.get(same, one)
            found[same] = first._replace(rows=first.rows + 1)
        return [found[same] for same in sorted(found, key=lambda same: (ORDER.index(same[0]), *map(str, same)))]

    async def answer(self, ticket: int) -> bytes | None:
        return (await self.answers([ticket])).get(ticket)

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        rows = [self.tables.inbox[ticket] for ticket in tickets if ticket in self.tables.inbox]
        return {row.ticket: row.answer for row in rows if row.answer is not None}

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        rows = (
            row
            for ticket, row in self.tables.inbox.items()
            if ticket > after and row.answer is None and self._has(row.shard)
        )
        return list(islice(rows, limit))

    async def watermark(self, name: str, shard: int) -> int:
        return self.tables.watermarks.get((name, shard), 0)

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        rows = (
            row
            for (projection, key), row in sorted(self.tables.projected.items(), key=lambda item: item[0])
            if projection == name and tag in (None, row.tag) and (after is None or key > after)
        )
        return list(islice(rows, limit))

    def _timers(self, key: WorkflowKey) -> list[OutboxRow]:
        rows = [self.tables.outbox.get(pointer) for pointer in self.tables.timers.get(key, ())]
        return [row for row in rows if row is not None and row.state is EnumOutboxState.WAITING]

    def _with_timers(self, key: WorkflowKey) -> Stored:
        timers = {row.timer: (row.pointer, row.due_us) for row in self._timers(key)}
        return self.tables.stored[key]._replace(timers=timers)
