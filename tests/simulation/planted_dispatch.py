"""Bugs in dispatch: who is answered what and when, what a failed commit leaves behind, and what a duplicate is answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from onex.engine.batch import Batch, Settlement, committed_of
from onex.engine.delivery import Delivery
from onex.engine.dispatch import ReducerService
from onex.engine.encode import ordinals
from onex.engine.first_answers import FirstAnswers
from onex.engine.mailbox import Entry, Mailboxes
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Answer, Committed, Pending
from onex.engine.unknown_commits import UnknownCommits
from onex.ports import Applied, Commit, Conflict, InboxAnswer, Pointer, Position
from tests.simulation.planting import planted, swapped


@planted
def duplicates_not_looked_up() -> Iterator[None]:
    async def wrong(self: FirstAnswers, pending: Pending) -> Answer | None:
        return None

    with swapped(FirstAnswers, "__call__", wrong):
        yield


@planted
def cache_kept_after_a_failed_commit() -> Iterator[None]:
    right, forget = Mailboxes.put_back, Entry.forget

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        with swapped(Entry, "forget", lambda self: None):
            right(self, entry, pendings, maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield
    assert Entry.forget is forget


@planted
def applied_again_after_a_lost_answer() -> Iterator[None]:
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        right(self, entry, pendings, maybe_applied=maybe_applied)
        for pending in pendings if maybe_applied else ():
            pending.id = uuid5(UUID(bytes=pending.id), "again").bytes  # type: ignore[misc]  # nothing changes a Pending; this bug does

    with swapped(Mailboxes, "put_back", wrong):
        yield


@planted
def last_of_a_failed_batch_dropped() -> Iterator[None]:
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        right(self, entry, pendings[:-1] if len(pendings) > 1 else pendings, maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield


@planted
def answered_before_it_is_durable() -> Iterator[None]:
    right = Batch.build

    async def wrong(self: Batch, *given: Any) -> Commit:
        commit = await right(self, *given)
        for folded, change, _ in self.written:
            for row, (pending, _) in enumerate(folded.stepped):
                status = change.rows[row].status
                pending.resolve(Committed(change.key, change.based_on + row + 1, Position(0, 0), status))
        return commit

    with swapped(Batch, "build", wrong):
        yield


@planted
def lost_answers_never_resolved() -> Iterator[None]:
    with swapped(UnknownCommits, "perhaps_applied", lambda self: []):
        yield


@planted
def rejection_not_kept() -> Iterator[None]:
    with swapped(Batch, "_rejections", lambda self, results: []):
        yield


@planted
def duplicate_compared_without_its_body() -> Iterator[None]:
    """The same id is the same action, whatever it says."""

    async def wrong(self: FirstAnswers, pending: Pending) -> Answer | None:
        entry = await self._store.applied(pending.key, pending.id)
        return None if entry is None else committed_of(entry, duplicate=True)

    with swapped(FirstAnswers, "__call__", wrong):
        yield


@planted
def duplicate_answered_with_the_newest_version() -> Iterator[None]:
    right = FirstAnswers.__call__

    async def wrong(self: FirstAnswers, pending: Pending) -> Answer | None:
        first = await right(self, pending)
        if not isinstance(first, Committed):
            return first
        stored = (await self._store.load([pending.key]))[pending.key]
        return first._replace(version=stored.version, status=stored.status)

    with swapped(FirstAnswers, "__call__", wrong):
        yield


@planted
def refusals_decided_again_after_a_lost_answer() -> Iterator[None]:
    """A bug of ours until seed 159 showed it."""

    async def wrong(self: UnknownCommits) -> list[object]:
        self._refusals.clear()
        return []

    with swapped(UnknownCommits, "written_refusals", wrong):
        yield


@planted
def neighbours_behind_a_conflict_forgotten() -> Iterator[None]:
    right = Batch.settle

    def wrong(self: Batch, outcomes: Sequence[Applied | Conflict]) -> Settlement:
        first = next((at for at, one in enumerate(outcomes) if isinstance(one, Conflict)), len(outcomes))
        self.written = self.written[: first + 1]
        return right(self, outcomes[: first + 1])

    with swapped(Batch, "settle", wrong):
        yield


@planted
def failed_batch_put_back_in_reverse() -> Iterator[None]:
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        right(self, entry, list(reversed(pendings)), maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield


@planted
def half_of_a_submit_many_applied() -> Iterator[None]:
    """Room is asked for one by one: who is turned away in the middle has sent the first half."""

    async def wrong(self: ReducerPatternEngine, actions: Sequence[tuple[str, str, None]]) -> list[Answer]:
        pendings = [self.intake.pending(*action) for action in actions]
        return await self.service.all_done([self.service.accept(pending) for pending in pendings])

    with swapped(ReducerPatternEngine, "submit_many", wrong):
        yield


@planted
def applied_inbox_rows_not_answered() -> Iterator[None]:
    """Of those that were applied; a refusal is answered."""
    right = Batch._answers

    def wrong(self: Batch, results: Sequence[tuple[Pending, Answer]]) -> list[InboxAnswer]:
        return right(self, [one for one in results if not isinstance(one[1], Committed)])

    with swapped(Batch, "_answers", wrong):
        yield


@planted
def waiting_callers_not_woken() -> Iterator[None]:
    def wrong(self: ReducerPatternEngine, changes: object) -> None:
        self.commit_signal.notify()

    with swapped(ReducerPatternEngine, "_changed", wrong):
        yield


@planted
def effects_run_before_their_commit() -> Iterator[None]:
    """An intent is on its way as soon as it is decided."""
    build, start = Batch.build, ReducerService.start
    running: list[ReducerService] = []
    numbers = count(10**9)

    async def begun(self: ReducerService, owner: str) -> None:
        running[:] = [self]
        await start(self, owner)

    async def wrong(self: Batch, *given: Any) -> Commit:
        commit = await build(self, *given)
        for folded, change, _ in self.written:
            for row, (pending, emitted) in enumerate(folded.stepped):
                at, counts = change.based_on + row + 1, ordinals([one.spec.name for one in emitted])
                running[0].listener.emitted(
                    [
                        Delivery(
                            folded.entry.workflow,
                            Pointer(0, next(numbers), 0),
                            change.key,
                            at,
                            pending.id,
                            pending.correlation,
                            one,
                            n,
                        )
                        for one, n in zip(emitted, counts, strict=True)
                        if one.spec.target == "outside"
                    ]
                )
        return commit

    with swapped(ReducerService, "start", begun), swapped(Batch, "build", wrong):
        yield
