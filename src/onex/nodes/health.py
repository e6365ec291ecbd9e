"""Health and run time of a node in a program of your own: what it needs, what it uses, how many of its calls fail.

``HealthCheckMixin`` asks three questions of its class, all at once, each under a time limit of its own. One that hangs, or raises,
is a failed check with its name; the others are told. ``MonitoredNodeService`` is a node that answers them: each service of its
container is asked by its ``ping()``, and calls are counted over the last one to two WINDOW_S. The process of ``onex run`` is judged
by the same rules, with ``--listen``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from ..container import ONEXContainer, ServiceHealth
from ..engine.probe import Probe
from ..kernel.health import HealthCheck, HealthMemory, NodeHealthStatus, error_check, judged, remembered, use_check
from ..kernel.user_code import describe
from .services import ProtocolMetricsCollector

PROBE_S: Final = 3.0
WINDOW_S: Final = 60.0
EXECUTION_TIME: Final = "node_execution_time"

T = TypeVar("T")
Asked = TypeVar("Asked")
Given = TypeVar("Given")


class CallCounts(NamedTuple):
    """``failed`` of ``calls``, of the last minutes."""

    calls: int = 0
    failed: int = 0


class HealthCheckMixin:
    """Overwrite what your node knows of itself: by default it needs nothing, uses nothing, and has had no calls."""

    async def check_dependencies(self) -> Mapping[str, HealthCheck]:
        """What it needs, by name."""
        return {}

    async def resource_usage(self) -> Mapping[str, float]:
        """Shares of resources in use, by name, each from 0 to 1."""
        return {}

    async def recent_calls(self) -> CallCounts:
        return CallCounts()

    async def health_check(self) -> NodeHealthStatus:
        """Raises nothing, and waits for PROBE_S at most."""
        needs, uses, calls = await asyncio.gather(
            _asked("dependencies", self.check_dependencies),
            _asked("resources", self.resource_usage),
            _asked("calls", self.recent_calls),
        )
        checks = dict(needs) if not isinstance(needs, HealthCheck) else {"dependencies": needs}
        if isinstance(uses, HealthCheck):
            checks["resources"] = uses
        else:
            checks |= {name: use_check(name, used) for name, used in uses.items()}
        checks["calls"] = (
            calls
            if isinstance(calls, HealthCheck)
            else error_check("the calls of the last minutes failed", calls.failed, calls.calls)
        )
        return judged(checks)


class MonitoredNodeService(HealthCheckMixin, ABC, Generic[Asked, Given]):
    """A node with the services of ``container``; overwrite ``execute_operation``.

    ``critical``: services without which it does no work. Run times go to the ``ProtocolMetricsCollector`` of the container, if it
    has one.
    """

    def __init__(self, container: ONEXContainer, *, critical: Iterable[str] = (), within_s: float = PROBE_S) -> None:
        self.container, self.critical = container, frozenset(critical)
        self._within_s = within_s
        self._probes: dict[str, Probe[ServiceHealth]] = {}
        self._memory = HealthMemory()
        self._windows = [(0.0, CallCounts()), (0.0, CallCounts())]
        self._counts = CallCounts()

    @abstractmethod
    async def execute_operation(self, contract: Asked) -> Given:
        """The work itself. Raises what it fails with."""

    async def execute_with_monitoring(self, contract: Asked) -> Given:
        """One call, counted and timed. Raises what the work raises."""
        loop = asyncio.get_running_loop()
        begun_s, error = loop.time(), ""
        try:
            return await self.execute_operation(contract)
        except Exception as raised:
            error = type(raised).__name__
            raise
        finally:
            self._roll(loop.time())
            self._counts = CallCounts(self._counts.calls + 1, self._counts.failed + bool(error))
            await self._record(loop.time() - begun_s, error)

    async def _record(self, seconds: float, error: str) -> None:
        if "ProtocolMetricsCollector" not in self.container.names:
            return
        collector = self.container.get_service(ProtocolMetricsCollector)
        tags = {"node_type": type(self).__name__, "status": "error" if error else "success"}
        await collector.record_metric(EXECUTION_TIME, seconds, {**tags, **({"error_type": error} if error else {})})

    # --- what the mixin asks ------------------------------------------------------------------------------------------

    async def check_dependencies(self) -> Mapping[str, HealthCheck]:
        """Each service by a probe of its own, so that one that hangs delays none of the others."""
        for name in self.container.names:
            self._probes.setdefault(name, Probe(_ping(self.container, name), within_s=self._within_s * 0.9))
        answers = await asyncio.gather(*(probe.answer() for probe in self._probes.values()))
        return {
            name: HealthCheck(False, name in self.critical, f"it has not answered for {probe.within_s:g} s")
            if answer is None
            else HealthCheck(answer.value.is_healthy, name in self.critical, answer.value.reason or "it answers")
            for (name, probe), answer in zip(self._probes.items(), answers, strict=True)
        }

    async def recent_calls(self) -> CallCounts:
        self._roll(asyncio.get_running_loop().time())
        before = self._windows[0][1]
        return CallCounts(self._counts.calls - before.calls, self._counts.failed - before.failed)

    def _roll(self, now_s: float) -> None:
        if now_s - self._windows[1][0] >= WINDOW_S:
            self._windows = [self._windows[1], (now_s, self._counts)]

    async def health_check(self) -> NodeHealthStatus:
        """As the mixin's, and better only after some good answers in a row."""
        found = await super().health_check()
        self._memory = remembered(self._memory, found.status)
        return NodeHealthStatus(self._memory.shown, found.checks)

    async def close(self) -> None:
        """Ends the questions that hang."""
        await asyncio.gather(*(probe.close() for probe in self._probes.values()))


def _ping(container: ONEXContainer, name: str) -> Callable[[], Coroutine[None, None, ServiceHealth]]:
    return lambda: container.check_service_health(name)


async def _asked(name: str, ask: Callable[[], Coroutine[None, None, T]]) -> T | HealthCheck:
    """The answer, or why there is none."""
    probe = Probe(ask, within_s=PROBE_S)
    try:
        answer = await probe.answer()
    except Exception as error:
        return HealthCheck(False, True, f"{name} cannot be told: {describe(error)}")
    if answer is None:
        await probe.close()
        return HealthCheck(False, True, f"{name}: no answer for {PROBE_S:g} s")
    return answer.value
