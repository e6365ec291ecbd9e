"""Health of a process that runs an engine: what ``--listen HOST:PORT`` answers.

Theory of operation. ``with_health`` listens before the engine is opened and until it has closed. A probe is always answered:

- ``/health/live``: 200 while the event loop answers. What does not answer is to be started again.
- ``/health/ready``: 200 when every critical check passes, else 503: while it starts, when its store does not answer, while a worker
  lacks shards that belong to it, and from the moment it begins to close.
- ``/metrics``: counts and histograms for Prometheus (``monitoring.engine_metrics``).
- ``/health``: each check with ``passing``, ``critical`` and ``message``, and figures. How they become a status: ``kernel.health``.
  Worse is told at once, better after some good answers in a row, a second apart. An ``unhealthy`` one answers 503.

Probes may come often, from many sides, and must cost the store little. Each part of the outside has a ``Probe`` of its own: one
question at a time serves all who ask, and is good for FRESH_S. Nobody waits longer than LOOK_S for it; the answer then says which
part has not answered. All are asked at once.

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
from ..engine.probe import Probe
from ..kernel.errors import OnexError
from ..kernel.health import EnumHealthStatus, HealthCheck, HealthMemory, error_check, judged, remembered, use_check
from ..kernel.retry import EnumBreakerState
from ..monitoring import resources
from ..monitoring.engine_metrics import MEDIA, EngineMetrics
from ..monitoring.engine_probes import FRESH_S, LOOK_S, EngineProbes
from ..settings import read_settings
from ..wiring import shown_url
from ..wiring.engine import WiredEngine
from ..wiring.store_access import StoreUrl
from .console import counted
from .health_server import HealthPage, HealthServer, parse_address
from .status_line import left_alone

WINDOW_S: Final = 60.0
LAG_MOST_S: Final = 2.0

T = TypeVar("T")


class HealthSample(NamedTuple):
    """Counters of the engine at a moment: attempts, those that are tried again, calls that found no room."""

    at_s: float
    run: int = 0
    retried: int = 0
    overloaded: int = 0


class Health:
    """Of one run on the store ``url``. ``opened`` tells it the engine; ``where`` is HOST:PORT, '' when nobody may ask."""

    def __init__(self, url: str) -> None:
        self.where = ""
        self._url, self._begun_s = url, time.monotonic()
        self._engine: WiredEngine | None = None
        self._probes: EngineProbes | None = None
        self._metrics: EngineMetrics | None = None
        self._lag = resources.LoopLag()
        self._memory, self._judged_s = HealthMemory(), 0.0
        self._samples = (HealthSample(self._begun_s),) * 2

    async def opened(self, opening: Awaitable[WiredEngine]) -> WiredEngine:
        """Waits for the engine, and reports on it from then on."""
        engine = await opening
        self._engine, self._probes = engine, EngineProbes(engine, FRESH_S)
        if self.where:
            self.measure()
        self._lag.start()
        return engine

    def measure(self) -> EngineMetrics:
        """What the engine does, counted in detail from the first call on. The engine has been opened."""
        assert self._engine is not None and self._probes is not None, "an engine is opened before it is measured"
        self._metrics = self._metrics or EngineMetrics(self._engine, self._probes, self._lag)
        return self._metrics

    # --- pages --------------------------------------------------------------------------------------------------------

    async def live(self) -> HealthPage:
        return HealthPage(HTTPStatus.OK, {"status": "alive"})

    async def ready(self) -> HealthPage:
        checks = await self._critical()
        ready = all(check.passing for check in checks.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return HealthPage(status, {"status": "ready" if ready else "not_ready", "checks": _shown(checks)})

    async def report(self) -> HealthPage:
        engine, probes = self._engine, self._probes
        if engine is None or probes is None:
            checks = await self._critical()
            shown = judged(checks).status
        else:
            critical, others = await asyncio.gather(self._critical(), self._others(engine, probes))
            checks = critical | others
            self._remember(judged(checks).status)
            shown = self._memory.shown
        body: dict[str, JsonValue] = {"status": shown.value}
        if self._memory.better:
            body["good_in_a_row"] = self._memory.better
        body |= {"checks": _shown(checks), **self._figures()}
        unhealthy = shown is EnumHealthStatus.UNHEALTHY
        return HealthPage(HTTPStatus.SERVICE_UNAVAILABLE if unhealthy else HTTPStatus.OK, body)

    async def metrics(self) -> HealthPage:
        """For Prometheus. 503 while it starts: there is nothing to tell."""
        if self._metrics is None:
            return HealthPage(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "it starts; ask again"})
        return HealthPage(HTTPStatus.OK, {}, await self._metrics.text(), MEDIA)

    def _remember(self, status: EnumHealthStatus) -> None:
        """Many who ask within FRESH_S see one moment: it counts once, unless it is worse."""
        now_s = time.monotonic()
        if now_s - self._judged_s >= FRESH_S or status.badness > self._memory.shown.badness:
            self._memory, self._judged_s = remembered(self._memory, status), now_s

    # --- checks -------------------------------------------------------------------------------------------------------

    async def _critical(self) -> dict[str, HealthCheck]:
        engine, probes = self._engine, self._probes
        if engine is None or probes is None:
            return {"engine": HealthCheck(False, True, "it starts: it takes over what waits in the store")}
        if engine.is_closing or engine.service.closed is not None:
            why = "it closes: it takes no new work" if engine.is_closing else str(engine.service.closed)
            return {"engine": HealthCheck(False, True, why)}
        checks = {"engine": HealthCheck(True, True, "it runs")}
        if engine.keeper is None:
            checks["store"] = await _asked(probes.stopped, critical=True)
        else:
            checks["store"], shards = await asyncio.gather(
                _asked(probes.stopped, critical=True), _asked(probes.lacks, critical=True)
            )
            if checks["store"].passing:
                lacks = "" if probes.lacks.last is None else probes.lacks.last.value
                told = HealthCheck(not lacks, True, lacks or "those that belong to it are here")
                checks["shards"] = told if shards.passing else shards
        return checks

    async def _others(self, engine: WiredEngine, probes: EngineProbes) -> dict[str, HealthCheck]:
        before, now = self._since(engine.counters)
        overloaded = now.overloaded - before.overloaded
        checks = {
            "attempts": error_check(
                "the attempts of the last minutes are tried again", now.retried - before.retried, now.run - before.run
            ),
            "load": HealthCheck(
                not overloaded, False, f"{counted(overloaded, 'call')} of the last minutes found no room"
            ),
            "memory": use_check("the memory that this process may have", resources.memory_use()),
            "loop": HealthCheck(
                self._lag.worst_s < LAG_MOST_S,
                False,
                f"it was {1000 * self._lag.worst_s:.0f} ms late at worst in the last minute",
            ),
        }
        if (file := StoreUrl.parse(self._url).path) is not None:
            checks["disk"] = use_check("the disk of the store", resources.disk_use(file.absolute().parent))
        if engine.bus is not None:
            away = engine.bus.service.state is EnumBreakerState.OPEN
            checks["bus"] = HealthCheck(not away, False, "it takes no messages" if away else "it takes messages")
        if engine.relay.targets:
            alone = left_alone(engine)
            told = f"calls failed in a row, so these are left alone for a while: {', '.join(alone)}"
            checks["targets"] = HealthCheck(not alone, False, told if alone else "none is left alone")
        projections = await _asked(probes.late_ms, critical=False)
        if probes.late_ms.last is not None:
            threshold_ms = engine.settings.projection_lag_threshold_ms
            late = sorted(name for name, ms in probes.late_ms.last.value.items() if ms > threshold_ms)
            told = f"more than {threshold_ms} ms late: {', '.join(late)}" if late else f"none is {threshold_ms} ms late"
            checks["projections"] = projections if not projections.passing else HealthCheck(not late, False, told)
        if probes.stopped.last is not None:
            stopped = probes.stopped.last.value
            checks["intents"] = HealthCheck(
                not stopped,
                False,
                f"{counted(sum(stopped.values()), 'intent')} wait for a person: onex dead"
                if stopped
                else "none waits for a person",
            )
        return checks

    def _since(self, counters: Counters) -> tuple[HealthSample, HealthSample]:
        """The older of the samples that are kept, and one of now."""
        now = HealthSample(time.monotonic(), counters.effects_run, counters.effects_retried, counters.overloaded)
        if now.at_s - self._samples[1].at_s >= WINDOW_S:
            self._samples = (self._samples[1], now)
        return self._samples[0], now

    async def close(self) -> None:
        await self._lag.close()
        if self._probes is not None:
            await self._probes.close()

    # --- figures ------------------------------------------------------------------------------------------------------

    def _figures(self) -> dict[str, JsonValue]:
        engine, probes = self._engine, self._probes
        about: dict[str, JsonValue] = {"pid": os.getpid(), "up_s": round(time.monotonic() - self._begun_s, 1)}
        figures: dict[str, JsonValue] = {"engine": about, "store": {"url": shown_url(self._url)}}
        if engine is None or probes is None:
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
        if (last := probes.stopped.last) is not None:
            figures["store"] = {"url": shown_url(self._url), "answered_ms": round(1000 * last.took_s, 3)}
            figures["intents"] = {state: last.value.get(state, 0) for state in ("held", "dead")}
        if (late := probes.late_ms.last) is not None:
            figures["projections"] = {name: {"lag_ms": round(ms, 1)} for name, ms in late.value.items()}
        return figures


async def _asked(probe: Probe[T], *, critical: bool) -> HealthCheck:
    try:
        answer = await probe.answer()
    except OnexError as error:
        return HealthCheck(False, critical, error.message)
    if answer is None:
        return HealthCheck(False, critical, f"it has not answered for {LOOK_S:g} s")
    return HealthCheck(True, critical, f"it answered in {1000 * answer.took_s:.1f} ms")


def _shown(checks: Mapping[str, HealthCheck]) -> dict[str, JsonValue]:
    return {name: dict(check._asdict()) for name, check in checks.items()}


async def with_health(address: str | None, url: str, run: Callable[[Health], Awaitable[T]]) -> T:
    """Awaits ``run``, and serves its health at ``address`` meanwhile, by default that of ``ONEX_LISTEN``; else nowhere.

    Raises Misused for an address that is none, OSError for one that cannot be had, and what ``run`` raises.
    """
    health = Health(url)
    if address is None:
        address = read_settings().listen or None
    server = HealthServer(
        {
            "/health": health.report,
            "/health/live": health.live,
            "/health/ready": health.ready,
            "/metrics": health.metrics,
        }
    )
    if address is not None:
        health.where = await server.start(*parse_address(address))
    try:
        return await run(health)
    finally:
        await server.close()
        await health.close()
