"""CommitWatch: tells a process that owns nothing when to look into the store again. It asks the store nothing itself.

A commit writes the WAL, so its time and size are watched, by ``stat`` every 25 ms. The WAL changes before its commit can be
seen: the disk is waited for in between. So after a change the caller is let look at once, then again after pauses that
double, until SETTLE_S have passed. Without any change it is let look every LOOK_S, in case a change had the same time and size.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

WATCH_S: Final = 0.025
SETTLE_S: Final = 3.2
LOOK_S: Final = 5.0


class CommitWatch:
    """For one who waits. Look first, then ``changed``, then look again."""

    def __init__(self, wal: Path) -> None:
        self._wal = wal
        self._seen = self._stamp()
        self._pause_s = WATCH_S  # a commit may be under way already

    async def changed(self) -> None:
        """Returns when something may have been committed since the last look."""
        limit_s = self._pause_s or LOOK_S
        waited_s = 0.0
        while waited_s < limit_s:
            await asyncio.sleep(WATCH_S)
            waited_s += WATCH_S
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen, self._pause_s = stamp, WATCH_S
                return
        self._pause_s = 2 * self._pause_s if self._pause_s < SETTLE_S / 2 else 0.0

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._wal.stat()
        except OSError:  # the WAL is gone after an orderly end; whether the store is there, a look finds out
            return None
        return found.st_mtime_ns, found.st_size
