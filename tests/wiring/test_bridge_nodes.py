"""The bridge's nodes are nodes of ours on an engine with a bus."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusRefused
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import UnknownWorkflow
from onex.orchestration.node import ModelOrchestratorInput
from onex.wiring.bridge_nodes import NodeBridgeOrchestrator, NodeBridgeReducer, NodeBridgeRegistry
from onex.wiring.self_registration import EngineNode, registered
from tests.laws.tree import ROOT
from tests.workflows.registration.directories import Directories

TOPICS = BusTopics()


def test_a_registry_asks_all_who_listen_and_knows_who_is_there() -> None:
    async def go() -> None:
        broker, directories = MemoryBroker(), Directories()
        bus = MemoryBus(broker)
        async with await onex.open("memory:", "onex:registration", executors=directories.executors, bus=bus) as engine:
            registry = NodeBridgeRegistry(engine)
            names, told = ["a", "b"], list[str]()
            beat_s = 60
            nodes = [
                registered(EngineNode(one, one, "1.0.0", ()), "memory:", told.append, beat_s, MemoryBus(broker))
                for one in names
            ]
            async with nodes[0], nodes[1]:
                for one in names:
                    await engine.wait(f"registration:{one}", until="complete", timeout_s=30)
                asked = await registry.request_introspection()
                async with asyncio.timeout(30):
                    while await answers(engine, names, asked.bytes) < 2:
                        await asyncio.sleep(0.02)
                for one in names:  # what they told is newer, and is written once more
                    await engine.wait(f"registration:{one}", until="complete", timeout_s=30)
                found = await registry.nodes("complete")
                assert [one.node_id for one in found] == names
                assert found[0].consul_registered and found[0].postgres_registered
            for one in names:
                await engine.wait(f"registration:{one}", until="deregistered", timeout_s=30)
            assert (await registry.nodes("complete"), told) == ([], [])

    asyncio.run(go())


async def answers(engine: onex.ReducerPatternEngine, names: list[str], correlation: bytes) -> int:
    rows = [await engine.reader.history(onex.WorkflowKey("registration", one), 0, 100) for one in names]
    return sum(
        entry.row.kind == "introspected" and entry.row.correlation == correlation for one in rows for entry in one
    )


def test_an_orchestrator_of_the_bridge_tells_each_step_on_the_bus() -> None:
    async def go() -> None:
        broker = MemoryBroker()
        book: dict[str, JsonValue] = {"title": "Moby", "pages": 3}
        asked = ModelOrchestratorInput(
            correlation_id=uuid4(), workflow_type="fan_out", input_data=book, operation_id=uuid4()
        )
        async with await onex.open("memory:", ROOT / "examples" / "fan_out", bus=MemoryBus(broker)) as engine:
            done = await NodeBridgeOrchestrator(engine).execute_orchestration(asked)
        topic = broker.topic(TOPICS.event(EnumBusEvent.WORKFLOW_STEP_COMPLETED))
        told = [OnexEnvelopeV1.from_bytes(one.value) for part in topic for one in part.messages]
        assert done.workflow_id in {one.payload["workflow_key"] for one in told}
        assert {one.correlation_id for one in told} == {asked.correlation_id}

    asyncio.run(go())


def test_a_reducer_of_the_bridge_is_that_of_a_workflow() -> None:
    reducer = NodeBridgeReducer(ROOT / "examples" / "orders", "orders")
    assert reducer.reducer is not None and reducer.reducer.workflow_type == "orders"
    with pytest.raises(UnknownWorkflow, match="has no workflow 'order'; it has orders"):
        NodeBridgeReducer(ROOT / "examples" / "orders", "order")


def test_without_a_bus_there_is_no_bridge() -> None:
    async def go() -> None:
        async with await onex.open("memory:", ROOT / "examples" / "billing") as engine:
            for node in (NodeBridgeRegistry, NodeBridgeOrchestrator):
                with pytest.raises(BusRefused, match="ONEX_BUS"):
                    node(engine)

    asyncio.run(go())
