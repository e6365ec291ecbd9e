"""SealedReads: what ``SealedStore`` reads: rows of the store, then the keys of their owners, then values.

History, one action and one kept state raise CodecDamaged where bytes are not what was written. Where many rows are read at once, a
mark stands in place of the damaged value (``kernel.data_key``), so that one row cannot keep all others from being read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...code_use import CodeUse
from ...codec import Sealable, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...ports import (
    Attempt,
    Code,
    Counts,
    EnumOutboxState,
    Env,
    InboxRow,
    InFlight,
    LogEntry,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    RejectionRow,
    SearchCode,
    SearchField,
    SearchPlace,
    SearchQuery,
    SearchSpec,
    SnapshotRow,
    Stored,
)
from .key_ring import Closed, KeyRing
from .rows import (
    checked_entry,
    checked_snapshot,
    opened_answer,
    opened_attempt,
    opened_blob,
    opened_entry,
    opened_fields,
    opened_inbox,
    opened_outbox,
    opened_rejection,
    opened_stored,
    owner_of,
)


class SealedReads:
    """All methods of ``Reader``, and the reads of ``Store`` and ``Projections``, over ``inner``."""

    def __init__(self, inner: Sealable, ring: KeyRing) -> None:
        self.inner, self.ring = inner, ring

    @property
    def shards(self) -> int:
        return self.inner.shards

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        return await self.inner.data_keys(owners)

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        return await self._outbox(await self.inner.waiting(after, limit, timers_before_us))

    async def _outbox(self, rows: Sequence[OutboxRow]) -> Sequence[OutboxRow]:
        await self.ring.learn({owner_of(row.key) for row in rows})
        return [opened_outbox(row, self.ring[owner_of(row.key)], self.ring.store) for row in rows]

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        rows = await self.inner.inbox(after, limit)
        if rows:
            await self.ring.learn(())
        return [opened_inbox(row, self.ring.store) for row in rows]

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        found = await self.inner.answers(tickets)
        if found:  # an engine may have turned encryption on since this was opened
            await self.ring.learn(())
        return {ticket: opened_answer(ticket, answer, self.ring.store) for ticket, answer in found.items()}

    async def answer(self, ticket: int) -> bytes | None:
        return (await self.answers([ticket])).get(ticket)

    async def watermark(self, name: str, shard: int) -> int:
        return await self.inner.watermark(name, shard)

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        rows = await self.inner.projected(name, tag, after, limit)
        await self.ring.learn(owner_of(row.key) for row in rows)
        return [opened_fields(name, row, self.ring[owner_of(row.key)]) for row in rows]

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        found = await self.inner.load(keys)
        await self.ring.learn(map(owner_of, keys))
        store = self.ring.store
        return {key: opened_stored(row, self.ring[owner_of(key)], store) for key, row in found.items()}

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return await self._opened(await self.inner.instances(workflow_type, status, after, limit))

    async def _opened(self, rows: Sequence[Stored]) -> Sequence[Stored]:
        await self.ring.learn(owner_of(row.key) for row in rows)
        return [opened_stored(row, self.ring[owner_of(row.key)], self.ring.store) for row in rows]

    async def search_specs(self) -> Mapping[str, SearchSpec]:
        return await self.inner.search_specs()

    async def find(
        self, query: SearchQuery, after: SearchPlace | None, limit: int
    ) -> Sequence[tuple[Stored, SearchCode]]:
        rows = await self.inner.find(query, after, limit)
        opened = await self._opened([stored for stored, _ in rows])
        return [(stored, code) for stored, (_, code) in zip(opened, rows, strict=True)]

    async def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        return await self.inner.tally(query, by)

    async def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        return await self._opened(await self.inner.unfilled(spec, after, limit))

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        entry = await self.inner.applied(key, action_id)
        if entry is None:
            return None
        await self.ring.learn([owner_of(key)])
        its = self.ring[owner_of(key)]
        if isinstance(its, Closed) and its.erased:
            return None  # nobody can say whether it is the same action: whoever sends it is told that the instance was erased
        return checked_entry(entry, its)

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        entries = await self.inner.log(after, limit)
        await self.ring.learn({owner_of(entry.key) for entry in entries})
        return [opened_entry(entry, self.ring[owner_of(entry.key)]) for entry in entries]

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        entries = await self.inner.history(key, after, limit)
        await self.ring.learn([owner_of(key)])
        return [checked_entry(entry, self.ring[owner_of(key)]) for entry in entries]

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        row = await self.inner.snapshot(key, at_most)
        if row is None:
            return None
        await self.ring.learn([owner_of(key)])
        return checked_snapshot(row, self.ring[owner_of(key)])

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        return await self._outbox(await self.inner.outbox(states, key, after, limit))

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        rows = await self.inner.rejections(key, action_id, after, limit)
        await self.ring.learn(())
        return [opened_rejection(row, self.ring.store) for row in rows]

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        rows = await self.inner.attempts(key, limit)
        await self.ring.learn(())
        return [opened_attempt(row, self.ring.store) for row in rows]

    async def blob(self, digest: bytes) -> bytes | None:
        data = await self.inner.blob(digest)
        if data is None:
            return None
        await self.ring.learn([blob_owner(digest)])
        return opened_blob(digest, data, self.ring[blob_owner(digest)])

    async def codes(self) -> Mapping[int, Code]:
        return await self.inner.codes()

    async def envs(self) -> Mapping[int, Env]:
        return await self.inner.envs()

    async def counts(self) -> Counts:
        return await self.inner.counts()

    async def code_uses(self) -> Sequence[CodeUse]:
        return await self.inner.code_uses()

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        return await self.inner.in_flight(limit)
