"""Encrypted stores, opened with the keys that this process has; and SealedRun, such a store as a run. It imports the codec.

SealedRun is to ``RecordedRun`` what ``SealedStore`` is to a store; replay, what-if, export and verify read it. Replay asks for one
instance after the other, so the key of an instance is asked for with it. Row checksums are over what is stored, so checking them
and the structure of the store needs no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..adapters.codec.key_ring import KeyRing, check
from ..adapters.codec.master_keys import read_master_keys
from ..adapters.codec.rows import checked_entry, checked_snapshot, opened_stored, owner_of
from ..adapters.codec.sealed_shared import SharedSealedStore
from ..adapters.codec.sealed_store import SealedStore
from ..codec import KnownKeys, Sealable, SharedSealable
from ..kernel.action import WorkflowKey
from ..kernel.data_key import CodecKeyMissing
from ..ports import Code, Env, LogEntry, SnapshotRow, Stored
from ..records import Damage
from ..replay.history_export import Redacted
from ..settings import read_settings
from .recorded import RecordedRun


async def ring_of(tables: KnownKeys, *, read_only: bool) -> KeyRing:
    """The keys of an open store. Raises CodecKeyMissing, CodecKeyWrong, InvalidCodecKeys."""
    source = read_settings().codec_keys
    masters = read_master_keys(source) if source else None
    if masters is not None:
        try:
            await check(tables, masters)
        except CodecKeyMissing:
            if not read_only:
                raise
            masters = None
    return KeyRing(tables, masters)


async def sealed(store: Sealable, *, read_only: bool) -> SealedStore:
    return SealedStore(store, await ring_of(store, read_only=read_only))


async def sealed_shared(store: SharedSealable, *, read_only: bool) -> SharedSealedStore:
    return SharedSealedStore(store, await ring_of(store, read_only=read_only))


class SealedRun:
    """Values of ``inner`` as they were before they were encrypted, or marks in their place."""

    def __init__(self, inner: RecordedRun, ring: KeyRing) -> None:
        self._inner, self._ring = inner, ring

    @property
    def actions(self) -> int:
        return self._inner.actions

    async def codes(self) -> Mapping[int, Code]:
        return await self._inner.codes()

    async def envs(self) -> Mapping[int, Env]:
        return await self._inner.envs()

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        found = await self._inner.load(keys)
        return {row.key: row for row in await self._opened([*found.values()])}

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return await self._opened(await self._inner.instances(workflow_type, status, after, limit))

    async def _opened(self, rows: Sequence[Stored]) -> Sequence[Stored]:
        ring = self._ring
        await ring.learn(owner_of(row.key) for row in rows)
        return [opened_stored(row, ring[owner_of(row.key)], ring.store) for row in rows]

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        """Raises CodecDamaged."""
        entries, owner = await self._inner.history(key, after, limit), owner_of(key)
        await self._ring.learn([owner])
        return [checked_entry(entry, self._ring[owner]) for entry in entries]

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        """Raises CodecDamaged."""
        row, owner = await self._inner.snapshot(key, at_most), owner_of(key)
        await self._ring.learn([owner])
        return None if row is None else checked_snapshot(row, self._ring[owner])

    async def redacted(self, key: WorkflowKey) -> Redacted:
        return await self._inner.redacted(key)

    async def redacted_since(self, key: WorkflowKey) -> int:
        return await self._inner.redacted_since(key)

    async def damaged(self, part: int) -> Sequence[Damage]:
        return await self._inner.damaged(part)

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        return await self._inner.checksums(on_rows)
