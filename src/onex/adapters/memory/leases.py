"""Shards of a memory store, shared by several workers: ``ShardLeases``, done with dicts and one clock for all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ...kernel.errors import OwnershipLost
from ...kernel.membership import LiveWorker, Membership, ShardOwner, Worker
from .read import BellListener, MemoryReads, Tables


class MemoryLeases(MemoryReads):
    """``now_s`` is the store's clock: leases run by it, whatever the clocks of the workers say."""

    def __init__(self, tables: Tables, now_s: Callable[[], float]) -> None:
        self._tables, self._now_s = tables, now_s
        self._moved, self._sent = BellListener(tables.workers_moved), BellListener(tables.was_sent)

    async def join(self, worker: Worker) -> None:
        tables = self.tables
        if tables.owner is not None:
            raise OwnershipLost("one process has this store for itself; stop it, or let it be a worker too")
        self.worker_id = worker.id
        tables.workers[worker.id] = worker, self._now_s()
        tables.heard[worker.id] = self._now_s()
        tables.workers_moved.ring()

    async def is_owned(self) -> bool:
        """Whether an engine runs on it now."""
        return self.tables.owner is not None or any(self._lives(worker) for worker, _ in self.tables.workers.values())

    def _joined(self) -> None:
        if not self.worker_id:
            raise OwnershipLost("this process is no worker of the store; join first")

    async def beat(self) -> Membership:
        self._joined()
        self.tables.heard[self.worker_id] = self._now_s()
        return await self.look()

    async def look(self) -> Membership:
        tables, now_s = self.tables, self._now_s()
        alive = tuple(
            LiveWorker(worker, now_s - joined_s, now_s - tables.heard[worker.id])
            for worker, joined_s in tables.workers.values()
            if self._lives(worker)
        )
        owners = (ShardOwner(tables.owners.get(shard, ""), tables.fence_of(shard)) for shard in range(tables.shards))
        return Membership(alive, tuple(owners))

    def _lives(self, worker: Worker) -> bool:
        return self._now_s() - self._tables.heard[worker.id] <= worker.lease_s

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        self._joined()
        tables, taken = self.tables, {}
        for shard in shards:
            owner = tables.owners.get(shard, "")
            known = tables.workers.get(owner)
            if owner in ("", self.worker_id) or known is None or not self._lives(known[0]):
                tables.owners[shard] = self.worker_id
                taken[shard] = self._take_over(shard)
        return taken

    def _take_over(self, shard: int) -> int:
        outbox = self.tables.outbox
        for pointer in [one for one, row in outbox.items() if one.shard == shard and row.started_now]:
            outbox[pointer] = outbox[pointer]._replace(started_now=False)
        return self.tables.raise_fence(shard)

    async def give(self, shards: Collection[int]) -> None:
        self._joined()
        self._free(shards)

    def _free(self, shards: Collection[int]) -> None:
        tables = self.tables
        for shard in shards:
            if tables.owners.get(shard) == self.worker_id:
                tables.owners[shard] = ""
                tables.raise_fence(shard)
        tables.workers_moved.ring()

    async def leave(self) -> None:
        if self.worker_id:
            self._free(range(self.tables.shards))
            self.tables.workers.pop(self.worker_id, None)
            self.tables.workers_moved.ring()

    async def workers_changed(self) -> None:
        await self._moved.changed()
