"""A contract, an engine and the services of a container become one node; what is wrong is said before a store is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import JsonValue
from typer.testing import CliRunner

import onex
from onex.adapters.memory.bus import MemoryBus
from onex.cli.main import app as commands
from onex.container import ONEXContainer
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import ContractError, DependencyResolutionError, EngineClosed, ValidationError
from onex.nodes.given import GivenEffect
from onex.nodes.reducer import ModelReducerInput
from onex.nodes.reducer_pattern import NodeReducerPatternEngine
from onex.nodes.services import ProtocolReducerPatternEngine
from onex.wiring.engine import WiredEngine
from onex.wiring.integration_bridge import CONTRACT, IntegrationBridge, read_node_contract
from tests.laws.tree import ROOT

ORDERS = ROOT / "examples" / "orders"
ID = UUID(int=7)
PLACE: dict[str, JsonValue] = {
    "workflow_type": "orders", "instance_id": "7", "kind": "place",
    "command_payload": {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]},
}  # fmt: skip


class Bank:
    def __call__(self, intent: object) -> dict[str, str]:
        return {"receipt": "from the container"}


class Warehouse:
    def __call__(self, intent: object) -> dict[str, str]:
        return {"parcel": "from the container"}


def placed() -> ModelReducerInput:
    return ModelReducerInput(correlation_id=ID, operation_id=ID, data=(PLACE,))


def written(folder: Path, engine: str) -> Path:
    path = folder / "reducer_pattern_engine.yaml"
    path.write_text(f"{CONTRACT.read_text()}engine: {engine}\n")
    return path


def test_the_shipped_contract_is_one_and_has_no_key_without_effect() -> None:
    done = CliRunner().invoke(commands, ["check", str(CONTRACT), "--strict", "--all"])
    assert done.exit_code == 0
    assert "all honoured" in done.output
    contract = read_node_contract()
    assert (contract.name, contract.partial_results_enabled) == ("reducer_pattern_engine", False)


def test_an_orchestrator_calls_the_node_and_a_service_of_the_container_serves_a_target(tmp_path: Path) -> None:
    path = written(tmp_path, f"{{app: {ORDERS}, store_url: 'sqlite:///{tmp_path}/store.db', effects: {{bank: Bank}}}}")

    async def go() -> None:
        container = ONEXContainer()
        IntegrationBridge(path, effects={"warehouse": Warehouse}).register(container)
        container.register(Bank, Bank)
        container.register(Warehouse, Warehouse)
        async with container:
            node = container.get_service(ProtocolReducerPatternEngine)
            assert node is container.get_service(NodeReducerPatternEngine)
            assert all(one.is_healthy for one in (await container.health()).values())
            done = await node.reduce(placed())
            assert done.metadata["instance_id"] == "7"
            engine = container.get_service(ReducerPatternEngine)
            assert (await engine.wait("orders:7", "shipped")).version == 3
            assert (await node.reduce(placed())).aggregated_state["receipt"] == "from the container"
        assert engine.is_closing
        with pytest.raises(EngineClosed):
            await node.reduce(placed())

    asyncio.run(go())


def test_the_bus_and_the_listener_are_services_too(tmp_path: Path) -> None:
    told: list[str] = []

    class Listener:
        details = False

        def emit(self, name: str, **fields: object) -> None:
            told.append(name)

    async def go() -> None:
        container, bus = ONEXContainer(), MemoryBus()
        container.register_value("Bus", bus)
        container.register(Listener, Listener)
        bridge = IntegrationBridge(
            app=ORDERS, store_url=f"sqlite:///{tmp_path}/store.db", bus="Bus", telemetry=Listener
        )
        bridge.register(container)
        async with container:
            engine = container.get_service(ReducerPatternEngine)
            assert isinstance(engine, WiredEngine) and engine.bus is not None
            assert engine.bus.service.bus is bus
        await bus.close()

    asyncio.run(go())
    assert told[0] == "engine_started" and told[-1] == "engine_closed"


def test_a_client_of_another_process_is_an_engine_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    served: dict[str, GivenEffect] = {"bank": Bank(), "warehouse": Warehouse()}

    async def go() -> None:
        async with await onex.open(url, ORDERS, executors=served), await onex.connect(url, ORDERS) as client:
            node = NodeReducerPatternEngine(client, read_node_contract())
            done = await node.reduce(placed())
            assert isinstance(done.aggregated_data, list) and isinstance(done.aggregated_data[0], dict)
            assert done.aggregated_data[0]["status"] == "charging"
            assert (await client.wait("orders:7", "shipped")).version == 3
            with pytest.raises(onex.Refused):
                await node.reduce(
                    ModelReducerInput(
                        correlation_id=ID,
                        operation_id=UUID(int=8),
                        data=({**PLACE, "kind": "cancel", "command_payload": {}},),
                    )
                )

    asyncio.run(go())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nnode_type: reducer\n", "is no contract of an engine as a node"),
        ("name: x\nnode_type: nonsense\n", "nonsense"),
        ("]", "1:1"),
    ],
)
def test_what_is_no_contract_of_a_node_is_said_so(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=says):
        IntegrationBridge(path, app=ORDERS)


def test_what_is_missing_is_named_before_the_store_is_touched(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="names no app"):
        IntegrationBridge()
    with pytest.raises(ContractError, match="cannot be read"):
        IntegrationBridge(tmp_path / "none.yaml")

    async def start(bridge: IntegrationBridge) -> None:
        container = ONEXContainer()
        container.register(Bank, Bank)
        bridge.register(container)
        async with container:
            pass

    url = f"sqlite:///{tmp_path}/store.db"
    with pytest.raises(DependencyResolutionError, match="no service Banc"):
        asyncio.run(start(IntegrationBridge(app=ORDERS, store_url=url, effects={"bank": "Banc"})))
    with pytest.raises(ValidationError, match="no target 'banc'"):
        asyncio.run(start(IntegrationBridge(app=ORDERS, store_url=url, effects={"banc": Bank})))
    assert not (tmp_path / "store.db").exists()
