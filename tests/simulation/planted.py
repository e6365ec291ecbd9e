"""Bugs to be planted into the engine, one at a time: each breaks one promise, in a way somebody could have written it.

A simulator that does not find them would not find ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from uuid import UUID, uuid5

from pydantic import BaseModel

import onex.engine.encode
import onex.engine.fold
import onex.engine.relay
import onex.engine.stopped
from onex.adapters.memory import MemoryStore
from onex.engine.batch import Batch, Lookup
from onex.engine.dispatch import ReducerService
from onex.engine.doubt import Doubt
from onex.engine.fold import Folded
from onex.engine.inbox import Inbox
from onex.engine.mailbox import Answer, Committed, Entry, Mailboxes, Pending
from onex.engine.queue import WorkQueue
from onex.engine.relay import IntentRelay
from onex.engine.takeover import Found, Takeover
from onex.engine.work import Work
from onex.kernel.errors import OnexError
from onex.kernel.intent import Emitted, ModelIntent
from onex.ports import (
    Applied,
    Commit,
    Conflict,
    InboxRow,
    NewIntent,
    OutboxRow,
    Position,
    Result,
)


@contextmanager
def swapped(owner: object, name: str, wrong: object) -> Iterator[None]:
    right = getattr(owner, name)
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, right)


@contextmanager
def row_settled_before_its_outcome() -> Iterator[None]:
    right = IntentRelay._succeeded

    def wrong(self: IntentRelay, work: Work, result: Result) -> None:
        self.service.settle(work.fresh.pointer)
        asyncio.get_running_loop().call_later(0.05, right, self, work, result)

    with swapped(IntentRelay, "_succeeded", wrong):
        yield


@contextmanager
def no_look_up_of_duplicates() -> Iterator[None]:
    async def wrong(self: ReducerService, pending: Pending) -> Answer | None:
        return None

    with swapped(ReducerService, "_first_answer", wrong):
        yield


@contextmanager
def cache_kept_after_a_failed_commit() -> Iterator[None]:
    right, forget = Mailboxes.put_back, Entry.forget

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        with swapped(Entry, "forget", lambda self: None):
            right(self, entry, pendings, maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield
    assert Entry.forget is forget


@contextmanager
def outcome_under_a_new_id_each_time() -> Iterator[None]:
    numbers = count()

    def wrong(intent: UUID) -> UUID:
        return uuid5(intent, f"outcome {next(numbers)}")

    with swapped(onex.engine.relay, "outcome_id", wrong), swapped(onex.engine.stopped, "outcome_id", wrong):
        yield


@contextmanager
def message_under_a_new_id_each_time() -> Iterator[None]:
    numbers = count()
    with swapped(onex.engine.relay, "sent_id", lambda intent: uuid5(intent, f"sent {next(numbers)}")):
        yield


@contextmanager
def effect_under_a_new_key_each_time() -> Iterator[None]:
    right, numbers = IntentRelay.intent_of, count()

    def wrong(self: IntentRelay, work: Work) -> ModelIntent[BaseModel]:
        intent = right(self, work)
        return intent.model_copy(update={"idempotency_key": str(uuid5(work.id, f"{next(numbers)}"))})

    with swapped(IntentRelay, "intent_of", wrong):
        yield


@contextmanager
def timer_fires_though_it_was_cancelled() -> Iterator[None]:
    with swapped(Folded, "_timer_waits", lambda self, pending: True):
        yield


@contextmanager
def every_third_intent_of_a_step_gets_no_row() -> Iterator[None]:
    right = Folded._queue_intents

    def wrong(self: Folded, row: int, emitted: tuple[Emitted, ...], terminal: bool) -> tuple[NewIntent, ...]:
        return tuple(new for new in right(self, row, emitted, terminal) if new.ordinal != 2)

    with swapped(Folded, "_queue_intents", wrong):
        yield


@contextmanager
def state_hash_without_the_one_before() -> Iterator[None]:
    right = onex.engine.encode.state_hash
    with swapped(onex.engine.fold, "state_hash", lambda before, *rest: right(b"", *rest)):
        yield


@contextmanager
def applied_again_after_a_lost_answer() -> Iterator[None]:
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        right(self, entry, pendings, maybe_applied=maybe_applied)
        for pending in pendings if maybe_applied else ():
            pending.id = uuid5(UUID(bytes=pending.id), "again").bytes

    with swapped(Mailboxes, "put_back", wrong):
        yield


@contextmanager
def last_of_a_failed_batch_dropped() -> Iterator[None]:
    right = Mailboxes.put_back

    def wrong(self: Mailboxes, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        right(self, entry, pendings[:-1] if len(pendings) > 1 else pendings, maybe_applied=maybe_applied)

    with swapped(Mailboxes, "put_back", wrong):
        yield


@contextmanager
def answered_before_it_is_durable() -> Iterator[None]:
    right = Batch.build

    async def wrong(self: Batch, fences: Mapping[int, int], first_answer: Lookup) -> Commit:
        commit = await right(self, fences, first_answer)
        for folded, change, _ in self.written:
            for row, (pending, _) in enumerate(folded.stepped):
                status = change.rows[row].status
                pending.resolve(Committed(change.key, change.based_on + row + 1, Position(0, 0), status))
        return commit

    with swapped(Batch, "build", wrong):
        yield


@contextmanager
def start_not_recorded() -> Iterator[None]:
    async def wrong(self: IntentRelay, work: Work) -> None:
        return None

    with swapped(IntentRelay, "_record_start", wrong):
        yield


@contextmanager
def starts_found_at_takeover_ignored() -> Iterator[None]:
    async def wrong(self: Takeover, row: OutboxRow, work: Work) -> Found:
        return Found(work, row.due_us)

    with swapped(Takeover, "_judge", wrong):
        yield


@contextmanager
def failed_though_it_may_have_been_done() -> Iterator[None]:
    right = IntentRelay._failed_attempt

    def wrong(self: IntentRelay, work: Work, error: OnexError, *, done: bool, again: bool) -> None:
        work.maybe_done = False
        right(self, work, error, done=False, again=again)

    with swapped(IntentRelay, "_failed_attempt", wrong):
        yield


@contextmanager
def ended_intents_run_again_from_an_old_page() -> Iterator[None]:
    with swapped(WorkQueue, "__contains__", lambda self, pointer: pointer in self._known):
        yield


@contextmanager
def lost_answers_never_looked_after() -> Iterator[None]:
    with swapped(Doubt, "settled", lambda self: []):
        yield


@contextmanager
def fence_not_compared() -> Iterator[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        return await right(self, commit._replace(fences={0: self.tables.fence}))

    with swapped(MemoryStore, "commit", wrong):
        yield


@contextmanager
def ids_not_unique_in_the_store() -> Iterator[None]:
    """The look-up remains, the unique index is gone: what was folded twice is applied twice."""
    right = MemoryStore._conflict

    def wrong(self: MemoryStore, change: object) -> Conflict | None:
        kept, self.tables.actions = self.tables.actions, {}
        try:
            return right(self, change)  # type: ignore[arg-type]  # whatever it was given
        finally:
            self.tables.actions = kept

    with swapped(MemoryStore, "_conflict", wrong):
        yield


@contextmanager
def timers_forgotten_by_a_takeover() -> Iterator[None]:
    async def wrong(self: IntentRelay) -> None:
        return None

    with swapped(IntentRelay, "_load_timers", wrong):
        yield


@contextmanager
def inbox_row_passed_over_when_the_mailbox_is_full() -> Iterator[None]:
    right = Inbox.drain
    seen: set[int] = set()

    async def wrong(self: Inbox) -> int:
        rows: Sequence[InboxRow] = await self.service.store.inbox(0, 100)
        skip = max((row.ticket for row in rows if row.ticket in seen), default=0)
        seen.update(row.ticket for row in rows)
        self._taken = max(self._taken, skip)
        return await right(self)

    with swapped(Inbox, "drain", wrong):
        yield


@contextmanager
def rejection_not_kept() -> Iterator[None]:
    with swapped(Batch, "_rejections", lambda self, results: []):
        yield


PLANTED: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    planted.__name__: planted
    for planted in (
        row_settled_before_its_outcome,
        no_look_up_of_duplicates,
        cache_kept_after_a_failed_commit,
        outcome_under_a_new_id_each_time,
        message_under_a_new_id_each_time,
        effect_under_a_new_key_each_time,
        timer_fires_though_it_was_cancelled,
        every_third_intent_of_a_step_gets_no_row,
        state_hash_without_the_one_before,
        applied_again_after_a_lost_answer,
        last_of_a_failed_batch_dropped,
        answered_before_it_is_durable,
        start_not_recorded,
        starts_found_at_takeover_ignored,
        failed_though_it_may_have_been_done,
        ended_intents_run_again_from_an_old_page,
        lost_answers_never_looked_after,
        fence_not_compared,
        ids_not_unique_in_the_store,
        timers_forgotten_by_a_takeover,
        inbox_row_passed_over_when_the_mailbox_is_full,
        rejection_not_kept,
    )
}
