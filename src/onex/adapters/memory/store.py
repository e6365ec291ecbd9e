"""A store in memory, for tests and simulation: what ``ports`` promises, done with dicts.

Read this first to write a store of your own: it is the shortest one that passes ``testing.conformance``. ``commit`` checks the
fence, then for each change compares (``_conflict``) and applies (``_apply``), then writes blobs, settled rows, notes, attempts,
answers and rejections, and removes what is past its time. Nothing is awaited in between, so a commit is seen whole or not at all.

Several stores may share one ``Tables``, as several processes share a file. Then closing one of them loses nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ...codec import ErasedRows, Sealing, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import ERASED, WrappedKey
from ...kernel.errors import FencedError
from ...kernel.size_limits import check_body
from ...ports import (
    REJECTION_KEPT_US,
    Applied,
    Attempt,
    Code,
    Commit,
    Conflict,
    EnumOutboxState,
    Env,
    InboxRow,
    KeyChange,
    LogEntry,
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
from ...records import ATTEMPTS_KEPT
from ..commit_rows import shards_of
from ..erase_sql import KEPT_PROJECTION
from ..store_limits import (
    ANSWER_KEPT_US,
    ATTEMPTS_MAX,
    JUDGING_BYTES,
    REJECTIONS_MAX,
    storable,
    storable_attempt,
    storable_text,
)
from .leases import MemoryLeases
from .read import BellListener, Tables
from .retention import MemoryRetention
from .search import MemorySearch, write_values


class MemoryStore(MemoryLeases, MemoryRetention, MemorySearch):
    """Store, Reader, Sender and Projections in memory. It ends with its process, and keeps the other promises of a store."""

    def __init__(
        self,
        tables: Tables | None = None,
        *,
        rejections_kept: int = REJECTIONS_MAX,
        shards: int = 1,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now_s`` is the clock by which leases of workers run: one for all stores on the same tables."""
        super().__init__(Tables(shards=shards) if tables is None else tables, now_s)
        self._cap = rejections_kept
        self._closed = False
        self._judged_before = b""

    async def own(self, owner: str) -> Mapping[int, int]:
        tables = self.tables
        if tables.owner is not None or tables.workers:
            return {}
        tables.owner = self
        self._judged_before = tables.judging
        return {shard: self._take_over(shard) for shard in range(tables.shards)}

    def judging(self, record: bytes) -> None:
        if self._tables.owner is self:
            self._tables.judging = record if len(record) <= JUDGING_BYTES else b""

    async def judged(self) -> bytes:
        return self._judged_before

    def crash_file(self) -> int | None:
        """None: nothing of a store in memory outlives its process."""
        return None

    async def close(self) -> None:
        self.judging(b"")
        if not self._closed:
            await self.leave()
        self.drop()

    def drop(self) -> None:
        """Do what the death of the process does: the shard is free, and the judging record stays."""
        if self._tables.owner is self:
            self._tables.owner = None
        self._closed = True

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        codes, envs = self.tables.codes, self.tables.envs
        return codes.setdefault(code, len(codes) + 1), envs.setdefault(env, len(envs) + 1)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        tables = self.tables
        others = [shard for shard, fence in commit.fences.items() if tables.fence_of(shard) != fence]
        others += shards_of(commit) - commit.fences.keys()
        if others or (tables.shards == 1 and not commit.fences):
            error = FencedError(f"the commit has old fences of shards {others}: {dict(commit.fences)}")
            error.shards = tuple(sorted(others))
            raise error
        notes, rejections, answers = list(commit.notes), list(commit.rejections), list(commit.answers)
        outcomes: list[Applied | Conflict] = []
        for change in commit.changes:
            outcomes.append(self._conflict(change) or self._apply(change))
            if isinstance(outcomes[-1], Applied):
                notes += change.notes
                rejections += change.rejections
                answers += change.answers
        await self.add_data_keys(commit.keys)
        for blob in commit.blobs:
            tables.blobs.setdefault(blob.digest, blob)
            tables.blob_us.setdefault(blob.digest, commit.at_us)
        for pointer in commit.settled:
            tables.outbox.pop(pointer, None)
        for note in notes:
            self._note(note)
        for attempt in commit.attempts:
            self._try(storable_attempt(attempt))
        for answer in answers:
            if (row := tables.inbox.get(answer.ticket)) is not None and row.answer is None:
                tables.inbox[answer.ticket] = row._replace(answer=answer.answer)
                tables.answered_us[answer.ticket] = answer.at_us
                tables.was_answered.ring()
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
        log, shard = tables.log_of(change.shard), change.shard
        first, version, last = len(log) + 1, change.based_on + len(change.rows), len(change.rows) - 1
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
        for index, digest in change.row_blobs:
            tables.named.setdefault(digest, set()).add(Position(shard, first + index))
        for index, row in enumerate(change.rows):
            n = first + index
            state_hash = change.state_hash if index == last else b""
            log.append(
                LogEntry(
                    Position(shard, n), key, change.based_on + index + 1, row._replace(outbox=()), change.code_id,
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
                self._emit(log[-1], intent)
        if change.rows:
            lease = change.lease or ((before.lease_id, before.lease_until_us) if before else (None, 0))
            tables.stored[key] = Stored(
                key, instance, version, change.epoch, change.status, change.terminal, change.state, change.state_schema,
                change.state_hash, change.code_id, Position(shard, len(log)), change.rows[-1].issued_us,
                change.failures, change.held, *lease, {}, before.cut if before else 0,
            )  # fmt: skip
        elif before:
            lease_id, until_us = change.lease or (before.lease_id, before.lease_until_us)
            tables.stored[key] = before._replace(
                failures=change.failures, held=change.held, lease_id=lease_id, lease_until_us=until_us
            )
        if change.search is not None and change.rows:
            write_values(tables, key, change.search, is_new=before is None)
        if change.snapshot_after and change.rows:
            self._keep(SnapshotRow(key, version, change.state, change.state_schema, change.code_id, change.state_hash))
        return Applied(instance, Position(shard, first))

    def _emit(self, entry: LogEntry, intent: NewIntent) -> None:
        pointer = Pointer(*entry.position, intent.ordinal)
        if intent.timer:
            timers = self.tables.timers.get(entry.key, [])
            self.tables.timers[entry.key] = [*(one for one in timers if one in self.tables.outbox), pointer]
        row = entry.row
        self.tables.outbox[pointer] = OutboxRow(
            pointer, entry.key, entry.version, row.action_id, row.correlation, row.intents, EnumOutboxState.WAITING,
            intent.priority, intent.due_us, 0, False, 0, intent.timer, b"", "", row.payload_schema,
            code_id=entry.code_id,
        )  # fmt: skip

    def _note(self, note: Note) -> None:
        row = self.tables.outbox.get(note.pointer)
        if row is not None:
            self.tables.outbox[note.pointer] = row._replace(
                state=note.state, attempt=note.attempt, due_us=note.due_us, started=note.started, crashes=note.crashes,
                result=note.result, error=storable_text(note.error), started_now=note.started,
            )  # fmt: skip

    def _try(self, attempt: Attempt) -> None:
        kept = self.tables.attempts
        same = [one for one in kept if one.pointer == attempt.pointer]
        if attempt.pointer.n > len(self.tables.log_of(attempt.pointer.shard)) or attempt[:3] in (
            one[:3] for one in same
        ):
            return
        kept.append(attempt)
        if len(same) >= ATTEMPTS_KEPT:
            kept.remove(same[0])

    def _keep(self, snapshot: SnapshotRow) -> None:
        self.tables.snapshots.setdefault(snapshot.key, {}).setdefault(snapshot.version, snapshot)

    def _remove_timers(self, key: WorkflowKey, name: str | None) -> None:
        for row in self._timers(key):
            if name in (None, row.timer):
                del self.tables.outbox[row.pointer]

    def _reject(self, one: Rejection) -> None:
        rows, name = self.tables.rejections, (one.key, one.action_id, one.code)
        old = rows.pop(name, None)  # and inserted again at the end, so that the oldest come first
        times, first_us = (old.times + 1, old.first_us) if old else (1, one.at_us)
        rows[name] = RejectionRow(*name, one.message, one.body, times, first_us, one.at_us, one.trace)

    def _sweep(self, at_us: int) -> None:
        tables = self.tables
        rows = tables.rejections
        while rows and (len(rows) > self._cap or next(iter(rows.values())).last_us <= at_us - REJECTION_KEPT_US):
            del rows[next(iter(rows))]
        if tables.attempts and (
            tables.attempts[0].ended_us <= at_us - REJECTION_KEPT_US or len(tables.attempts) > ATTEMPTS_MAX
        ):
            kept = [one for one in tables.attempts if one.ended_us > at_us - REJECTION_KEPT_US]
            tables.attempts = kept[-ATTEMPTS_MAX:]
        for ticket in [one for one, us in tables.answered_us.items() if us <= at_us - ANSWER_KEPT_US]:
            del tables.inbox[ticket], tables.answered_us[ticket]

    async def expire(self, at_us: int, *, dry: bool = False) -> int:
        tables = self.tables
        old = [one.last_us <= at_us - REJECTION_KEPT_US for one in tables.rejections.values()]
        old += [one.ended_us <= at_us - REJECTION_KEPT_US for one in tables.attempts]
        old += [us <= at_us - ANSWER_KEPT_US for us in tables.answered_us.values()]
        if not dry:
            self._sweep(at_us)
        return sum(old)

    # --- inbox and projections ----------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        return (await self.send_all([body], at_us, [shard]))[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        tables, checked = self.tables, [check_body(body) for body in bodies]
        for body, shard in zip(checked, shards or [0] * len(checked), strict=True):
            tables.tickets += 1
            tables.inbox[tables.tickets] = InboxRow(tables.tickets, body, at_us, shard=shard)
        tables.sent.set()
        tables.was_sent.ring()
        return range(tables.tickets - len(checked) + 1, tables.tickets + 1)

    async def woken(self) -> None:
        if self.worker_id:
            await self._sent.changed()
            return
        await self.tables.sent.wait()
        self.tables.sent.clear()

    def watch(self) -> BellListener:
        """For one who waits for an answer."""
        return BellListener(self.tables.was_answered)

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        for key in keys:
            self.tables.keys.setdefault(key.owner, key)

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        tables, owner = self.tables, str(key)
        stored = tables.stored.get(key)
        if stored is None:
            return None
        if owner in tables.keys:
            tables.keys[owner] = tables.keys[owner]._replace(wrapped=b"", master=by, erased_us=at_us)
        tables.stored[key] = stored._replace(held="", failures=0)
        if key in tables.searched:
            tables.searched[key] = tables.searched[key][0], {}
        rows = {pointer: row for pointer, row in tables.outbox.items() if row.key == key}
        for pointer, row in rows.items():
            tables.outbox[pointer] = row._replace(state=EnumOutboxState.DEAD, result=b"", error=ERASED)
        for name, refused in tables.rejections.items():
            if refused.key == owner:
                tables.rejections[name] = refused._replace(message="erased", body=b"", trace="")
        own = {Position(*entry.position) for entry in tables.log_of_key(key) if entry.key == key}
        tables.attempts = [
            one._replace(message="", trace="") if Position(*one.pointer[:2]) in own else one for one in tables.attempts
        ]
        for ticket in tables.answered_us:
            tables.inbox[ticket] = tables.inbox[ticket]._replace(body=b"")
        tables.projected = {at: row for at, row in tables.projected.items() if at[1] != key or at[0] == KEPT_PROJECTION}
        blobs = [digest for digest, places in tables.named.items() if places and places <= own]
        for digest in blobs:
            del tables.blobs[digest], tables.named[digest]
            tables.keys.pop(blob_owner(digest), None)
        return ErasedRows(len(rows), len(blobs), overwritten=True)

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        tables, log = self.tables, self.tables.log_of_key(key)
        tables.keys[str(key)] = wrapped
        for n in tables.versions.get(key, []):
            entry = log[n - 1]
            row = entry.row
            payload, intents, body, state_hash = sealing.row(
                entry.version, row.action_id, row.payload, row.intents, row.body_hash, entry.state_hash
            )
            log[n - 1] = entry._replace(
                row=row._replace(payload=payload, intents=intents, body_hash=body), state_hash=state_hash
            )
        stored = tables.stored[key]
        state, state_hash = sealing.state(stored.version, stored.state, stored.state_hash)
        tables.stored[key] = stored._replace(state=state, state_hash=state_hash)
        for version, kept in tables.snapshots.get(key, {}).items():
            state, state_hash = sealing.state(version, kept.state, kept.state_hash)
            tables.snapshots[key][version] = kept._replace(state=state, state_hash=state_hash)
        for pointer, open_row in tables.outbox.items():
            if open_row.key == key:
                intents = log[pointer.n - 1].row.intents
                tables.outbox[pointer] = open_row._replace(
                    result=sealing.result(pointer, open_row.result), intents=intents
                )
        for (name, of), projected in tables.projected.items():
            if of == key:
                fields = sealing.fields(name, projected.version, projected.fields)
                tables.projected[name, of] = projected._replace(fields=fields)
        own = {entry.position for entry in log if entry.key == key}
        for digest in [digest for digest, places in tables.named.items() if places & own and digest in tables.blobs]:
            made, data = sealing.blob(digest, tables.blobs[digest].data)
            if made is not None:
                tables.keys[made.owner] = made
                tables.blobs[digest] = tables.blobs[digest]._replace(data=data)

    async def keys_under_others(self, master: str, after: str, limit: int) -> Sequence[WrappedKey]:
        keys = sorted(self.tables.keys.values())
        return [key for key in keys if key.master != master and not key.erased_us and key.owner > after][:limit]

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        keys = self.tables.keys
        still = [new for old, new in pairs if keys.get(old.owner) == old]
        keys.update({new.owner: new for new in still})
        return len(still)

    async def overwrite(self, *, whole: bool = False) -> bool:
        return True

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
