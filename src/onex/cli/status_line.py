"""The line that ``onex run`` draws on a terminal twice a second: what the engine has done, and what waits for a person."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Final

from ..engine.shard_projections import Materializer
from ..kernel.errors import OnexError
from ..kernel.retry import EnumBreakerState
from ..monitoring.engine_probes import STOPPED_COUNTED, count_stopped
from ..ports import Reader
from ..wiring.engine import WiredEngine
from .console import redraw

COUNT_AGAIN_S: Final = 2.0

View = Materializer | None


class StatusLine:
    """Of one run. It draws nothing when stderr is no terminal, or when ``shown`` is False."""

    def __init__(self, engine: WiredEngine, view: View, begun_s: float, *, shown: bool) -> None:
        self._engine, self._view, self._begun_s = engine, view, begun_s
        self._shown = shown and sys.stderr.isatty()
        self._stopped, self._counted_s = "", 0.0

    async def draw(self) -> None:
        if self._shown:
            alone = [f"{name} is left alone" for name in left_alone(self._engine)]
            redraw("  ".join([*self._done(), *alone, *await self._late(), *await self._waiting_for_a_person()]))

    def clear(self) -> None:
        if self._shown:
            redraw()

    def _done(self) -> list[str]:
        engine = self._engine
        counters = engine.counters
        parts = [f"{int(time.monotonic() - self._begun_s)} s", f"{counters.committed} committed"]
        if counters.refused:
            parts.append(f"{counters.refused} refused")
        parts.append(f"{counters.effects_run} effects")
        if counters.effects_retried:
            parts.append(f"{counters.effects_retried} retried")
        if counters.latency.count:
            parts.append(f"p99 {1000 * counters.latency.quantile_s(0.99):.1f} ms")
        parts.append("busy" if engine.relay.busy or not engine.service.is_quiet else "idle")
        return parts

    async def _late(self) -> list[str]:
        """How late the projection is; empty when it is not late, or cannot be read now."""
        if self._view is None:
            return []
        with suppress(OnexError):
            lag_ms = await self._view.lag_ms()
            if lag_ms > self._engine.settings.projection_lag_threshold_ms:
                return [f"projection {lag_ms / 1000:,.1f} s late"]
        return []

    async def _waiting_for_a_person(self) -> list[str]:
        """Held and dead intents, counted again every two seconds."""
        now_s = time.monotonic()
        if now_s - self._counted_s >= COUNT_AGAIN_S:
            with suppress(OnexError):
                self._stopped, self._counted_s = await stopped_intents(self._engine.reader), now_s
        return [self._stopped] if self._stopped else []


def left_alone(engine: WiredEngine) -> list[str]:
    """The targets whose circuit breaker is open, as ``orders.bank``."""
    return [f"{one.workflow_type}.{one.target}" for one in engine.relay.targets if one.breaker is EnumBreakerState.OPEN]


async def stopped_intents(reader: Reader) -> str:
    """``2 held, 1 dead``, with ``or more`` when there are a thousand; '' for none."""
    found = await count_stopped(reader)
    more = " or more" if found.total() == STOPPED_COUNTED else ""
    return f"{', '.join(f'{found[state]} {state}' for state in ('held', 'dead') if found[state])}{more}"
