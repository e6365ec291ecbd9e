"""LogTail: the log read from a watermark on. Projections, live pages, audit and metrics are sinks of this one reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ..ports import LogEntry, Position, Reader

PAGE = 500


class Bell:
    """Rung at each commit; whoever waits looks at the log again. One event for any number of tails."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self.rung = 0

    def ring(self) -> None:
        self.rung += 1
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def after(self, seen: int) -> None:
        """Returns when it rang since it read ``seen``."""
        if self.rung != seen:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


class LogTail:
    """Rows of one shard in position order, each once; waits for more without asking the store."""

    def __init__(self, reader: Reader, bell: Bell, after: Position, *, page: int = PAGE) -> None:
        self.reader, self.bell, self.position, self.page = reader, bell, after, page

    async def read(self) -> Sequence[LogEntry]:
        """The next rows there are; empty at the end of the log."""
        rows = await self.reader.log(self.position, self.page)
        if rows:
            self.position = rows[-1].position
        return rows

    async def follow(self) -> AsyncIterator[LogEntry]:
        """Every row, for ever."""
        while True:
            seen = self.bell.rung
            rows = await self.read()
            for row in rows:
                yield row
            if not rows:
                await self.bell.after(seen)
