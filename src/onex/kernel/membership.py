"""Membership: which processes share the shards of a store, and which shards each of them should have.

Pure: one look at the store (``Membership``) and an id give the shards to take and to give back. Every worker decides by the same
rule for itself, from what the store shows, so nobody leads:

- A shard belongs to the live worker with the highest rendezvous score. One that comes or goes moves only its own shards.
- A worker gives back a shard that it has and that belongs to another. It takes a shard that belongs to it once that shard is
  free, or once the lease of the worker that has it has run out. So for a moment a shard may have no owner, and never two:
  the fence, which the store raises at each change of owner, sees to that even where two workers see different lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .route import rendezvous


class Worker(NamedTuple):
    """A process that shares the shards of a store with others. ``lease_s`` after its last beat it counts as dead.

    ``id`` is new for each process. ``about`` is what ``onex workers`` shows of it: host, process id, ONEX, code.
    """

    id: str
    lease_s: float
    about: str = ""


class LiveWorker(NamedTuple):
    """A worker as the store knows it. Seconds by the store's clock, since it joined and since it was last heard of."""

    worker: Worker
    joined_s: float
    heard_s: float


class ShardOwner(NamedTuple):
    """Who has a shard, and under which fence. ``worker`` is its id; '' for a shard that is free."""

    worker: str
    fence: int


class Membership(NamedTuple):
    """One look at the workers of a store: those whose lease runs, and ``owners[shard]``, all shards in their order."""

    workers: tuple[LiveWorker, ...]
    owners: tuple[ShardOwner, ...]


class Moves(NamedTuple):
    """What one worker is to do now. ``lost`` it had, and another has taken: by the fence, not by its own will."""

    take: frozenset[int]
    give: frozenset[int]
    lost: frozenset[int]


def moves(membership: Membership, me: str, has: Mapping[int, int]) -> Moves:
    """``has[shard]`` is the fence under which ``me`` believes to have it; the store decides whether it does."""
    alive = {one.worker.id: 1.0 for one in membership.workers}
    take, give, lost = [], [], []
    for shard, owner in enumerate(membership.owners):
        mine = owner.worker == me
        if shard in has and not (mine and has[shard] == owner.fence):
            lost.append(shard)
        belongs_to = rendezvous(f"shard {shard}", alive)
        if belongs_to == me:
            # one that is mine in the store and not in memory was taken by a call whose answer was lost
            if owner.worker not in alive or (mine and shard not in has):
                take.append(shard)
        elif mine:
            give.append(shard)
    return Moves(frozenset(take), frozenset(give), frozenset(lost))
