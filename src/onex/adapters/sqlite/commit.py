"""One commit as SQL: the rows of all changes are collected per statement, then each statement is executed once.

Theory of operation. ``core`` opens and ends the transaction; this file fills it.

1. ``CommitRows.add`` (``adapters/commit_rows.py``) turns one ``KeyChange`` into rows, and asks SQLite nothing.
2. ``SqliteRows.run`` executes each statement once for many rows, one table after the other (``statements``). It asks for
   nothing before it writes.
3. Rows that depend on no stored state (``UnconditionalRows``) are written last: notes, rejections, answers of the inbox.

The fast path trusts that each instance stands where the engine believes. Three things show when that is wrong:

- An update names the version and the lease it is based on. If the stored row has others, fewer rows change than were
  given, and ``run`` returns False.
- A new instance that exists already, or an action id that was applied before, breaks a unique index: IntegrityError.
- ``add`` sets ``needs_slow_path`` for what neither of them would show, for example two changes of one instance.

In each case ``core`` rolls back, so nothing of the fast path stays, and calls ``apply_one_by_one`` in a new transaction. That
compares each change with what is stored, leaves out those in conflict and writes the others in order. The transaction
is immediate, so nobody else writes between a comparison and its commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from ...kernel.errors import StateConsistencyError
from ...ports import (
    REJECTION_KEPT_US,
    Applied,
    Attempt,
    Conflict,
    InboxAnswer,
    KeyChange,
    NewBlob,
    Note,
    Pointer,
    ProjectionRow,
    Rejection,
)
from ...records import ATTEMPTS_KEPT
from ..commit_rows import CommitRows, SqlRow, UnconditionalRows, conflict_of
from ..store_limits import ANSWER_KEPT_US, ATTEMPTS_MAX, storable, storable_attempt, storable_text
from .statements import (
    ANSWER,
    INSERT_LOG,
    INSERT_OUTBOX,
    INSERT_STATE,
    NOTE,
    REMOVE_TIMERS,
    REPLACE_TIMER,
    SET_LEASE,
    SETTLE,
    SNAPSHOT,
    SNAPSHOT_BEFORE,
    TOGETHER_BYTES,
    UPDATE_FAILURES,
    UPDATE_LEASED,
    UPDATE_STATE,
    write_search,
)


class SqliteRows(CommitRows):
    """The rows of one commit, and how SQLite writes them."""

    __slots__ = ()

    def run(self, cursor: sqlite3.Cursor) -> bool:
        """False: a change does not fit what is stored; roll back. Raises sqlite3.IntegrityError for the same reason."""
        # The order matters: a snapshot of the old state comes before its update, and old timers go before new ones come.
        many, together = cursor.executemany, self.bytes <= TOGETHER_BYTES
        if self.snapshots_before:
            many(SNAPSHOT_BEFORE, self.snapshots_before)
        if self.inserts:
            INSERT_STATE.run(cursor, self.inserts, together=together)
        if self.updates and UPDATE_STATE.run(cursor, self.updates, together=together) != len(self.updates):
            return False
        if self.leased:
            many(UPDATE_LEASED, self.leased)
            if cursor.rowcount != len(self.leased):
                return False
        if self.failures:
            many(UPDATE_FAILURES, self.failures)
            if cursor.rowcount != len(self.failures):
                return False
        if self.leases:  # each was compared with the stored version and lease by one of the statements above
            many(SET_LEASE, self.leases)
        if self.log:
            INSERT_LOG.run(cursor, self.log, together=together)
        if self.settled:
            SETTLE.run(cursor, self.settled)
        if self.replaced:
            many(REPLACE_TIMER, self.replaced)
        if self.finished:
            many(REMOVE_TIMERS, self.finished)
        if self.outbox:
            INSERT_OUTBOX.run(cursor, self.outbox)
        if self.snapshots:
            many(SNAPSHOT, self.snapshots)
        for (is_new, slots), rows in self.search.items():
            write_search(is_new, slots).run(cursor, rows, together=together)
        if self.refs:
            many("insert or ignore into blob_refs(n, digest) values(?, ?)", self.refs)
        return True


def conflict(cursor: sqlite3.Cursor, change: KeyChange) -> Conflict | None:
    """Why this change cannot be applied to what is stored now. None when it can."""
    stored: tuple[int, int, bytes | None] | None = cursor.execute(
        "select instance, version, lease_id from workflow_state where workflow_type = ? and instance_id = ?", change.key
    ).fetchone()
    asked = "select 1 from log where instance = ? and action_id = ?"
    applied: set[bytes] = set()
    if stored is not None:
        ids = {row.action_id for row in change.rows}
        applied = {one for one in ids if cursor.execute(asked, (stored[0], one)).fetchone()}
    return conflict_of(change, stored, applied)


def apply_one_by_one(
    cursor: sqlite3.Cursor, changes: Iterable[KeyChange], n: int, instance: int, at_us: int
) -> tuple[list[Applied | Conflict], int, UnconditionalRows]:
    """Apply one change after the other and leave out those in conflict. Returns answers, the last position, further rows.

    ``n`` and ``instance`` are the last numbers that were given before. Raises StateConsistencyError when a change is not in
    conflict and still cannot be written: then the store contradicts itself.
    """
    answers: list[Applied | Conflict] = []
    unconditional = UnconditionalRows.nothing()
    for change in changes:
        refused = conflict(cursor, change)
        if refused is not None:
            answers.append(refused)
            continue
        found = cursor.execute("select position from workflow_state where instance = ?", (change.instance,)).fetchone()
        batch = SqliteRows(n, instance, at_us)
        answers.append(batch.add(change, found[0] if found else 0))
        if not batch.run(cursor):
            raise StateConsistencyError(f"a change of {change.key} fits what is stored, and could not be written")
        n, instance = batch.n, batch.instance
        unconditional.notes.extend(batch.unconditional.notes)
        unconditional.rejections.extend(batch.unconditional.rejections)
        unconditional.answers.extend(batch.unconditional.answers)
    return answers, n, unconditional


def write_blobs(cursor: sqlite3.Cursor, blobs: Sequence[NewBlob], at_us: int) -> None:
    cursor.executemany(
        "insert or ignore into blobs(digest, media_type, size, at_us, data) values(?, ?, ?, ?, ?)",
        [(blob.digest, blob.media_type, len(blob.data), at_us, blob.data) for blob in blobs],
    )


def delete_settled(cursor: sqlite3.Cursor, pointers: Iterable[Pointer]) -> None:
    SETTLE.run(cursor, [(n, ordinal) for _, n, ordinal in pointers])


def write_notes(cursor: sqlite3.Cursor, notes: Iterable[Note], fence: int) -> None:
    """Of notes on one outbox row the last counts. One on a row that is no longer there changes nothing."""
    rows: dict[tuple[int, int], SqlRow] = {}
    size = 0
    for (_, n, ordinal), state, attempt, due_us, started, crashes, result, error in notes:
        size += len(result) + len(error)
        rows[n, ordinal] = (
            state.value, attempt, due_us, 1 if started else 0, crashes, bytearray(result), storable_text(error), fence,
            n, ordinal,
        )  # fmt: skip
    NOTE.run(cursor, [*rows.values()], together=size <= TOGETHER_BYTES)


def write_attempts(cursor: sqlite3.Cursor, attempts: Iterable[Attempt]) -> None:
    """Keep these tries, and of each intent the newest only. One that is kept already, or whose intent is not there, is left out."""
    kept = [storable_attempt(attempt) for attempt in attempts]
    cursor.executemany(
        "insert or ignore into attempts(instance, n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace)"
        " select instance, n, ?, ?, ?, ?, ?, ?, ?, ? from log where n = ?",
        [
            (one.pointer.ordinal, one.attempt, one.began_us, one.ended_us, one.outcome.value, one.code, one.message,
             one.trace, one.pointer.n)
            for one in kept
        ],
    )  # fmt: skip
    cursor.executemany(
        "delete from attempts where id in (select a.id from log l join attempts a on a.instance = l.instance and a.n = l.n"
        " where l.n = ? and a.ordinal = ? order by a.id desc limit -1 offset ?)",
        {(n, ordinal, ATTEMPTS_KEPT) for _, n, ordinal in (one.pointer for one in kept)},
    )


def write_answers(cursor: sqlite3.Cursor, answers: Iterable[InboxAnswer]) -> None:
    """A row that has an answer keeps it: of two answers to one row the first counts."""
    rows: dict[int, SqlRow] = {}
    size = 0
    for ticket, answer, at_us, _ in answers:
        size += len(answer)
        rows.setdefault(ticket, (bytearray(answer), at_us, ticket))
    ANSWER.run(cursor, [*rows.values()], together=size <= TOGETHER_BYTES)


def write_rejections(cursor: sqlite3.Cursor, rejections: Iterable[Rejection], rows: int, cap: int) -> int:
    """Count each refusal under (key, action id, code). Takes and returns the number of rows; beyond ``cap`` the oldest go."""
    kept = [storable(rejection) for rejection in rejections]
    cursor.executemany(
        "insert or ignore into rejections(key, action_id, code, message, body, times, first_us, last_us)"
        " values(?, ?, ?, '', x'', 0, ?, 0)",
        [(one.key, one.action_id, one.code, one.at_us) for one in kept],
    )
    rows += cursor.rowcount
    cursor.executemany(
        "update rejections set times = times + 1, message = ?, body = ?, last_us = ?, trace = ?"
        " where key = ? and action_id = ? and code = ?",
        [(one.message, one.body, one.at_us, one.trace, one.key, one.action_id, one.code) for one in kept],
    )
    if rows > cap:
        cursor.execute(
            "delete from rejections where id in (select id from rejections order by last_us, id limit ?)", (rows - cap,)
        )
    return min(rows, cap)


def write_projection(
    cursor: sqlite3.Cursor, name: str, shard: int, from_n: int, to_n: int, rows: Iterable[ProjectionRow]
) -> bool:
    """False, and nothing changed: the watermark stands elsewhere."""
    cursor.execute(
        "update projection_watermarks set n = ? where name = ? and shard = ? and n = ?", (to_n, name, shard, from_n)
    )
    if not cursor.rowcount and not from_n:
        cursor.execute("insert or ignore into projection_watermarks values(?, ?, ?)", (name, shard, to_n))
    if cursor.rowcount != 1:
        return False
    cursor.executemany(
        "insert into workflow_projection(name, workflow_type, instance_id, version, tag, last_action, fields)"
        " values(?, ?, ?, ?, ?, ?, ?) on conflict do update set version = excluded.version, tag = excluded.tag,"
        " last_action = excluded.last_action, fields = excluded.fields where version <= excluded.version",
        [(name, *row.key, row.version, row.tag, row.last_action, row.fields) for row in rows],
    )
    return True


def sweep(cursor: sqlite3.Cursor, at_us: int) -> int:
    """Remove answers after an hour, attempts and rejections after seven days. Returns how many rejections were removed."""
    cursor.execute("delete from inbox where answer is not null and answered_us <= ?", (at_us - ANSWER_KEPT_US,))
    cursor.execute("delete from attempts where ended_us <= ?", (at_us - REJECTION_KEPT_US,))
    cursor.execute("delete from attempts where id <= (select max(id) from attempts) - ?", (ATTEMPTS_MAX,))
    cursor.execute("delete from rejections where last_us <= ?", (at_us - REJECTION_KEPT_US,))
    return cursor.rowcount
