"""What keeps a store in order over years: is it whole, save it, keep it short. Each runs beside an engine, and without an app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from ..replay.compaction import CompactionResult, archive, carry_out, collect
from ..replay.verify import VerifyResult, verify
from .backup import BackedUp, back_up_store
from .encrypted import as_stored
from .recorded import RunSource
from .store_access import StoreUrl, open_kept
from .whole_file import whole_file

__all__ = ["StoreUpkeep"]


def _nothing(rows: int) -> None: ...


class StoreUpkeep:
    """Of the store with this URL. Each method opens it, and raises InvalidStoreUrl, DatabaseConnectionError and its kinds."""

    def __init__(self, store_url: str) -> None:
        self.store_url = store_url

    async def verify(self, on_rows: Callable[[int], None] = _nothing) -> VerifyResult:
        """What the store says against itself."""
        async with RunSource(store_url=self.store_url).opened() as run:
            return await verify(run, on_rows)

    async def back_up(self, file: Path | str) -> BackedUp:
        """A SQLite store into a new file. Raises also BackupByServer, StoreTaken."""
        return await asyncio.to_thread(back_up_store, self.store_url, Path(file))

    async def compact(
        self,
        age_us: int,
        file: Path | None,
        *,
        dry: bool = False,
        on_rows: Callable[[int], None] = _nothing,
    ) -> CompactionResult:
        """Log rows older than ``age_us`` into ``file`` and then out of the store; without a file none goes. Raises also FileTaken,
        FileUnwritable. ``dry``: only count.

        ``age_us`` must be at least as long as ids are remembered (``ACTION_DEDUP_TTL_HOURS``).
        """
        result, now_us = CompactionResult(), time.time_ns() // 1000
        store = await open_kept(StoreUrl.parse(self.store_url), create=False)
        rows = as_stored(store)  # what is encrypted stays so in the archive, and its key stays in the store
        try:
            if dry:
                await archive(rows, now_us - age_us, None, result)
            elif file is not None:
                with whole_file(file) as out:
                    cuts = await archive(rows, now_us - age_us, out, result, on_rows)
                await carry_out(rows, cuts, now_us, result)
            await collect(store, now_us, result, dry=dry)
        finally:
            await store.close()
        return result
