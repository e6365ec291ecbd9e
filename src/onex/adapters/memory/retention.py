"""Cutting the log of a store in memory. A row that was cut keeps its place in the list, so that positions stay; nobody sees it."""

from __future__ import annotations

from collections.abc import Sequence

from ...ports import Cut, Position, SnapshotRow
from .read import MemoryReads


class MemoryRetention(MemoryReads):
    """``Retention``, but for what expires."""

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        return [self._cut(one, dry=dry) for one in cuts]

    def _cut(self, one: Cut, *, dry: bool) -> bool:
        tables, key = self.tables, one.key
        stored = tables.stored.get(key)
        if stored is None or stored.cut != one.was or not one.was < one.to <= stored.version:
            return False
        log, places = tables.log_of_key(key), tables.versions[key]
        last, kept = log[places[one.to - 1] - 1], tables.snapshots.setdefault(key, {})
        (shard, n), is_current = last.position, one.to == stored.version
        read = [at for (_, of), at in tables.watermarks.items() if of == shard]
        is_open = any(row.key == key and row.pointer.n <= n for row in tables.outbox.values())
        if not last.state_hash or n == len(log) or is_open or any(at < n for at in read):
            return False
        if not is_current and one.to not in kept:
            return False
        if dry:
            return True
        if is_current and not stored.terminal:
            kept.setdefault(one.to, SnapshotRow(key, one.to, *stored[6:8], stored.code_id, stored.state_hash))
        gone = {Position(shard, place) for place in places[: one.to]}
        tables.attempts = [one for one in tables.attempts if Position(*one.pointer[:2]) not in gone]
        for digest, names in tables.named.items():
            tables.named[digest] = names - gone
        tables.snapshots[key] = {version: state for version, state in kept.items() if version >= one.to}
        tables.stored[key] = stored._replace(cut=one.to)
        tables.is_cut = True
        return True

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        tables = self.tables
        found = (digest for digest in sorted(tables.blobs) if digest > after and tables.blob_us[digest] <= before_us)
        return [(digest, len(tables.blobs[digest].data)) for digest in found if not tables.named.get(digest)][:limit]

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        gone = {digest for digest in digests if digest in self.tables.blobs and not self.tables.named.get(digest)}
        for digest in gone:
            del self.tables.blobs[digest]
        return len(gone)
