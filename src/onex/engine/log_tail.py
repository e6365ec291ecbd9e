"""LogTail: the log read from a position on, and the signal that says when there is more of it.

``subscribe`` and the live pages read the log through this one reader; projections and the publisher of events use a signal
alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from ..ports import LogEntry, Position, Reader

PAGE = 500


class ChangeSignal:
    """Counts changes and wakes everybody who waits for the next one. One object serves any number of readers.

    Read ``count`` first, then look at what may have changed, then ``wait(count)``: a change in between is not missed.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self.count = 0

    def notify(self) -> None:
        self.count += 1
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, seen: int) -> None:
        """Returns when ``count`` is no longer ``seen``: at once, if it has changed since the caller read it."""
        if self.count != seen:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


class ShardSignals:
    """A signal for each shard, for readers that follow one of many: a commit wakes those of the shards that it wrote to."""

    def __init__(self) -> None:
        self._signals: dict[int, ChangeSignal] = {}

    def of(self, shard: int) -> ChangeSignal:
        """The same object at each call."""
        return self._signals.setdefault(shard, ChangeSignal())

    def notify(self, shards: Iterable[int]) -> None:
        for shard in shards:
            if (signal := self._signals.get(shard)) is not None:
                signal.notify()


class LogTail:
    """Rows of one shard in position order, each once. It waits for more without asking the store again and again."""

    def __init__(self, reader: Reader, commit_signal: ChangeSignal, after: Position, *, page: int = PAGE) -> None:
        self.reader, self.commit_signal, self.position, self.page = reader, commit_signal, after, page

    async def read(self) -> Sequence[LogEntry]:
        """The next rows there are; empty at the end of the log."""
        rows = await self.reader.log(self.position, self.page)
        if rows:
            self.position = rows[-1].position
        return rows

    async def follow(self) -> AsyncIterator[LogEntry]:
        """Every row there is and will be; it never ends."""
        while True:
            seen = self.commit_signal.count
            rows = await self.read()
            for row in rows:
                yield row
            if not rows:
                await self.commit_signal.wait(seen)
