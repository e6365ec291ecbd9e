from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
import structlog

from onex.adapters.memory.store import MemoryStore
from onex.container import ONEXContainer, ServiceHealth
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import DependencyResolutionError
from onex.nodes.compute import AlgorithmRegistry
from onex.nodes.services import (
    ProtocolAlgorithmRegistry,
    ProtocolHealthMonitor,
    ProtocolLogger,
    ProtocolServiceRegistry,
    ProtocolStateManager,
    ProtocolTransactionManager,
)


class Clock(Protocol):
    zone: str

    def now(self) -> int: ...


class FixedClock:
    zone = "UTC"

    def __init__(self, at: int = 7) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


class Journal:
    """Who started and stopped, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Store:
    def __init__(self, clock: Clock, journal: Journal) -> None:
        self.clock = clock
        self.journal = journal

    async def start(self) -> None:
        self.journal.lines.append("store starts")

    async def close(self) -> None:
        self.journal.lines.append("store closes")

    async def ping(self) -> None:
        if self.clock.now() < 0:
            raise ConnectionError("the clock runs backwards")


class Engine:
    def __init__(self, store: Store, journal: Journal, size: int = 3) -> None:
        self.store = store
        self.journal = journal
        self.size = size

    async def start(self) -> None:
        self.journal.lines.append("engine starts")

    async def stop(self) -> None:
        self.journal.lines.append("engine stops")

    async def close(self) -> None:
        self.journal.lines.append("never: stop comes before close")


def filled() -> ONEXContainer:
    container = ONEXContainer()
    container.register(Engine, Engine)
    container.register(Store, Store)
    container.register(Clock, FixedClock)
    container.register(Journal, Journal)
    return container


def test_a_class_a_protocol_and_their_names_lead_to_one_service() -> None:
    container = filled()
    engine = container.get_service(Engine)
    assert container.get_service("Engine") is engine
    assert container.get_service(Clock) is container.get_service("Clock") is engine.store.clock
    assert engine.store is container.get_service(Store)
    assert engine.size == 3
    assert container.names == ("Engine", "Store", "Clock", "Journal")


def test_services_start_needs_first_and_stop_in_reverse() -> None:
    async def main() -> list[str]:
        container = filled()
        async with container:
            lines = container.get_service(Journal).lines
            await container.start()
        await container.stop()
        return lines

    assert asyncio.run(main()) == ["store starts", "engine starts", "engine stops", "store closes"]


def test_what_was_given_is_left_to_its_owner() -> None:
    async def main() -> list[str]:
        journal = Journal()
        container = ONEXContainer()
        container.register_value(Store, Store(FixedClock(), journal))
        container.register_value(Journal, journal)
        container.register(Engine, Engine)
        async with container:
            pass
        return journal.lines

    assert asyncio.run(main()) == ["engine starts", "engine stops"]


def test_a_service_may_be_made_by_an_async_function_once_the_container_starts() -> None:
    async def open_store(clock: Clock, journal: Journal) -> Store:
        await asyncio.sleep(0)
        return Store(clock, journal)

    async def main() -> None:
        container = ONEXContainer()
        container.register(Clock, FixedClock)
        container.register(Journal, Journal)
        container.register(Store, open_store)
        with pytest.raises(
            DependencyResolutionError, match=r"Store is made by an async function: await start\(\) first"
        ):
            container.get_service(Store)
        async with container:
            assert container.get_service(Store).clock is container.get_service(Clock)

    asyncio.run(main())


def clock_at(at: int | None) -> FixedClock:
    return FixedClock(at or 0)


def test_needs_can_be_said_instead_of_read() -> None:
    container = ONEXContainer()
    container.register_value("answer", 42)
    container.register("clock", FixedClock, needs={"at": "answer"})
    clock = container.get_service("clock")
    assert isinstance(clock, FixedClock)
    assert clock.at == 42
    with pytest.raises(DependencyResolutionError, match="needs 'at', which is annotated with no class"):
        container.register("other", clock_at)


# --- what is wrong is named -------------------------------------------------------------------------------------------


def test_a_missing_service_is_named_with_who_needs_it_and_what_is_near() -> None:
    container = filled()
    with pytest.raises(DependencyResolutionError, match=r"no service Stroe is registered; did you mean Store\?"):
        container.get_service("Stroe")
    lonely = ONEXContainer()
    lonely.register(Engine, Engine)
    lonely.register(Store, Store)
    with pytest.raises(
        DependencyResolutionError, match=r"no service Clock, needed by Store <- Engine, is registered; there"
    ):
        lonely.get_service(Engine)
    with pytest.raises(DependencyResolutionError, match="there is none at all"):
        ONEXContainer().get_service(Engine)


def test_services_that_wait_for_each_other_are_named_in_order_before_any_is_made() -> None:
    container = ONEXContainer()
    for name, need in (("a", "b"), ("b", "c"), ("c", "a")):
        container.register(name, lambda one: pytest.fail("made"), needs={"one": need})
    with pytest.raises(DependencyResolutionError, match="a -> b -> c -> a"):
        asyncio.run(container.start())


def test_a_key_is_registered_once() -> None:
    container = filled()
    with pytest.raises(DependencyResolutionError, match="Store is registered already"):
        container.register_value("Store", object())


def test_a_service_that_lacks_what_its_key_promises_is_refused() -> None:
    container = ONEXContainer()
    with pytest.raises(DependencyResolutionError, match="Clock is given a Journal that lacks now, zone"):
        container.register_value(Clock, Journal())
    container.register(Store, FixedClock)
    with pytest.raises(DependencyResolutionError, match="Store is given a FixedClock that lacks its class, Store,"):
        container.get_service(Store)


def test_another_class_of_the_same_name_is_another_class() -> None:
    container = filled()
    other = type("Store", (), {"__module__": "elsewhere"})
    with pytest.raises(
        DependencyResolutionError, match=r"elsewhere\.Store is not registered; .*test_container\.Store is"
    ):
        container.get_service(other)


# --- tests and health -------------------------------------------------------------------------------------------------


def test_an_override_reaches_all_that_need_it_and_is_gone_afterwards() -> None:
    container = filled()
    before = container.get_service(Engine)
    with container.override(Clock, FixedClock(99)):
        assert container.get_service(Engine).store.clock.now() == 99
        assert container.get_service(Engine) is not before
        assert container.get_service(Journal) is before.journal
    assert container.get_service(Engine) is before
    assert container.get_service(Clock).now() == 7
    with pytest.raises(DependencyResolutionError, match="no service Clokc"), container.override("Clokc", 1):
        pass


def test_when_one_does_not_start_those_before_it_are_stopped() -> None:
    class Broken:
        def __init__(self, engine: Engine) -> None:
            self.engine = engine

        async def start(self) -> None:
            raise ConnectionError("no answer")

        async def stop(self) -> None:
            raise ValueError("nothing to stop")

    async def main() -> None:
        journal = Journal()
        container = ONEXContainer()
        container.register_value(Journal, journal)
        container.register(Clock, FixedClock)
        container.register(Store, Store)
        container.register(Engine, Engine)
        container.register("broken", Broken, needs={"engine": Engine})
        with pytest.raises(ConnectionError, match="no answer") as caught:
            await container.start()
        assert "stopping what had started failed too" in caught.value.__notes__[0]
        assert journal.lines == ["store starts", "engine starts", "engine stops", "store closes"]

    asyncio.run(main())


def test_health_is_what_each_ping_says() -> None:
    async def main() -> None:
        container = filled()
        assert (await container.check_service_health("Store")).reason == "Store is not started"
        assert (await container.check_service_health("Nobody")).reason == "no Nobody"
        async with container:
            assert set((await container.health()).values()) == {ServiceHealth(True)}
            container.get_service(Store).clock = FixedClock(-1)
            assert (await container.health())["Store"] == ServiceHealth(False, "Store: the clock runs backwards")

    asyncio.run(main())


def test_the_protocols_of_nodes_are_kept_by_what_the_house_ships() -> None:
    container = ONEXContainer()
    logger: ProtocolLogger = structlog.get_logger()
    registry: ProtocolAlgorithmRegistry = AlgorithmRegistry({})
    transactions: ProtocolTransactionManager = MemoryStore()
    services: ProtocolServiceRegistry = container
    monitor: ProtocolHealthMonitor = container
    states: type[ProtocolStateManager] = ReducerPatternEngine
    container.register_value(ProtocolLogger, logger)
    container.register_value(ProtocolAlgorithmRegistry, registry)
    container.register_value(ProtocolTransactionManager, transactions)
    container.register_value(ProtocolServiceRegistry, services)
    container.register_value(ProtocolHealthMonitor, monitor)
    container.register_value(ProtocolStateManager, object.__new__(states))
    for name in container.names:
        assert container.get_service(name) is not None
