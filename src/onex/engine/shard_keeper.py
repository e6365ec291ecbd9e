"""ShardKeeper: an engine that shares a store with others gets its shards, and parts with them, as workers come and go.

Two loops. The first beats: it renews the lease of this worker and looks who lives and who has what, 2.5 times per lease, or
at once when the store says that something changed. The second acts on the newest look (``kernel.membership.moves``):

1. What another has taken is lost: what waits here is answered so, and what runs is cut off.
2. What belongs to us and is free, or is a dead worker's, is taken: the store raises the fence, and says which it gave. From then
   on actions are judged here; then the outbox and the inbox of these shards are read.
3. What belongs to another is given: nothing new is begun, what runs may end for ``DRAIN_S``, what was accepted becomes durable.
   Only then is the shard free in the store. Each gift is a task of its own, so a long effect delays no taking.

What may go wrong, and why the end is still right:

- This process stands still for longer than its lease. Others take its shards. When it goes on, its next commit is refused by the
  fence, whatever it believes; the next beat shows the loss.
- A beat fails. It is tried again; the lease runs on meanwhile, and at its end the same happens as above.
- A look is older than what was taken or given since: it is not acted on (``_moves``).
- The answer to ``take`` is lost. The next look shows a shard that is ours in the store and not in memory: it is taken again.
- The store fails while a shard is read in. Its fence is ours already; the reading is tried again, as for a store that was read
  at a start. A crash leaves all of it to the next owner.
- A close takes and gives nothing more, and goes on beating until what ran has ended or was cut off. Without beats the lease would
  run out under a long effect, and the next owner would run it again beside us.
- The clock of this machine is wrong. Nothing here compares it with another's: leases are judged by the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Set
from contextlib import suppress

from ..kernel.errors import OnexError
from ..kernel.membership import Membership, Worker, moves
from ..ports import Clock, ShardLeases
from .dispatch import ReducerService
from .inbox import Inbox
from .log_tail import ChangeSignal
from .relay import IntentRelay
from .task_supervisor import TaskSupervisor

BEATS_PER_LEASE = 2.5
AGAIN_S = 0.2
DRAIN_S = 10.0  # so long a running effect may delay a gift of its shard


class ShardKeeper:
    """That of one engine. ``gained`` is told what is ours."""

    def __init__(
        self,
        leases: ShardLeases,
        worker: Worker,
        clock: Clock,
        service: ReducerService,
        relay: IntentRelay,
        inbox: Inbox,
        *,
        gained: Callable[[Set[int]], None] = lambda shards: None,
    ) -> None:
        self.worker, self._gained = worker, gained
        self._leases, self._clock, self._service, self._relay, self._inbox = leases, clock, service, relay, inbox
        self._seen: Membership | None = None
        self._looked, self._look_now = ChangeSignal(), asyncio.Event()
        self._busy: set[int] = set()
        self._moves = 0
        self._beating = TaskSupervisor(clock, service.events, service.lose)
        self._acting = TaskSupervisor(clock, service.events, service.lose)

    async def start(self) -> None:
        """Become a worker, and take what is ours at the first look. Raises OwnershipLost where one engine has the store alone."""
        await self._leases.join(self.worker)
        await self._service.read_last_run()  # of the last worker on this machine that died
        await self._look()
        await self._act()
        self._beating.keep(self._beat, "onex-beat")
        self._beating.keep(self._watch, "onex-workers")
        self._acting.keep(self._act_on_look, "onex-shards")

    async def close(self) -> None:
        """End what runs for every shard. What does not end in ``DRAIN_S`` is cut off. They are free after ``leave``."""
        await self._acting.close()
        shards = set(self._service.fences)
        await self._relay.give_shards(shards, DRAIN_S)
        if self._service.closed is None:
            await self._service.give_shards(shards)
        await self._beating.close()

    async def leave(self) -> None:
        """Free what is still ours in the store, at once and not when the lease has run out. Raises nothing."""
        with suppress(OnexError):
            await self._leases.leave()

    async def lacks(self) -> str:
        """What this worker should have and has not, by a look at the store; '' for nothing. For who asks how it is."""
        seen = await self._leases.look()
        if all(one.worker.id != self.worker.id for one in seen.workers):
            return "its lease has run out: others may take its shards"
        missing = len(moves(seen, self.worker.id, self._service.fences).take)
        return f"{missing} shards that belong to it are not here yet" if missing else ""

    # --- looking --------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        before = self._moves
        seen = await self._leases.beat()
        if self._moves == before:
            self._seen = seen
            self._looked.notify()
        else:  # it is older than what was taken or given meanwhile
            self._look_now.set()

    async def _beat(self) -> None:
        self._look_now.clear()
        await self._look()
        sleep = asyncio.ensure_future(self._clock.sleep(self.worker.lease_s / BEATS_PER_LEASE))
        told = asyncio.ensure_future(self._look_now.wait())
        try:
            await asyncio.wait((sleep, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            told.cancel()

    async def _watch(self) -> None:
        await self._leases.workers_changed()
        self._look_now.set()

    # --- acting ---------------------------------------------------------------------------------------------------------

    async def _act_on_look(self) -> None:
        seen = self._looked.count
        await self._act()
        await self._looked.wait(seen)

    async def _act(self) -> None:
        membership = self._seen
        if membership is None:
            return
        decided = moves(membership, self.worker.id, self._service.fences)
        lost = decided.lost - self._busy
        if lost:
            await self._service.lose_shards(lost)
            self._service.events("shards_lost", shards=len(lost))
        give = decided.give - self._busy
        if give:
            self._busy |= give
            self._acting.start(self._give(give), "onex-give")
        take = decided.take - self._busy
        if take:
            await self._take(take, membership)

    async def _take(self, shards: Set[int], membership: Membership) -> None:
        try:
            fences = await self._leases.take(shards)
        finally:
            self._forget_look()
        if not fences:
            return
        lost = Counter(membership.owners[shard].worker for shard in fences)
        for worker, count in lost.items():
            if worker not in ("", self.worker.id):
                self._service.events("worker_lost", worker=worker[:8], shards=count)
        self._service.gain_shards(fences)
        gained = frozenset(fences)
        self._service.events("shards_gained", shards=len(gained))
        self._inbox.gain_shards(gained)
        self._gained(gained)
        await (
            self._inbox.gained_shards_read()
        )  # what was sent while they were nobody's, before timers that came due meanwhile
        while self._service.closed is None:
            try:
                await self._relay.gain_shards(gained)
                return
            except OnexError as error:
                self._service.events("loop_failed", loop="onex-shards", failures=1, error=error.message)
                await self._clock.sleep(AGAIN_S)

    async def _give(self, shards: Set[int]) -> None:
        try:
            await self._relay.give_shards(shards, DRAIN_S)
            await self._service.give_shards(shards)
            while self._service.closed is None:
                try:
                    await self._leases.give(shards)
                    break
                except OnexError:
                    await self._clock.sleep(AGAIN_S)
            self._service.events("shards_given", shards=len(shards))
        finally:
            self._busy -= shards
            self._forget_look()

    def _forget_look(self) -> None:
        """Who has what has changed by us: what was seen before that is not to be acted on."""
        self._seen, self._moves = None, self._moves + 1
        self._look_now.set()
