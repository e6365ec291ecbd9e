"""SharedSealedStore: an encrypted store that workers share."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...codec import SharedSealable
from ...ports import Membership, Worker
from .key_ring import KeyRing
from .sealed_store import SealedStore


class SharedSealedStore(SealedStore):
    """The same for a store that workers share: keys are asked for again where they may be another worker's."""

    def __init__(self, inner: SharedSealable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._shared = inner

    async def is_owned(self) -> bool:
        return await self._shared.is_owned()

    async def join(self, worker: Worker) -> None:
        await self._shared.join(worker)
        await self._begin(alone=False)

    async def beat(self) -> Membership:
        return await self._shared.beat()

    async def look(self) -> Membership:
        return await self._shared.look()

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        taken = await self._shared.take(shards)
        self.ring.forget()
        await self.ring.learn(())
        return taken

    async def give(self, shards: Collection[int]) -> None:
        await self._shared.give(shards)

    async def leave(self) -> None:
        await self._shared.leave()

    async def workers_changed(self) -> None:
        await self._shared.workers_changed()
