"""What is asked of the store of one engine for its health and its metrics, each by a ``Probe`` of its own.

``counts`` looks at a whole table, which may take longer than anybody waits. It is asked again only after COUNT_SHARE times as long
as the last answer took, so that it takes at most a twentieth of the time of one reader, however many instances there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from ..engine.operator_requests import STOPPED
from ..engine.probe import Probe
from ..ports import Counts, Reader
from ..wiring.engine import WiredEngine

FRESH_S: Final = 1.0
LOOK_S: Final = 3.0
COUNT_AGAIN_S: Final = 5.0
COUNT_SHARE: Final = 20
STOPPED_COUNTED: Final = 1000


class EngineProbes:
    """``stopped``: held and dead intents; ``late_ms``: how late each projection is; ``lacks``: which shards a worker lacks, as a
    sentence; ``counts``: what the store holds; ``missed``: firings of schedules, None where the app has none. Each raises what the
    store raises."""

    def __init__(self, engine: WiredEngine, fresh_s: float = FRESH_S) -> None:
        self._engine = engine
        self.stopped = Probe(self._stopped, within_s=LOOK_S, fresh_s=fresh_s)
        self.late_ms = Probe(self._late_ms, within_s=LOOK_S, fresh_s=fresh_s)
        self.lacks = Probe(self._lacks, within_s=LOOK_S, fresh_s=fresh_s)
        self.counts = Probe(self._counts, within_s=LOOK_S)
        self.missed = Probe(self._missed, within_s=LOOK_S, fresh_s=fresh_s)

    async def _stopped(self) -> Mapping[str, int]:
        return await count_stopped(self._engine.reader)

    async def _late_ms(self) -> Mapping[str, float]:
        return {name: await view.lag_ms() for name, view in self._engine.views.items()}

    async def _lacks(self) -> str:
        return "" if self._engine.keeper is None else await self._engine.keeper.lacks()

    async def _counts(self) -> Counts:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        counts = await self._engine.reader.counts()
        self.counts.fresh_s = max(COUNT_AGAIN_S, COUNT_SHARE * (loop.time() - begun_s))
        return counts

    async def _missed(self) -> int | None:
        return None if self._engine.schedules is None else await self._engine.schedules.missed()

    async def close(self) -> None:
        await asyncio.gather(
            *(probe.close() for probe in (self.stopped, self.late_ms, self.lacks, self.counts, self.missed))
        )


async def count_stopped(reader: Reader) -> Counter[str]:
    """How many intents are held and dead; both together at most STOPPED_COUNTED."""
    return Counter(row.state.value for row in await reader.outbox(STOPPED, None, None, STOPPED_COUNTED))
