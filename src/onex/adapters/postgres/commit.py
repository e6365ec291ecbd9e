"""What one commit writes, inside a transaction that ``writer`` opens and ends: one statement per table with all its rows.

The fast path trusts that each instance stands where the engine believes. It is wrong when fewer rows change than were given
(another version or lease), or when a unique index is broken (an instance that exists, an action id that was applied before).
Then ``writer`` rolls back and calls ``apply_one_by_one``: it compares each change with what is stored, leaves out those in
conflict and writes the others in order. The rows of its shards are locked since their fences were checked, so no other owner
writes there. Owners of other shards commit meanwhile: rows that belong to no shard (blobs, rejections) are written in one order
by all, so two of them do not wait for each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
from ..sql_rows import place_of
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
    SET_LEASE,
    SETTLE,
    SNAPSHOT,
    SNAPSHOT_BEFORE,
    UPDATE_FAILURES,
    UPDATE_LEASED,
    UPDATE_STATE,
    write_search,
)


def plain(change: KeyChange) -> KeyChange:
    """The change with text that PostgreSQL takes. Only ``held`` may hold NUL: it tells what user code raised."""
    return change._replace(held=storable_text(change.held)) if "\x00" in change.held else change


class PostgresRows(CommitRows):
    """The rows of one commit, and how PostgreSQL writes them.

    ``ends[shard]`` is the last place and the last instance number that were given there; each number moves on with ``add_to``.
    """

    __slots__ = ("ends", "instance_step")

    def __init__(self, ends: dict[int, tuple[int, int]], shards: int, at_us: int) -> None:
        super().__init__(0, 0, at_us)
        self.ends = ends
        self.instance_step = shards

    def add_to(self, shard: int, change: KeyChange, prev: int) -> Applied:
        """Collect the rows of a change in its shard."""
        self.n, self.instance = self.ends[shard]
        applied = self.add(plain(change), prev)
        self.ends[shard] = self.n, self.instance
        return applied

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
            (SET_LEASE, self.leases), (INSERT_LOG, self.log), (SETTLE, self.settled), (REPLACE_TIMER, self.replaced),
            (REMOVE_TIMERS, self.finished), (INSERT_OUTBOX, self.outbox), (SNAPSHOT, self.snapshots),
            (BLOB_REF, self.refs),
        ):  # fmt: skip
            await statement.run(connection, rows)
        for group, rows in self.search.items():
            await write_search(*group).run(connection, rows)
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
    connection: Connection, changes: Iterable[KeyChange], ends: dict[int, tuple[int, int]], shards: int, at_us: int
) -> tuple[list[Applied | Conflict], UnconditionalRows]:
    """Apply one change after the other and leave out those in conflict. Returns answers and further rows; ``ends`` moves on.

    Raises StateConsistencyError when a change is not in conflict and still cannot be written: then the store contradicts itself.
    """
    answers: list[Applied | Conflict] = []
    beside = UnconditionalRows.nothing()
    for change in changes:
        refused = await conflict(connection, change)
        if refused is not None:
            answers.append(refused)
            continue
        prev = await connection.fetchval("select position from workflow_state where instance = $1", change.instance)
        batch = PostgresRows(ends, shards, at_us)
        answers.append(batch.add_to(change.shard, change, prev or 0))
        if not await batch.run(connection):
            raise StateConsistencyError(f"a change of {change.key} fits what is stored, and could not be written")
        beside.notes.extend(batch.unconditional.notes)
        beside.rejections.extend(batch.unconditional.rejections)
        beside.answers.extend(batch.unconditional.answers)
    return answers, beside


async def write_blobs(connection: Connection, blobs: Sequence[NewBlob], at_us: int) -> None:
    # in one order everywhere: two owners that write the same ones wait for each other, and not in a circle
    await BLOB.run(connection, sorted((one.digest, one.media_type, len(one.data), at_us, one.data) for one in blobs))


async def delete_settled(connection: Connection, pointers: Iterable[Pointer]) -> None:
    await SETTLE.run(connection, [(place_of(shard, n), ordinal) for shard, n, ordinal in pointers])


async def write_notes(connection: Connection, notes: Iterable[Note], fences: Mapping[int, int]) -> None:
    """Of notes on one outbox row the last counts. One on a row that is no longer there changes nothing."""
    rows: dict[tuple[int, int], SqlRow] = {}
    for (shard, n, ordinal), state, attempt, due_us, started, crashes, result, error in notes:
        place = place_of(shard, n)
        rows[place, ordinal] = (
            state.value, attempt, due_us, int(started), crashes, result, storable_text(error), fences[shard], place,
            ordinal,
        )  # fmt: skip
    await NOTE.run(connection, rows.values())


async def write_attempts(connection: Connection, attempts: Iterable[Attempt]) -> None:
    """Keep these tries, and of each intent the newest only. One that is kept already, or whose intent is not there, is left out."""
    kept = [storable_attempt(attempt) for attempt in attempts]
    rows: list[SqlRow] = [
        (_place(one), one.pointer.ordinal, one.attempt, one.began_us, one.ended_us, one.outcome.value, one.code,
         one.message, one.trace)
        for one in kept
    ]  # fmt: skip
    await ATTEMPT.run(connection, rows)
    await OLD_ATTEMPTS.run(connection, {(_place(one), one.pointer.ordinal, ATTEMPTS_KEPT) for one in kept})


def _place(attempt: Attempt) -> int:
    return place_of(attempt.pointer.shard, attempt.pointer.n)


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
    rows += await NEW_REJECTION.run(connection, sorted(new))
    await COUNT_REJECTION.run(connection, seen)
    if rows > cap:
        await connection.execute(
            "delete from rejections where id in (select id from rejections order by last_us, id limit $1 for update skip locked)",
            rows - cap,
        )
    return min(rows, cap)


async def sweep(connection: Connection, at_us: int) -> int:
    """Remove answers after an hour, attempts and rejections after seven days. Returns how many rejections are left.

    Rows that another owner sweeps at this moment are left to it.
    """
    old_us = at_us - REJECTION_KEPT_US
    for table, column, where, value in (
        ("inbox", "ticket", "answer is not null and answered_us <= $1", at_us - ANSWER_KEPT_US),
        ("attempts", "id", "ended_us <= $1", old_us),
        ("attempts", "id", "id <= (select max(id) from attempts) - $1::bigint", ATTEMPTS_MAX),
        ("rejections", "id", "last_us <= $1", old_us),
    ):
        found = f"select {column} from {table} where {where} for update skip locked"  # noqa: S608 - all of it ours
        await connection.execute(f"delete from {table} where {column} in ({found})", value)  # noqa: S608 - all of it ours
    return int(await connection.fetchval("select count(*) from rejections"))
