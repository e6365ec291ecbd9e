"""The store of a simulated cluster as one worker reaches it: calls are slow, hang, fail, are cut off, or lose their answer.

Faults are drawn by the cluster. A fault comes before the call does anything, but for a lost answer to a commit or to ``take``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from onex.adapters.memory.store import MemoryStore
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import CommitUnknown, TemporaryDatabaseError
from onex.kernel.membership import Membership
from onex.ports import Applied, Commit, Conflict, InboxRow, LogEntry, OutboxRow, Pointer, Stored
from onex.simulation.host import Host, current_host

if TYPE_CHECKING:
    from tests.engine_sim.cluster import Cluster

R = TypeVar("R")
LEASE_S = 3.0


class Connection(MemoryStore):
    """The store as one worker reaches it."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        super().__init__(cluster.tables, now_s=cluster.sim.clock.monotonic)
        self.cluster, self.host = cluster, host
        self._hangs_until_s = self._cut_off_until_s = 0.0

    async def _reach(self) -> None:
        """May be slow, may hang or be cut off for longer than the lease, may fail before anything was done."""
        current_host()
        cluster, clock = self.cluster, self.cluster.sim.clock
        if cluster.hits("store is cut off"):
            self._cut_off_until_s = clock.monotonic() + cluster.chance.uniform(0.2, 3 * LEASE_S)
        if self._cut_off_until_s > clock.monotonic():
            raise TemporaryDatabaseError("the store cannot be reached, as the simulation had it")
        if cluster.hits("worker hangs"):
            self._hangs_until_s = clock.monotonic() + cluster.chance.uniform(0.5, 4 * LEASE_S)
        if self._hangs_until_s > clock.monotonic():
            await self.host.clock.sleep(self._hangs_until_s - clock.monotonic())
        if cluster.hits("call is slow"):
            await self.host.clock.sleep(cluster.chance.random())
        if cluster.hits("call fails"):
            raise TemporaryDatabaseError("the store did not answer, as the simulation had it")

    async def _asked(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        await self._reach()
        return await work()

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        cluster = self.cluster
        await self._reach()
        if cluster.hits("crash before commit"):
            await self.host.die()
        if cluster.hits("commit lost"):
            raise CommitUnknown("lost, as the simulation had it")
        answers = await super().commit(commit)
        cluster.committed(commit)
        if cluster.hits("crash after commit"):
            await self.host.die()
        if cluster.hits("commit answer lost"):
            raise CommitUnknown("the answer was lost, as the simulation had it")
        return answers

    async def beat(self) -> Membership:
        return await self._asked(super().beat)

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        taken = await self._asked(lambda: super(Connection, self).take(shards))
        if self.cluster.hits("commit answer lost"):
            raise TemporaryDatabaseError("the answer was lost, as the simulation had it")
        return taken

    async def give(self, shards: Collection[int]) -> None:
        await self._asked(lambda: super(Connection, self).give(shards))

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return await self._asked(lambda: super(Connection, self).load(keys))

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        return await self._asked(lambda: super(Connection, self).waiting(after, limit, timers_before_us))

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        return await self._asked(lambda: super(Connection, self).inbox(after, limit))

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        return await self._asked(lambda: super(Connection, self).applied(key, action_id))
