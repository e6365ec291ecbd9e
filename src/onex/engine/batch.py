"""Batch: the folds of many instances as one ``Commit``, and what the store said of it turned back into answers.

``build`` runs before the commit, ``settle`` after it. What was judged on a change (refusals, held outcomes, inbox answers) travels
inside that change: if the store leaves the change out because of a conflict, its judgements are left out with it. Refusals
that belong to no change (``loose``) and side writes are written beside the changes, in any case.

What may go wrong, and why the end is still right:

- A refused action was applied before, under the same id: dedup comes before every other judgement (promise 5), so whoever may
  be in the log is looked up, and gets its first answer.
- Such a duplicate made the reducer fail. It must not count as a failure: the whole fold is done again without it.
- The store answers Conflict for a change: nobody of it is answered, and ``again`` gives it back to be folded anew.
- An inbox row is answered within the commit, when its position is not assigned yet: its sender reads that from the log.

Records are built by name, but for the loop of ``_apply``: it runs once per action, and there a tuple built by position costs a
third of the time (measured; as in ``fold``).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import NamedTuple, Protocol

import orjson

from ..kernel.action import WorkflowKey
from ..kernel.errors import DuplicateActionError, OnexError, ReducerFailed
from ..kernel.lease import WorkflowLease
from ..ports import (
    Applied,
    Attempt,
    Commit,
    Conflict,
    EnumOutboxState,
    InboxAnswer,
    KeyChange,
    LogEntry,
    NewBlob,
    Note,
    Pointer,
    Position,
    Rejection,
)
from ..records import REJECTED_BODY_BYTES
from .action_checks import TimerGone
from .cancelling import NONE_CANCELLED, Cancelled, is_end, sorted_open, with_cancelled
from .delivery import Delivery
from .encode import ordinals
from .failure_trace import failure_trace, kept_message
from .fold import Folded, make
from .mailbox import Loaded, Retry
from .pending import Answer, Committed, Pending
from .quotas import CountOpen
from .schema_upgrade import TimerWait

_FIRST = (0,)

Lookup = Callable[[Pending], Awaitable[Answer | None]]


class Extras(NamedTuple):
    """What goes along with a batch beside its changes."""

    refused: list[tuple[Pending, OnexError]]
    notes: list[Note]
    rejections: list[Rejection]
    answers: list[InboxAnswer]
    settled: list[Pointer]
    attempts: list[Attempt]

    @classmethod
    def empty(cls) -> Extras:
        return cls([], [], [], [], [], [])

    def followed_by(self, later: Extras) -> Extras:
        """Both, these first."""
        return Extras(
            self.refused + later.refused,
            self.notes + later.notes,
            self.rejections + later.rejections,
            self.answers + later.answers,
            self.settled + later.settled,
            self.attempts + later.attempts,
        )


class Settlement(NamedTuple):
    """A batch after the store's answer. ``again`` met a conflict and is folded again."""

    results: list[tuple[Pending, Answer]]
    deliveries: list[Delivery]
    settled: list[Pointer]
    applied: list[tuple[KeyChange, Applied]]
    told: list[Pointer]
    again: list[tuple[Folded, Conflict]]


class CommitListener(Protocol):
    """What the writer calls, in its own task, between two commits. A method may not wait, and may not raise.

    For one commit the order is: ``rows_ended``, ``emitted``, then the answers to callers, then ``changed``.
    """

    def rows_ended(self, pointers: Sequence[Pointer]) -> None:
        """These outbox rows are deleted or stopped: nothing of them may run any more."""

    def emitted(self, deliveries: Sequence[Delivery]) -> None:
        """These intents are durable, and may run from now on."""

    async def open_intents(self, key: WorkflowKey) -> Sequence[Delivery]:
        """Every intent of the instance that waits or runs, timers aside. Raises what the store raises."""

    @property
    def count_open(self) -> CountOpen:
        """How many intents of an instance wait, run or are held, timers aside. Raises what the store raises."""

    def withhold(self, pointers: Sequence[Pointer]) -> None:
        """These are not started until ``rows_ended`` names them, or the commit is over."""

    def give_back(self) -> None:
        """The commit was not made: what was withheld may run."""

    def doubt(self, running: Sequence[Pointer]) -> None:
        """Nobody knows whether the commit was made: what was withheld, and these, which run and were cancelled, begin no try."""

    def told(self, pointers: Sequence[Pointer]) -> None:
        """The commit is over. These run and were cancelled durably; what was withheld for a change that was left out may run."""

    def changed(self, changes: Sequence[tuple[KeyChange, Applied]]) -> None:
        """These instances have new versions, or may have them (a position of 0): whoever waits for one reads the store."""

    def answer_was_lost(self) -> None:
        """A commit before this one had no answer. The outbox may hold rows that ``emitted`` never named."""

    def parted(self, shards: Set[int]) -> None:
        """These shards are another's: nothing of them may run here any more."""

    def stopped(self, error: OnexError) -> None:
        """There will be no further commit, because of ``error``."""


