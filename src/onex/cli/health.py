"""Health of a process that runs an engine: what ``--health HOST:PORT`` answers.

Theory of operation. ``with_health`` listens before the engine is opened and until it has closed. A probe is always answered:

- ``/health/live``: 200 while the event loop answers. What does not answer is to be started again.
- ``/health/ready``: 200 when every critical check passes, else 503: while it starts, when its store does not answer, while a worker
  lacks shards that belong to it, and from the moment it begins to close.
- ``/health``: each check with ``passing``, ``critical`` and ``message``, and figures. A critical check that fails makes it
  ``unhealthy`` (503), any other ``degraded`` (200), none ``healthy`` (200).

Probes may come often, from many sides, and must cost the store little. One look at the store at a time serves all who ask, and is
good for FRESH_S. Nobody waits longer than LOOK_S for it: a look that takes longer goes on, and until it ends the store counts as
away. It is never cancelled, for a cancelled query would cost the engine a connection.

Failed attempts and refusals for load are counted since the older of two samples, one to two WINDOW_S ago where somebody asks often
enough: a sample is taken when somebody asks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar

from pydantic import JsonValue

from ..engine.metrics import Counters
from ..kernel.errors import OnexError
from ..wiring import shown_url
from ..wiring.engine import WiredEngine
from .console import counted
from .health_server import HealthPage, HealthServer, parse_address
from .status_line import count_stopped

FRESH_S: Final = 1.0
LOOK_S: Final = 3.0
WINDOW_S: Final = 60.0
FAILED_MOST: Final = 0.1

T = TypeVar("T")


class HealthCheck(NamedTuple):
    """One thing that is right or not. Without a critical one the engine does no work."""

    passing: bool
    critical: bool
    message: str


class HealthSample(NamedTuple):
    """Counters of the engine at a moment: attempts, those that are tried again, calls that found no room."""

    at_s: float
    run: int = 0
    retried: int = 0
    overloaded: int = 0


class Look(NamedTuple):
    """What the store said, and when: held and dead intents, how late each projection is, in ms, and which shards a worker lacks."""

    at_s: float
    took_s: float
    stopped: Mapping[str, int]
    late_ms: Mapping[str, float]
    lacks: str = ""
    error: str = ""


class Health:
    """Of one run on the store ``url``. ``opened`` tells it the engine; ``where`` is HOST:PORT, '' when nobody may ask."""

    def __init__(self, url: str) -> None:
        self.where = ""
        self._url, self._begun_s = url, time.monotonic()
        self._engine: WiredEngine | None = None
        self._last: Look | None = None
        self._looking: asyncio.Task[Look] | None = None
        self._samples = (HealthSample(self._begun_s),) * 2

    async def opened(self, opening: Awaitable[WiredEngine]) -> WiredEngine:
        """Waits for the engine, and reports on it from then on."""
        self._engine = await opening
        return self._engine

    # --- pages --------------------------------------------------------------------------------------------------------

    async def live(self) -> HealthPage:
        return HealthPage(HTTPStatus.OK, {"status": "alive"})

    async def ready(self) -> HealthPage:
        checks = await self._critical()
        ready = all(check.passing for check in checks.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return HealthPage(status, {"status": "ready" if ready else "not_ready", "checks": _shown(checks)})

    async def report(self) -> HealthPage:
        checks = await self._critical()
        if self._engine is not None:
            checks |= self._others(self._engine)
        failed = [check for check in checks.values() if not check.passing]
        unhealthy = any(check.critical for check in failed)
        word = "unhealthy" if unhealthy else "degraded" if failed else "healthy"
        body = {"status": word, "checks": _shown(checks), **self._figures()}
        return HealthPage(HTTPStatus.SERVICE_UNAVAILABLE if unhealthy else HTTPStatus.OK, body)

    # --- checks -------------------------------------------------------------------------------------------------------

    async def _critical(self) -> dict[str, HealthCheck]:
        engine = self._engine
        if engine is None:
            return {"engine": HealthCheck(False, True, "it starts: it takes over what waits in the store")}
        if engine.is_closing or engine.service.closed is not None:
            why = "it closes: it takes no new work" if engine.is_closing else str(engine.service.closed)
            return {"engine": HealthCheck(False, True, why)}
        checks = {"engine": HealthCheck(True, True, "it runs")}
        look = await self._look(engine)
        if look is None:
            checks["store"] = HealthCheck(False, True, f"it has not answered for {LOOK_S:g} s")
        else:
            checks["store"] = HealthCheck(
                not look.error, True, look.error or f"it answered in {1000 * look.took_s:.1f} ms"
            )
            if engine.keeper is not None and not look.error:
                checks["shards"] = HealthCheck(not look.lacks, True, look.lacks or "those that belong to it are here")
        return checks

    def _others(self, engine: WiredEngine) -> dict[str, HealthCheck]:
        before, now = self._since(engine.counters)
        run, retried = now.run - before.run, now.retried - before.retried
        overloaded = now.overloaded - before.overloaded
        rate = retried / run if run else 0.0
        checks = {
            "attempts": HealthCheck(
                rate < FAILED_MOST, False, f"{rate:.1%} of the attempts of the last minutes are tried again"
            ),
            "load": HealthCheck(
                not overloaded, False, f"{counted(overloaded, 'call')} of the last minutes found no room"
            ),
        }
        if (last := self._last) is not None:
            threshold_ms = engine.settings.projection_lag_threshold_ms
            late = sorted(name for name, ms in last.late_ms.items() if ms > threshold_ms)
            checks["projections"] = HealthCheck(
                not late,
                False,
                f"more than {threshold_ms} ms late: {', '.join(late)}" if late else f"none is {threshold_ms} ms late",
            )
            checks["intents"] = HealthCheck(
                not last.stopped,
                False,
                f"{counted(sum(last.stopped.values()), 'intent')} wait for a person: onex dead"
                if last.stopped
                else "none waits for a person",
            )
        return checks

    def _since(self, counters: Counters) -> tuple[HealthSample, HealthSample]:
        """The older of the samples that are kept, and one of now."""
        now = HealthSample(time.monotonic(), counters.effects_run, counters.effects_retried, counters.overloaded)
        if now.at_s - self._samples[1].at_s >= WINDOW_S:
            self._samples = (self._samples[1], now)
        return self._samples[0], now

    # --- the store ----------------------------------------------------------------------------------------------------

    async def _look(self, engine: WiredEngine) -> Look | None:
        """A fresh look; None when none has come in time."""
        if self._last is not None and time.monotonic() - self._last.at_s < FRESH_S:
            return self._last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(_look_at(engine), name="onex-health-look")
        await asyncio.wait((self._looking,), timeout=LOOK_S)
        if not self._looking.done():
            return None
        self._last = self._looking.result()
        return self._last

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    # --- figures ------------------------------------------------------------------------------------------------------

    def _figures(self) -> dict[str, JsonValue]:
        engine, last = self._engine, self._last
        about: dict[str, JsonValue] = {"pid": os.getpid(), "up_s": round(time.monotonic() - self._begun_s, 1)}
        figures: dict[str, JsonValue] = {"engine": about, "store": {"url": shown_url(self._url)}}
        if engine is None:
            return figures
        counters = engine.counters
        about |= {
            "workflows": [workflow.reducer.workflow_type for workflow in engine.registry.workflows],
            "committed": counters.committed,
            "refused": counters.refused,
            "effects_run": counters.effects_run,
            "effects_retried": counters.effects_retried,
            "p99_ms": round(1000 * counters.latency.quantile_s(0.99), 3),
        }
        figures["shards"] = {"all": engine.store.shards, "here": len(engine.service.fences)}
        if last is not None:
            figures["store"] = {"url": shown_url(self._url), "answered_ms": round(1000 * last.took_s, 3)}
            figures["projections"] = {name: {"lag_ms": round(ms, 1)} for name, ms in last.late_ms.items()}
            figures["intents"] = {state: last.stopped.get(state, 0) for state in ("held", "dead")}
        return figures


async def _look_at(engine: WiredEngine) -> Look:
    begun_s = time.monotonic()
    try:
        stopped = await count_stopped(engine.reader)
        took_s = time.monotonic() - begun_s
        late_ms = {name: await view.lag_ms() for name, view in engine.views.items()}
        lacks = "" if engine.keeper is None else await engine.keeper.lacks()
    except OnexError as error:
        return Look(time.monotonic(), time.monotonic() - begun_s, {}, {}, error=error.message)
    return Look(time.monotonic(), took_s, stopped, late_ms, lacks)


def _shown(checks: Mapping[str, HealthCheck]) -> dict[str, JsonValue]:
    return {name: dict(check._asdict()) for name, check in checks.items()}


async def with_health(address: str | None, url: str, run: Callable[[Health], Awaitable[T]]) -> T:
    """Awaits ``run``, and serves its health at ``address`` meanwhile; None: nowhere.

    Raises Misused for an address that is none, OSError for one that cannot be had, and what ``run`` raises.
    """
    health = Health(url)
    server = HealthServer({"/health": health.report, "/health/live": health.live, "/health/ready": health.ready})
    if address is not None:
        health.where = await server.start(*parse_address(address))
    try:
        return await run(health)
    finally:
        await server.close()
        await health.close()
