"""Bugs planted by somebody who had read the promises and the engine, but not what the simulation does or checks.

The other files grew together with the invariants, so a bug that nobody thought of may be missing from both. These were
written down before the first of them was run. Each breaks one promise of docs/concepts/promises.md; its docstring has the
number.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import onex.adapters.sqlite.core
import onex.engine.batch
import onex.engine.effect_runs
import onex.engine.schema_upgrade
import onex.engine.takeover
from onex.adapters.commit_rows import UnconditionalRows
from onex.adapters.memory.store import MemoryStore
from onex.adapters.sqlite.commit import apply_one_by_one
from onex.engine.batch import Batch, Extras, answer_json
from onex.engine.dead_letters import DeadLetters
from onex.engine.delivery import stored_delivery
from onex.engine.dispatch import ReducerService
from onex.engine.fold import Folded
from onex.engine.inbox import Inbox
from onex.engine.log_tail import LogTail
from onex.engine.mailbox import Entry, Mailboxes
from onex.engine.pending import Answer, Committed, Pending
from onex.engine.projections import ProjectionMaterializerService
from onex.engine.takeover import Takeover
from onex.engine.target_queue import TargetQueue, TargetQueues
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import LeaseConflictError, OnexError, Overloaded, TemporaryDatabaseError
from onex.ports import (
    Applied,
    Conflict,
    EnumOutboxState,
    KeyChange,
    LogEntry,
    Note,
    OutboxRow,
    Pointer,
    Position,
    Rejection,
)
from onex.simulation.sim_store import SimStore
from tests.simulation.planting import planted, swapped

# --- dispatch ---------------------------------------------------------------------------------------------------------------


@planted
def extras_of_a_failed_commit_forgotten() -> Iterator[None]:
    """promise 26, 39: rows settled or dead, and inbox answers, of a batch that failed are not in the next one."""

    def wrong(self: Extras, later: Extras) -> Extras:
        return later._replace(refused=self.refused + later.refused)

    with swapped(Extras, "followed_by", wrong):
        yield


@planted
def id_in_flight_compared_without_its_body() -> Iterator[None]:
    """promise 6: another body under an id that is in flight is told the first one's success."""
    right = ReducerService.accept

    def wrong(self: ReducerService, pending: Pending) -> Pending:
        if self.closed is None and pending.refusal is None:
            twin = self._mailboxes[pending.key].inflight.get(pending.id)
            if twin is not None:
                return twin
        return right(self, pending)

    with swapped(ReducerService, "accept", wrong):
        yield


