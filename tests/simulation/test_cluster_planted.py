"""Bugs in sharing a store, planted on purpose: the cluster in virtual time must find each within a few runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from uuid import uuid5
from weakref import WeakKeyDictionary, WeakSet

import pytest

import onex.engine.relay
import onex.engine.shard_keeper
from onex.adapters.memory.store import MemoryStore
from onex.engine.bus import open_messages
from onex.engine.bus.intake import BusIntake
from onex.engine.bus.message import AskedAction
from onex.engine.delivery_queue import DeliveryQueue
from onex.engine.dispatch import ReducerService
from onex.engine.inbox import Inbox
from onex.engine.pending import Pending
from onex.engine.relay import IntentRelay
from onex.engine.shard_handover import ShardHandover
from onex.kernel.membership import Membership, Moves, moves
from onex.ports import Applied, Commit, Conflict
from onex.simulation.seeded_run import run
from tests.engine_sim.cluster import cluster_run
from tests.simulation.planting import swapped

WITHIN = 30
"""Runs that CI gives a bug, from the one that found it last time on."""


def fences_not_compared() -> AbstractContextManager[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        fences = {shard: self.tables.fence_of(shard) for shard in commit.fences}
        return await right(self, commit._replace(fences=fences))

    return swapped(MemoryStore, "commit", wrong)


def inbox_of_gained_shards_not_read() -> AbstractContextManager[None]:
    return swapped(Inbox, "gain_shards", lambda self, shards: None)


def outbox_of_gained_shards_not_read() -> AbstractContextManager[None]:
    async def wrong(self: IntentRelay, shards: Set[int]) -> None:
        self._queue.take_in(shards)

    return swapped(IntentRelay, "gain_shards", wrong)


def shards_stay_apart_when_they_come_back() -> AbstractContextManager[None]:
    return swapped(DeliveryQueue, "take_in", lambda self, shards: None)


def message_under_a_new_id_each_time() -> AbstractContextManager[None]:
    numbers = count()
    return swapped(onex.engine.relay, "sent_id", lambda intent: uuid5(intent, f"sent {next(numbers)}"))


def shard_taken_unknowingly_kept_for_ever() -> AbstractContextManager[None]:
    """Taken by a call whose answer was lost, and by then another's: nobody judges its instances."""

    def wrong(membership: Membership, me: str, has: Mapping[int, int]) -> Moves:
        decided = moves(membership, me, has)
        return decided._replace(give=decided.give & has.keys(), take=decided.take - _mine(membership, me, has))

    def _mine(membership: Membership, me: str, has: Mapping[int, int]) -> Set[int]:
        return {n for n, owner in enumerate(membership.owners) if owner.worker == me and n not in has}

    return swapped(onex.engine.shard_keeper, "moves", wrong)


def lost_shards_answered_by_their_former_owner() -> AbstractContextManager[None]:
    """A row of the inbox is answered "lost" where the next owner is to judge it."""

    def wrong(self: Inbox, to: Pending, error: Exception) -> None:
        self._answer(to, b'{"error": {"code": "ownership_lost", "message": "", "retryable": true}}')

    return swapped(Inbox, "_tell", wrong)


@contextmanager
def store_that_is_back_noticed_by_a_commit_only() -> Iterator[None]:
    """Nothing is accepted until a commit succeeds, also where nothing is left that could be committed."""
    right, counts = ReducerService._write_batch, WeakKeyDictionary[ReducerService, int]()
    succeeded: WeakSet[ReducerService] = WeakSet()

    async def wrong(self: ReducerService) -> None:
        await right(self)
        succeeded.add(self)

    def count(self: ReducerService, failures: int) -> None:
        if failures or self not in counts or self in succeeded:
            counts[self] = failures
        succeeded.discard(self)

    ReducerService._failures = property(counts.__getitem__, count)  # type: ignore[assignment]  # of the class, for a while
    try:
        with swapped(ReducerService, "_write_batch", wrong):
            yield
    finally:
        del ReducerService._failures


def message_that_nobody_can_use_needs_the_owner() -> AbstractContextManager[None]:
    """It waits for a shard that this worker never gets, and its partition with it."""

    def wrong(self: ShardHandover, pending: Pending) -> None:
        elsewhere = self.not_here(self.shard_of(pending))
        if elsewhere is not None and (pending.settles is None or pending.sent or not self.has(self.shard_of(pending))):
            raise elsewhere

    return swapped(ShardHandover, "_check_here", wrong)


def position_committed_before_what_it_causes() -> AbstractContextManager[None]:
    return swapped(open_messages._Partition, "position", property(lambda self: self.next))


def messages_of_a_key_side_by_side() -> AbstractContextManager[None]:
    def wrong(self: BusIntake, ask: AskedAction) -> None:
        lane = ask.lane + b"%d" % ask.message.offset
        self._lanes[lane] = deque((ask,))
        self._supervisor.start(self._run_lane(lane), "onex-bus-lane")

    return swapped(BusIntake, "_line_up", wrong)


PLANTED: Mapping[Callable[[], AbstractContextManager[None]], int] = {
    fences_not_compared: 3,
    inbox_of_gained_shards_not_read: 1,
    outbox_of_gained_shards_not_read: 5,
    shards_stay_apart_when_they_come_back: 1,
    message_under_a_new_id_each_time: 1,
    shard_taken_unknowingly_kept_for_ever: 21,
    lost_shards_answered_by_their_former_owner: 4,
    store_that_is_back_noticed_by_a_commit_only: 18,
    message_that_nobody_can_use_needs_the_owner: 1,
    position_committed_before_what_it_causes: 3,
    messages_of_a_key_side_by_side: 13,
}


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_a_bug_in_sharing_is_found(bug: Callable[[], AbstractContextManager[None]]) -> None:
    first = PLANTED[bug]
    with bug():
        found = any(run(cluster_run, seed).error is not None for seed in range(first, first + WITHIN))
    assert found, f"{WITHIN} runs went well with it"
