"""Health of a node of one's own: its services, its resources, its calls; and what hangs or raises is named."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from onex.container import ONEXContainer
from onex.engine.labelled_counts import LabelledCounts
from onex.kernel.health import EnumHealthStatus, HealthCheck, NodeHealthStatus
from onex.nodes import health as health_room
from onex.nodes.health import CallCounts, HealthCheckMixin, MonitoredNodeService


class Service:
    def __init__(self) -> None:
        self.hangs, self.error = False, ""

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise ConnectionError(self.error)


class Divider(MonitoredNodeService[int, float]):
    async def execute_operation(self, contract: int) -> float:
        return 1 / contract


def names(found: NodeHealthStatus) -> list[str]:
    return [name for name, check in found.checks.items() if not check.passing]


def a_node(**services: Service) -> Divider:
    container = ONEXContainer()
    for name, service in services.items():
        container.register_value(name, service)
    container.register_value("ProtocolMetricsCollector", LabelledCounts())
    return Divider(container, critical=("store",), within_s=0.05)


def test_a_node_that_overwrites_nothing_is_healthy() -> None:
    found = asyncio.run(HealthCheckMixin().health_check())
    assert (found.status, found.reasons) == (EnumHealthStatus.HEALTHY, ())


def test_resources_and_calls_are_judged_by_their_bounds() -> None:
    class Full(HealthCheckMixin):
        async def resource_usage(self) -> Mapping[str, float]:
            return {"memory": 0.95, "disk": 0.5}

        async def recent_calls(self) -> CallCounts:
            return CallCounts(10, 1)

    found = asyncio.run(Full().health_check())
    assert (found.status, names(found)) == (EnumHealthStatus.DEGRADED, ["memory", "calls"])


def test_a_question_that_raises_or_hangs_is_named_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_room, "PROBE_S", 0.02)

    class Lost(HealthCheckMixin):
        async def check_dependencies(self) -> Mapping[str, HealthCheck]:
            raise OSError("no route")

        async def resource_usage(self) -> Mapping[str, float]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    found = asyncio.run(Lost().health_check())
    assert found.status is EnumHealthStatus.UNHEALTHY
    assert names(found) == ["dependencies", "resources"]
    assert "no route" in found.checks["dependencies"].message
    assert "no answer for" in found.checks["resources"].message


def test_a_service_that_hangs_delays_none_of_the_others() -> None:
    async def go() -> None:
        store, mail = Service(), Service()
        node = a_node(store=store, mail=mail)
        assert (await node.health_check()).status is EnumHealthStatus.HEALTHY
        mail.hangs = True
        found = await node.health_check()
        assert (found.status, names(found)) == (EnumHealthStatus.DEGRADED, ["mail"])
        store.error = "refused"
        found = await node.health_check()
        assert (found.status, names(found)) == (EnumHealthStatus.UNHEALTHY, ["store", "mail"])
        assert "refused" in found.checks["store"].message
        await node.close()

    asyncio.run(go())


def test_it_is_healthy_again_after_three_good_answers_in_a_row() -> None:
    async def go() -> None:
        store = Service()
        node = a_node(store=store)
        store.error = "refused"
        assert (await node.health_check()).status is EnumHealthStatus.UNHEALTHY
        store.error = ""
        shown = [(await node.health_check()).status.value for _ in range(3)]
        assert shown == ["unhealthy", "unhealthy", "healthy"]

    asyncio.run(go())


def test_calls_are_counted_and_timed_and_forgotten_after_two_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        node = a_node()
        assert await node.execute_with_monitoring(2) == 0.5
        with pytest.raises(ZeroDivisionError):
            await node.execute_with_monitoring(0)
        assert names(await node.health_check()) == ["calls"]
        times = node.container.get_service("ProtocolMetricsCollector")
        assert isinstance(times, LabelledCounts)
        assert set(times.times) == {("Divider", "success", ""), ("Divider", "error", "ZeroDivisionError")}
        monkeypatch.setattr(health_room, "WINDOW_S", 0.0)
        await node.recent_calls()
        assert await node.recent_calls() == CallCounts()

    asyncio.run(go())
