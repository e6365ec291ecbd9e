"""A projection over every shard of a store: one materializer for each shard, and what they come to together.

Each follows the log of its shard and has a watermark of its own. It is woken by commits of this process in that shard, and when
the shard becomes this worker's. So of several workers each moves the shards that it has. Should two move one, the second writes
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import Position, ProjectionRow, Projections, Reader
from .projections import Lag, ProjectionMaterializerService, lag_of


class ProjectionOfShards:
    """``parts[shard]`` keeps that shard. The methods are those of one materializer."""

    def __init__(self, parts: Sequence[ProjectionMaterializerService]) -> None:
        self.parts = tuple(parts)

    @property
    def failed(self) -> OnexError | None:
        """Why one of them stands still: the first that does."""
        return next((part.failed for part in self.parts if part.failed is not None), None)

    async def start(self) -> None:
        for part in self.parts:
            await part.start()

    async def close(self) -> None:
        await asyncio.gather(*(part.close() for part in self.parts))

    async def catch_up(self) -> int:
        """Rows applied. Raises ProjectionFailed, and what the store raises."""
        return sum([await part.catch_up() for part in self.parts])

    async def rows(
        self,
        tag: str | None = None,
        after: WorkflowKey | None = None,
        limit: int = 100,
        *,
        reached: Position | None = None,
    ) -> Sequence[ProjectionRow]:
        """A page over all shards, at ``reached`` or later in its shard. Raises what ``wait`` raises."""
        return await self.parts[0 if reached is None else reached.shard].rows(tag, after, limit, reached=reached)

    async def wait(self, reached: Position) -> None:
        """Raises ProjectionLagging; ``failed`` when that shard's stands still."""
        await self.parts[reached.shard].wait(reached)

    async def lag(self) -> Lag:
        return together([await part.lag() for part in self.parts])

    async def lag_ms(self) -> float:
        """Of the shard that is behind the longest."""
        return max([await part.lag_ms() for part in self.parts])


Materializer = ProjectionMaterializerService | ProjectionOfShards


async def lag_over_shards(reader: Reader, tables: Projections, name: str, now_us: int) -> Lag:
    """Where a projection stands, for any process that may read."""
    return together([await lag_of(reader, tables, name, now_us, shard=shard) for shard in range(reader.shards)])


def together(lags: Sequence[Lag]) -> Lag:
    """All rows that are behind; watermark and time of the shard that is behind the longest."""
    worst = max(lags, key=lambda lag: (lag.lag_ms, lag.rows, lag.watermark.n))
    return Lag(worst.watermark, sum(lag.rows for lag in lags), worst.lag_ms)
