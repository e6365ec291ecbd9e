"""What one commit writes, inside a transaction that ``core`` opens and ends: one statement per table with all its rows.

The fast path trusts that each instance stands where the engine believes. It is wrong when fewer rows change than were given
(another version or lease), or when a unique index is broken (an instance that exists, an action id that was applied before).
Then ``core`` rolls back and calls ``apply_one_by_one``: it compares each change with what is stored, leaves out those in
conflict and writes the others in order. The shard's row is locked since the fence was checked, so no other owner writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    Rejection,
)
from ...records import ATTEMPTS_KEPT
from ..commit_rows import CommitRows, SqlRow, UnconditionalRows, conflict_of
from ..store_limits import ANSWER_KEPT_US, ATTEMPTS_MAX, storable, storable_attempt, storable_text
from .link import Connection
from .statements import (
    ANSWER,
    ATTEMPT,
    BLOB,
    BLOB_REF,
    COUNT_REJECTION,
    INSERT_LOG,
    INSERT_OUTBOX,
    INSERT_STATE,
    NEW_REJECTION,
    NOTE,
    OLD_ATTEMPTS,
    REMOVE_TIMERS,
    REPLACE_TIMER,
    SETTLE,
    SNAPSHOT,
    SNAPSHOT_BEFORE,
    UPDATE_FAILURES,
    UPDATE_LEASED,
    UPDATE_STATE,
)


def plain(change: KeyChange) -> KeyChange:
    """The change with text that PostgreSQL takes. Only ``held`` may hold NUL: it tells what user code raised."""
    return change._replace(held=storable_text(change.held)) if "\x00" in change.held else change


class PostgresRows(CommitRows):
    """The rows of one commit, and how PostgreSQL writes them."""

    __slots__ = ()

    async def run(self, connection: Connection) -> bool:
        """False: a change does not fit what is stored; roll back. Raises asyncpg.UniqueViolationError for the same reason."""
        # The order matters: a snapshot of the old state comes before its update, and old timers go before new ones come.
        await SNAPSHOT_BEFORE.run(connection, self.snapshots_before)
        await INSERT_STATE.run(connection, self.inserts)
        for statement, rows in (
            (UPDATE_STATE, self.updates), (UPDATE_LEASED, self.leased), (UPDATE_FAILURES, self.failures),
        ):  # fmt: skip
            if await statement.run(connection, rows) != len(rows):
                return False
        for statement, rows in (
            (INSERT_LOG, self.log), (SETTLE, self.settled), (REPLACE_TIMER, self.replaced),
            (REMOVE_TIMERS, self.finished), (INSERT_OUTBOX, self.outbox), (SNAPSHOT, self.snapshots),
            (BLOB_REF, self.refs),
        ):  # fmt: skip
            await statement.run(connection, rows)
        return True


async def conflict(connection: Connection, change: KeyChange) -> Conflict | None:
    """Why this change cannot be applied to what is stored now. None when it can."""
    stored = await connection.fetchrow(
        "select instance, version, lease_id from workflow_state where workflow_type = $1 and instance_id = $2",
        *change.key,
    )
    if stored is None:
        return conflict_of(change, None, frozenset())
    ids = [row.action_id for row in change.rows]
    found = await connection.fetch(
        "select action_id from log where instance = $1 and action_id = any($2::bytea[])", stored[0], ids
    )
    return conflict_of(change, (stored[0], stored[1], stored[2]), {row[0] for row in found})


async def apply_one_by_one(
    connection: Connection, changes: Iterable[KeyChange], n: int, instance: int, at_us: int
) -> tuple[list[Applied | Conflict], int, UnconditionalRows]:
    """Apply one change after the other and leave out those in conflict. Returns answers, the last position, further rows.

    ``n`` and ``instance`` are the last numbers that were given before. Raises StateConsistencyError when a change is not in
    conflict and still cannot be written: then the store contradicts itself.
    """
    answers: list[Applied | Conflict] = []
    beside = UnconditionalRows.nothing()
    for change in changes:
        refused = await conflict(connection, change)
        if refused is not None:
            answers.append(refused)
            continue
        prev = await connection.fetchval("select position from workflow_state where instance = $1", change.instance)
        batch = PostgresRows(n, instance, at_us)
        answers.append(batch.add(plain(change), prev or 0))
        if not await batch.run(connection):
            raise StateConsistencyError(f"a change of {change.key} fits what is stored, and could not be written")
        n, instance = batch.n, batch.instance
        beside.notes.extend(batch.unconditional.notes)
        beside.rejections.extend(batch.unconditional.rejections)
        beside.answers.extend(batch.unconditional.answers)
    return answers, n, beside


async def write_blobs(connection: Connection, blobs: Sequence[NewBlob], at_us: int) -> None:
    await BLOB.run(connection, [(one.digest, one.media_type, len(one.data), at_us, one.data) for one in blobs])


async def delete_settled(connection: Connection, pointers: Iterable[Pointer]) -> None:
    await SETTLE.run(connection, [(n, ordinal) for _, n, ordinal in pointers])


async def write_notes(connection: Connection, notes: Iterable[Note], fence: int) -> None:
    """Of notes on one outbox row the last counts. One on a row that is no longer there changes nothing."""
    rows: dict[tuple[int, int], SqlRow] = {}
    for (_, n, ordinal), state, attempt, due_us, started, crashes, result, error in notes:
        rows[n, ordinal] = (
            state.value, attempt, due_us, int(started), crashes, result, storable_text(error), fence, n, ordinal,
        )  # fmt: skip
    await NOTE.run(connection, rows.values())


async def write_attempts(connection: Connection, attempts: Iterable[Attempt]) -> None:
    """Keep these tries, and of each intent the newest only. One that is kept already, or whose intent is not there, is left out."""
    kept = [storable_attempt(attempt) for attempt in attempts]
    rows: list[SqlRow] = [
        (one.pointer.n, one.pointer.ordinal, one.attempt, one.began_us, one.ended_us, one.outcome.value, one.code,
         one.message, one.trace)
        for one in kept
    ]  # fmt: skip
    await ATTEMPT.run(connection, rows)
    await OLD_ATTEMPTS.run(connection, {(one.pointer.n, one.pointer.ordinal, ATTEMPTS_KEPT) for one in kept})


async def write_answers(connection: Connection, answers: Iterable[InboxAnswer]) -> None:
    """A row that has an answer keeps it: of two answers to one row the first counts."""
    rows: dict[int, SqlRow] = {}
    for ticket, answer, at_us, _ in answers:
        rows.setdefault(ticket, (answer, at_us, ticket))
    await ANSWER.run(connection, rows.values())


@dataclass(slots=True)
class _Refused:
    """Equal refusals of one commit: the first one's time, the last one's text."""

    first_us: int
    last: Rejection
    times: int = 1


async def write_rejections(connection: Connection, rejections: Iterable[Rejection], rows: int, cap: int) -> int:
    """Count each refusal under (key, action id, code). Takes and returns the number of rows; beyond ``cap`` the oldest go."""
    kept: dict[bytes, _Refused] = {}
    for one in map(storable, rejections):
        text = b"\0".join((one.key.encode(), one.code.encode(), one.action_id))
        digest = hashlib.blake2b(text, digest_size=16).digest()
        before = kept.get(digest)
        if before is None:
            kept[digest] = _Refused(one.at_us, one)
        else:
            before.last, before.times = one, before.times + 1
    new: list[SqlRow] = [
        (digest, one.last.key, one.last.action_id, one.last.code, one.first_us) for digest, one in kept.items()
    ]
    seen: list[SqlRow] = [
        (digest, one.times, one.last.message, one.last.body, one.last.at_us, one.last.trace)
        for digest, one in kept.items()
    ]
    rows += await NEW_REJECTION.run(connection, new)
    await COUNT_REJECTION.run(connection, seen)
    if rows > cap:
        await connection.execute(
            "delete from rejections where id in (select id from rejections order by last_us, id limit $1)", rows - cap
        )
    return min(rows, cap)


async def sweep(connection: Connection, at_us: int) -> int:
    """Remove answers after an hour, attempts and rejections after seven days. Returns how many rejections were removed."""
    execute, old_us = connection.execute, at_us - REJECTION_KEPT_US
    await execute("delete from inbox where answer is not null and answered_us <= $1", at_us - ANSWER_KEPT_US)
    await execute("delete from attempts where ended_us <= $1", old_us)
    await execute("delete from attempts where id <= (select max(id) from attempts) - $1::bigint", ATTEMPTS_MAX)
    status = await execute("delete from rejections where last_us <= $1", old_us)
    return int(status.rpartition(" ")[2])