class Batch:
    """One transaction in the making. Build it, commit it, settle it."""

    def __init__(self, folds: Sequence[Folded], extras: Extras, retries: Mapping[Pending, Retry], now_us: int) -> None:
        self.folds = folds
        self.now_us = now_us
        self.extras = extras
        self.retries = retries
        # refusals beside any change, and those written with each change
        self.loose: list[tuple[Pending, Answer]] = []
        self.refused_before: list[tuple[Pending, Answer]] = []
        self.written: list[tuple[Folded, KeyChange, list[tuple[Pending, Answer]]]] = []
        self.cancelled: dict[Folded, Cancelled] = {}
        self._again: list[tuple[Folded, Conflict]] = []
        # rows that stop: until that is durable, whoever reads the store sees them wait
        self._stopped = [note.pointer for note in extras.notes if note.state is not EnumOutboxState.WAITING]

    async def build(self, fences: Mapping[int, int], first_answer: Lookup, listener: CommitListener) -> Commit:
        """The commit. ``first_answer`` tells what a refused id was answered before: dedup comes before every other judgement."""
        rejections, answers = list(self.extras.rejections), list(self.extras.answers)
        notes = list(self.extras.notes)
        blobs: list[NewBlob] = []
        for pending, refusal in self.extras.refused:
            answer: Answer | None = None
            if isinstance(refusal, DuplicateActionError):  # of one in flight; its own body may stand in the log
                answer = await first_answer(pending)
            self.refused_before.append((pending, answer or refusal))
        for folded in self.folds:
            refused: list[tuple[Pending, Answer]] = []
            counted: set[bytes] = set()
            for pending, error in folded.refused:
                retry = self.retries.get(pending)
                known = pending.given_id or (retry is not None and retry.maybe_applied)
                first = await first_answer(pending) if known else None
                refused.append((pending, first or error))
                if first is not None and isinstance(error, ReducerFailed):
                    counted.add(pending.id)
                if isinstance(error, TimerGone) and pending.settles is not None:
                    self._stopped.append(pending.settles)
            refused.extend(folded.granted)
            if counted:  # a duplicate is no failure of the reducer: fold again without it
                self._again.append((folded, Conflict(folded.version, frozenset(counted))))
                continue
            if folded.notes:
                blobs.extend(_held_blobs(folded))
            change = folded.change
            if change is None:
                self.loose.extend(refused)
                notes.extend(folded.notes)
                self._stopped.extend(note.pointer for note in folded.notes)
                continue
            answered: list[tuple[Pending, Answer]] = []
            for row, (pending, _) in enumerate(folded.stepped):
                if pending.ticket:
                    answered.append((pending, _expected(change, row)))
                if pending.blobs:
                    blobs.extend(pending.blobs)
            if refused or answered or folded.notes:
                change = change._replace(
                    notes=tuple(folded.notes),
                    rejections=tuple(self._rejections(refused)),
                    answers=tuple(self._answers([*refused, *answered])),
                )
            if folded.cancels or is_end(change):
                found = await listener.open_intents(change.key)
                cancelled = sorted_open(folded, change, [one for one in found if one.pointer not in self._stopped])
                if cancelled != NONE_CANCELLED:
                    listener.withhold(cancelled.withheld)
                    self.cancelled[folded], change = cancelled, with_cancelled(change, cancelled)
                    notes = [
                        note for note in notes if note.pointer not in cancelled.running
                    ]  # of a try that ended meanwhile
            self.written.append((folded, change, refused))
        beside = [*self.refused_before, *self.loose]
        rejections.extend(self._rejections(beside))
        answers.extend(self._answers(beside))
        changes = tuple(change for _, change, _ in self.written)
        commit = Commit(
            fences=dict(fences),  # shards that are gained while it is written are no part of it
            changes=changes,
            blobs=tuple(blobs),
            notes=tuple(notes),
            rejections=tuple(rejections),
            answers=tuple(answers),
            settled=tuple(self.extras.settled),
            at_us=self.now_us,
            attempts=tuple(self.extras.attempts),
        )
        return commit if len(fences) == 1 else commit._replace(fences=_touched(commit))

    def settle(self, outcomes: Sequence[Applied | Conflict]) -> Settlement:
        """Who is answered what, now that the store has answered. ``outcomes`` stand as ``written`` does."""
        results = [*self.refused_before, *self.loose]
        done = Settlement(
            results=results,
            deliveries=[],
            settled=[*self.extras.settled, *self._stopped],
            applied=[],
            told=[],
            again=list(self._again),
        )
        for (folded, change, refused), outcome in zip(self.written, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                done.again.append((folded, outcome))
                continue
            done.applied.append((change, outcome))
            # most changes have none of these, and here each look costs something
            if refused:
                done.results.extend(refused)
            if change.settled:
                done.settled.extend(change.settled)
            if folded.notes:
                done.settled.extend([note.pointer for note in folded.notes])
            if folded in self.cancelled:
                done.told.extend(self.cancelled[folded].running)
            _apply(folded, change, outcome, done)
        return done

    @property
    def left_out(self) -> list[Folded]:
        """Folds that are in no commit, and are to be made again."""
        return [folded for folded, _ in self._again]

    def _rejections(self, results: Sequence[tuple[Pending, Answer]]) -> list[Rejection]:
        """Retryable refusals are counted, not kept; a timer that came too late is no error of anybody."""
        kept: list[Rejection] = []
        for pending, error in results:
            if isinstance(error, OnexError) and not error.retryable and not isinstance(error, TimerGone):
                key = str(pending.key) if pending.key.workflow_type else pending.issuer
                body = pending.body[:REJECTED_BODY_BYTES]
                kept.append(
                    Rejection(
                        key=key,
                        action_id=pending.id,
                        code=error.code,
                        message=kept_message(error, pending.payload),
                        body=body,
                        at_us=self.now_us,
                        trace=failure_trace(error, pending.payload),
                    )
                )
        return kept

    def _answers(self, results: Sequence[tuple[Pending, Answer]]) -> list[InboxAnswer]:
        return [
            InboxAnswer(ticket=pending.ticket, answer=answer_json(answer), at_us=self.now_us, shard=pending.shard)
            for pending, answer in results
            if pending.ticket
        ]


def _touched(commit: Commit) -> Mapping[int, int]:
    """The fences of the shards in which it writes: a shard that it does not name may be another's by now."""
    pointers = [*commit.settled, *(note.pointer for note in commit.notes), *(one.pointer for one in commit.attempts)]
    shards = {answer.shard for answer in commit.answers}
    for change in commit.changes:
        shards.add(change.shard)
        pointers += change.settled  # a message's row is its sender's
        pointers += [note.pointer for note in change.notes]
        shards.update(answer.shard for answer in change.answers)
    shards.update(pointer.shard for pointer in pointers)
    return {shard: fence for shard, fence in commit.fences.items() if shard in shards}


def _held_blobs(folded: Folded) -> list[NewBlob]:
    """What an outcome that is held names is kept with it: it is delivered again by an owner who never saw its bytes."""
    held = {note.pointer for note in folded.notes}
    return [blob for pending, _ in folded.refused if pending.settles in held for blob in pending.blobs]


def _expected(change: KeyChange, row: int) -> Committed:
    """The answer an inbox row gets: the position is drawn by the commit itself, the sender reads it from the log."""
    return Committed(
        key=change.key,
        version=change.based_on + row + 1,
        position=Position(0, 0),
        status=change.rows[row].status,
    )


def _apply(folded: Folded, change: KeyChange, outcome: Applied, done: Settlement) -> None:
    entry, key, workflow = folded.entry, folded.entry.key, folded.entry.workflow
    timers: dict[str, TimerWait] = {}
    shard, n = outcome.first
    version = change.based_on
    results, deliveries = done.results, done.deliveries
    for (pending, emitted), row in zip(folded.stepped, change.rows, strict=True):
        version += 1
        position: Position = make(Position, (shard, n))
        results.append((pending, make(Committed, (key, version, position, row.status, False))))
        if emitted:
            counts = ordinals([one.spec.name for one in emitted]) if len(emitted) > 1 else _FIRST
            for ordinal, _, due_us, timer in row.outbox:
                pointer = Pointer(shard, n, ordinal)
                if timer:
                    timers[timer] = (pointer, due_us)
                one = emitted[ordinal]
                n_of_name = counts[ordinal]
                deliveries.append(
                    Delivery(workflow, pointer, key, version, pending.id, pending.correlation, one, n_of_name, due_us)
                )
        n += 1
    loaded = entry.loaded
    if loaded is not None and (timers or loaded.instance is None):
        # by position: ``_replace`` takes ten times as long, and every new instance comes by here
        known = {**loaded.timers, **timers} if timers else loaded.timers
        entry.loaded = make(Loaded, (outcome.instance, *loaded[1:14], known, loaded.unreadable))


def answer_json(answer: Answer) -> bytes:
    """What an inbox row is turned into."""
    if isinstance(answer, OnexError):  # its text may hold anything: one refusal must not fail the batch that answers it
        return json.dumps({"error": answer.as_json()}, ensure_ascii=False).encode("utf-8", "replace")
    if isinstance(answer, WorkflowLease):
        lease = {"lease_id": answer.lease_id, "epoch": answer.epoch, "until_us": answer.until_us}
        return orjson.dumps({"lease": lease})
    return orjson.dumps({"version": answer.version, "status": answer.status, "duplicate": answer.duplicate})


def committed_of(entry: LogEntry, *, duplicate: bool = False) -> Committed:
    """The answer a log row was, or would have been, given."""
    return Committed(
        key=entry.key, version=entry.version, position=entry.position, status=entry.row.status, duplicate=duplicate
    )
