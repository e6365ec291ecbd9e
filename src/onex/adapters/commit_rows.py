"""CommitRows: the changes of one commit as rows of SQL tables, collected by statement. Every SQL store writes these.

``add`` turns one ``KeyChange`` into rows: one of ``workflow_state``, one of ``log`` per action, one of ``outbox`` per new intent,
and so on. It gives positions and instance numbers from memory and asks the database nothing. A store's subclass writes them.
Positions are places here, one number each (``sql_rows``).

Byte columns are bound as ``bytearray``: sqlite3 passes int, float, str and bytearray straight on, but looks for an adapter for
each other value, bytes and None too. That costs 0.4 us each, five times the copy. So no frequent statement binds None.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final, NamedTuple

from ..ports import Applied, Commit, Conflict, InboxAnswer, KeyChange, LogRow, Note, Rejection
from .row_checksum import kept_checksum, log_checksum, state_checksum
from .sql_rows import place_of, position_of

SqlValue = int | str | bytes | bytearray | None
SqlRow = tuple[SqlValue, ...]
Rows = list[SqlRow]
MoveRows = dict[tuple[bool, tuple[int, ...]], Rows]
"""``rows[is_new, slots]``: values of search fields, then instance and spec. Each group is written by one statement."""

_EMPTY: Final = bytearray()
_new: Final = tuple.__new__  # builds what the class builds, with one call less


def conflict_of(
    change: KeyChange, stored: tuple[int, int, bytes | None] | None, applied: Set[bytes]
) -> Conflict | None:
    """Why ``change`` cannot be applied to what is stored; None when it can.

    ``stored``: instance, version and lease of its key, None for no such instance. ``applied``: which of its action ids the log
    of that instance holds.
    """
    instance, version, lease_id = stored or (None, 0, None)
    duplicates: set[bytes] = set()
    seen: set[bytes] = set()
    for row in change.rows:
        if row.action_id in applied or row.action_id in seen:
            duplicates.add(row.action_id)
        seen.add(row.action_id)
    lease = lease_id != change.lease_seen
    if instance != change.instance or version != change.based_on or duplicates or lease:
        return Conflict(version, frozenset(duplicates), lease)
    return None


def shards_of(commit: Commit) -> set[int]:
    """Those that it writes in. Blobs and rejections are in none; attempts are of intents that are there."""
    shards = {change.shard for change in commit.changes}
    parts: tuple[Commit | KeyChange, ...] = (commit, *commit.changes)
    for part in parts:
        for pointer in part.settled:
            shards.add(pointer.shard)
        for note in part.notes:
            shards.add(note.pointer.shard)
        for answer in part.answers:
            shards.add(answer.shard)
    return shards


class UnconditionalRows(NamedTuple):
    """Rows that are written with a commit whatever the stored state is."""

    notes: list[Note]
    rejections: list[Rejection]
    answers: list[InboxAnswer]

    @classmethod
    def nothing(cls) -> UnconditionalRows:
        return cls([], [], [])


class CommitRows:
    """The rows of changes that are applied together, by statement. ``n`` and ``instance`` are the last numbers that were given.

    Instance numbers of one shard are ``instance_step`` apart.
    """

    instance_step = 1

    __slots__ = (
        "at_us",
        "bytes",
        "failures",
        "finished",
        "inserts",
        "instance",
        "last",
        "leased",
        "leases",
        "log",
        "n",
        "needs_slow_path",
        "outbox",
        "refs",
        "replaced",
        "search",
        "settled",
        "snapshots",
        "snapshots_before",
        "unconditional",
        "updates",
    )  # fmt: skip

    def __init__(self, n: int, instance: int, at_us: int) -> None:
        self.n = n
        self.instance = instance
        self.at_us = at_us
        self.bytes = 0
        self.needs_slow_path = False
        self.last: dict[int, tuple[int, int]] = {}
        self.inserts: Rows = []
        self.updates: Rows = []
        self.leased: Rows = []
        self.leases: Rows = []
        self.failures: Rows = []
        self.log: Rows = []
        self.settled: Rows = []
        self.replaced: Rows = []
        self.finished: Rows = []
        self.outbox: Rows = []
        self.snapshots_before: Rows = []
        self.snapshots: Rows = []
        self.refs: Rows = []
        self.search: MoveRows = {}
        self.unconditional = UnconditionalRows.nothing()

    def add(self, change: KeyChange, prev: int) -> Applied:
        """Collect the rows of one change. ``prev`` is the position of the instance's last log row, 0 for a new instance."""
        (key, instance, based_on, rows, state, state_schema, state_hash, status, terminal, code_id, env_id, epoch,
         failures, held, settled, row_blobs, snapshot_before, snapshot_after, lease_seen, notes, rejections,
         answers, _, lease, search) = change  # fmt: skip
        at_us, first, is_new = self.at_us, self.n + 1, instance is None
        if instance is None:
            # A new instance has no version and no lease, and begins with a row. Anything else is in conflict, or is a failure
            # counted for an instance that does not exist: nothing is written for it, so no row count shows it.
            if based_on or lease_seen is not None or not rows:
                self.needs_slow_path = True
            if rows:
                self.instance += self.instance_step
            instance = self.instance if rows else 0
        if rows:
            hashed = bytearray(state_hash)
            issued_us, timers = self._add_rows(rows, instance, based_on, prev, code_id, env_id, hashed)
            n, version = self.n, based_on + len(rows)
            if timers and not terminal:  # an instance that has ended keeps no timer
                self.outbox += timers.values()
                if not is_new:
                    self.replaced += [(instance, timer) for timer in timers]
            self.bytes += len(state)
            checksum = state_checksum(
                (instance, *key, version, epoch, status, terminal, state_schema, hashed, code_id, n, issued_us, state)
            )
            written: SqlRow = (
                version, epoch, status, 1 if terminal else 0, state_schema, hashed, code_id, n, issued_us, failures,
                held, at_us, bytearray(state),
                checksum, instance,
            )  # fmt: skip
            if instance in self.last:  # twice in one commit: written table by table, they would lose their order
                self.needs_slow_path = True
            if is_new:
                self.inserts.append((*written, *key, rows[0].issued_us))
            elif lease_seen is None:
                self.updates.append((*written, based_on))
            else:
                self.leased.append((*written, based_on, lease_seen))
            self.last[instance] = version, n
            if search is not None:
                spec, slots, values = search
                moved = self.search.get((is_new, slots))
                if moved is None:
                    moved = self.search[is_new, slots] = []
                moved.append((*values, instance, spec))
            if snapshot_before is not None:
                if is_new:
                    kept = (instance, based_on, state_schema, code_id, b"", at_us, snapshot_before)
                    self.snapshots.append((*kept, kept_checksum(snapshot_before)))
                else:
                    self.snapshots_before.append((at_us, snapshot_before, kept_checksum(snapshot_before), instance))
            if snapshot_after:
                kept = (instance, version, state_schema, code_id, state_hash, at_us, state)
                self.snapshots.append((*kept, kept_checksum(state)))
        elif not is_new:
            self.failures.append((failures, held, at_us, instance, based_on, lease_seen))
            if instance in self.last:
                self.needs_slow_path = True
            self.last[instance] = based_on, prev
        if lease is not None and instance:
            self.leases.append((lease.id, lease.until_us, instance))
        if notes or rejections or answers:
            self.unconditional.notes.extend(notes)
            self.unconditional.rejections.extend(rejections)
            self.unconditional.answers.extend(answers)
        if settled:
            self.settled += [(place_of(shard, n), ordinal) for shard, n, ordinal in settled]
        if terminal and not is_new:
            self.finished.append((instance,))
        if row_blobs:
            self.refs += [(first + index, digest) for index, digest in row_blobs]
        return _new(Applied, (instance, position_of(first)))

    def _add_rows(
        self, rows: Sequence[LogRow], instance: int, version: int, prev: int, code_id: int, env_id: int, end: bytearray
    ) -> tuple[int, dict[str, SqlRow]]:
        """Collect log and outbox; ``end`` is the hash after the last row. Returns when that one was issued, and the timers."""
        n, log, outbox = self.n, self.log, self.outbox
        timers: dict[str, SqlRow] = {}  # by name: of two timers of one name the later one counts
        blob, empty, size, issued_us = bytearray, _EMPTY, 0, 0
        last = n + len(rows)
        for (action_id, kind, payload, issued_us, correlation, cause, issuer, body_hash, intents, status, emitted,
             payload_schema) in rows:  # fmt: skip
            n += 1
            version += 1
            size += len(payload) + len(intents)
            written: SqlRow = (
                n, instance, version, prev, blob(action_id), kind, blob(payload), payload_schema, issued_us,
                blob(correlation), empty if cause is None else blob(cause), issuer, blob(body_hash), blob(intents),
                status, code_id, env_id, end if n == last else empty,
            )  # fmt: skip
            log.append((*written, log_checksum(written)))
            prev = n
            for ordinal, priority, due_us, timer in emitted:
                if timer:
                    timers[timer] = n, ordinal, instance, priority, due_us, timer
                else:
                    outbox.append((n, ordinal, instance, priority, due_us, ""))
        self.n = n
        self.bytes += size
        return issued_us, timers