@planted
def release_forgotten_by_a_failed_commit() -> Iterator[None]:
    """promise 17: an operator's release was in the batch that failed, and is in no other."""
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        entry.release = False
        right(self, entry, pendings, maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield


@planted
def release_answered_before_it_is_durable() -> Iterator[None]:
    """promise 17, 39: the wait for the commit is forgotten, so "done" is said of what a crash may still take away."""

    async def wrong(self: ReducerService, key: WorkflowKey) -> None:
        self._check_running()
        entry = self._mailboxes[key]
        entry.release = True
        self._mailboxes.enqueue(entry)
        self._wake_writer()

    with swapped(ReducerService, "release", wrong):
        yield


# --- fold and batch ---------------------------------------------------------------------------------------------------------


@planted
def epoch_raised_by_every_action() -> Iterator[None]:
    """promise 3: the epoch counts commands under the lease, not outcomes, timers and what came without one."""
    right = Folded._step

    def wrong(self: Folded, pending: Pending) -> None:
        right(self, pending)
        if pending.lease_id is None:
            self.epoch += 1

    with swapped(Folded, "_step", wrong):
        yield


@planted
def unleased_triggers_refused_without_a_lease() -> Iterator[None]:
    """promise 10: cancel and approve need no lease while one runs."""
    right = Folded._check_lease

    def wrong(self: Folded, pending: Pending) -> OnexError | None:
        held = self.lease_id is not None and self.lease_until_us >= self._rules.now_us
        if held and pending.lease_id is None:
            return LeaseConflictError(f"{self.entry.key} is led by an orchestrator; wait, or ask it")
        return right(self, pending)

    with swapped(Folded, "_check_lease", wrong):
        yield


@planted
def inbox_answered_with_the_version_before() -> Iterator[None]:
    """promise 9, 39: off by one, the row of a batch counts from 0 and versions from 1."""

    def wrong(change: KeyChange, row: int) -> Committed:
        return Committed(change.key, change.based_on + row, Position(0, 0), change.rows[row].status)

    with swapped(onex.engine.batch, "_expected", wrong):
        yield


@planted
def unreadable_input_recorded_under_no_key() -> Iterator[None]:
    """promise 16: ``if pending.key`` is true of an empty key too, which is a tuple of two; its source is not recorded."""
    right = Batch._rejections

    def wrong(self: Batch, results: Sequence[tuple[Pending, Answer]]) -> list[Rejection]:
        for pending, _ in results:
            if not pending.key.workflow_type:
                pending.issuer = str(pending.key)  # type: ignore[misc]  # nothing changes a Pending; this bug does
        return right(self, results)

    with swapped(Batch, "_rejections", wrong):
        yield


# --- mailbox and inbox ------------------------------------------------------------------------------------------------------


@planted
def refusals_remembered() -> Iterator[None]:
    """promise 7: what was refused stays "in flight", so the same action sent again is not judged again."""
    right = ReducerService._resolve

    def wrong(self: ReducerService, results: Sequence[tuple[Pending, Answer]]) -> None:
        right(self, results)
        for pending, answer in results:
            entry = self._mailboxes.find(pending.key)
            if entry is not None and isinstance(answer, OnexError) and pending.refusal is None:
                entry.inflight.setdefault(pending.id, pending)

    with swapped(ReducerService, "_resolve", wrong):
        yield


@planted
def cancelled_wait_cancels_the_others() -> Iterator[None]:
    """promise 6, 9: all who wait for an action share a future; the first who gives up takes it from the others."""

    async def wrong(self: Pending) -> Answer:
        while self.answer is None:
            if not self._waiters:
                self._waiters = (asyncio.get_running_loop().create_future(),)
            await self._waiters[0]
        return self.answer

    with swapped(Pending, "answered", wrong):
        yield


@planted
def second_of_two_equal_inbox_rows_unanswered() -> Iterator[None]:
    """promise 6, 39: the same action twice in the inbox at once; only the first row is turned into the answer."""

    async def wrong(self: Inbox, pending: Pending) -> None:
        while True:
            try:
                twin = self.service.accept(pending)
                break
            except Overloaded:
                await self.service.quiet()
            except OnexError as error:
                if self.service.closed is not None:
                    raise
                self._answer(pending, answer_json(error))
                return
        self._last[pending.key] = twin

    with swapped(Inbox, "_accept", wrong):
        yield


@planted
def failed_inbox_read_not_repeated() -> Iterator[None]:
    """promise 39: the sign is used up by a read that failed, and nobody looks until the next one."""

    async def wrong(self: Inbox) -> None:
        await self.service.store.woken()
        await self.drain()

    async def only_by_a_sign(self: SimStore) -> None:
        await self.disk.written.wait()
        self.disk.written.clear()
        if self._faults is not None:
            await self._faults.after("woken", await self._faults.before("woken"))
        if self._faults is not None and self._faults.hits("read fails"):
            raise TemporaryDatabaseError("a look at the inbox failed, as the simulation had it")

    with swapped(Inbox, "_look", wrong), swapped(SimStore, "woken", only_by_a_sign):
        yield


# --- relay, takeover, queue, dead letters ------------------------------------------------------------------------------------


@planted
def crashes_forgotten_where_a_start_is_recorded() -> Iterator[None]:
    """promise 29: a note's crashes are 0 unless given; what kills its process never runs alone and is never dead."""

    def wrong(
        pointer: Pointer,
        state: EnumOutboxState = EnumOutboxState.WAITING,
        attempt: int = 0,
        due_us: int = 0,
        started: bool = False,
        crashes: int = 0,
        result: bytes = b"",
        error: str = "",
    ) -> Note:
        return Note(pointer, state, attempt, due_us, started, 0 if started else crashes, result, error)

    with swapped(onex.engine.effect_runs, "Note", wrong):
        yield


@planted
def run_beside_others_after_two_crashes() -> Iterator[None]:
    """promise 29: alone from two crashes on; off by one, at three it is dead already."""
    with swapped(onex.engine.takeover, "CRASHES_ALONE", 3):
        yield


@planted
def more_at_once_than_the_contract_allows() -> Iterator[None]:
    """promise 21: those that run already are not taken off the limit of their target."""

    def wrong(self: TargetQueues, target: TargetQueue) -> None:
        for _ in range(min(target.limit, len(target)) if self.is_open else 0):
            target.running += 1
            self.run(target)

    with swapped(TargetQueues, "fill", wrong):
        yield


@planted
def number_of_an_intent_differs_when_read_back() -> Iterator[None]:
    """promise 19: read from its row, an intent is numbered among all of its step, not among those of its name."""

    def wrong(names: Sequence[str]) -> Sequence[int]:
        return range(len(names))

    with swapped(onex.engine.schema_upgrade, "ordinals", wrong):
        yield


@planted
def redriven_with_the_attempts_it_had() -> Iterator[None]:
    """promise 24: a dead intent driven again begins where it ended, so its first failure is its last."""

    async def wrong(self: DeadLetters, pointer: Pointer) -> None:
        after = pointer._replace(ordinal=pointer.ordinal - 1)
        rows = await self.reader.outbox((EnumOutboxState.DEAD,), None, after, 1)
        if not rows or rows[0].pointer != pointer:
            await right(self, pointer)
            return
        delivery = stored_delivery(rows[0], self.service.registry, self.clock.now_us())
        delivery.maybe_done = delivery.crashes > 0 or delivery.attempt > 1
        delivery.due_us = 0
        written = self.service.note_durably(Note(pointer, attempt=delivery.attempt))
        for in_commit in self._in_commit.pop(pointer, ()):
            in_commit()
        await written
        self._queue.add(delivery)

    right = DeadLetters._drive
    with swapped(DeadLetters, "_drive", wrong):
        yield


@planted
def held_timer_fires_though_it_was_replaced() -> Iterator[None]:
    """promise 27: a held timer is delivered without a look at the steps behind it."""

    async def wrong(self: Takeover, row: OutboxRow) -> bool:
        return False

    with swapped(Takeover, "timer_is_over", wrong):
        yield


# --- project, tail, stores --------------------------------------------------------------------------------------------------


@planted
def projection_query_answered_one_row_early() -> Iterator[None]:
    """promise 9: ``after=position`` is answered when the row before it has been projected."""
    right = ProjectionMaterializerService.wait

    async def wrong(self: ProjectionMaterializerService, reached: Position) -> None:
        await right(self, reached._replace(n=reached.n - 1))

    with swapped(ProjectionMaterializerService, "wait", wrong):
        yield


@planted
def signal_read_after_the_log() -> Iterator[None]:
    """promise 9: a commit between the read and the look at the signal wakes nobody who follows the log."""

    async def wrong(self: LogTail) -> AsyncIterator[LogEntry]:
        while True:
            rows = await self.read()
            for row in rows:
                yield row
            if not rows:
                await self.commit_signal.wait(self.commit_signal.count)

    with swapped(LogTail, "follow", wrong):
        yield


@planted
def neighbours_of_a_conflict_lose_their_extras() -> Iterator[None]:
    """promise 16, 24, 39: SQLite, judging change by change, applies one and forgets its notes, refusals and answers."""
    right = apply_one_by_one

    def wrong(
        cursor: sqlite3.Cursor, changes: Iterable[KeyChange], n: int, instance: int, at_us: int
    ) -> tuple[list[Applied | Conflict], int, UnconditionalRows]:
        answers, last, _ = right(cursor, changes, n, instance, at_us)
        return answers, last, UnconditionalRows.nothing()

    with swapped(onex.adapters.sqlite.core, "apply_one_by_one", wrong):
        yield


@planted
def refusal_seen_again_counted_once() -> Iterator[None]:
    """promise 16: one row per key, id and code, that counts how often; in memory it begins at one each time."""
    right = MemoryStore._reject

    def wrong(self: MemoryStore, one: Rejection) -> None:
        self.tables.rejections.pop((one.key, one.action_id, one.code), None)
        right(self, one)

    with swapped(MemoryStore, "_reject", wrong):
        yield
