"""Bugs in sharing a store, planted on purpose: the cluster in virtual time must find each within a few runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from itertools import count
from uuid import uuid5

import pytest

import onex.engine.relay
import onex.engine.shard_keeper
from onex.adapters.memory.store import MemoryStore
from onex.engine.delivery_queue import DeliveryQueue
from onex.engine.inbox import Inbox
from onex.engine.mailbox import Pending
from onex.engine.relay import IntentRelay
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


PLANTED: Mapping[Callable[[], AbstractContextManager[None]], int] = {
    fences_not_compared: 11,
    inbox_of_gained_shards_not_read: 1,
    outbox_of_gained_shards_not_read: 5,
    shards_stay_apart_when_they_come_back: 5,
    message_under_a_new_id_each_time: 4,
    shard_taken_unknowingly_kept_for_ever: 15,
    lost_shards_answered_by_their_former_owner: 11,
}


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_a_bug_in_sharing_is_found(bug: Callable[[], AbstractContextManager[None]]) -> None:
    first = PLANTED[bug]
    with bug():
        found = any(run(cluster_run, seed).error is not None for seed in range(first, first + WITHIN))
    assert found, f"{WITHIN} runs went well with it"
