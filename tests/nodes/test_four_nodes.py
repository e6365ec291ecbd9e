"""Effect -> compute -> reducer -> orchestrator (SPEC N12): five services under one correlation id, and each of the four failing.

An order's lines are read from a database, priced by a compute function in worker processes, summed by a reducer, and the order is
carried out by an orchestration, whose plan is an order-processing reducer of the engine.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid5

import pytest
from pydantic import BaseModel, JsonValue

import onex
from onex import EffectFailed, ModelIntent, Payload, compute_workers
from onex.container import ONEXContainer
from onex.kernel.errors import OnexError, ValidationError, WorkflowExecutionError
from onex.nodes.compute import AlgorithmRegistry
from onex.nodes.compute_node import ModelAlgorithmConfig, ModelComputeInput, NodeCompute
from onex.nodes.error_handling import PipelineErrorContext, standard_error_handling
from onex.nodes.node_effect import ModelEffectInput, ModelEffectOutput, ResourceManagedEffectService
from onex.nodes.reducer import ModelReducerInput, NodeReducer
from onex.orchestration.node import ModelOrchestratorInput, NodeOrchestrator
from tests.nodes.algorithms import price

SAGA = Path(__file__).resolve().parents[2] / "examples" / "order_saga"
CORRELATION = UUID(int=4711)


class ReadLines(Payload):
    order: str


class OrderLines(Payload):
    lines: list[dict[str, JsonValue]]


class SqlitePool:
    """Connections to one file; a query runs in a thread of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.file, check_same_thread=False)
        try:
            yield connection
        finally:
            connection.close()


class DatabaseEffectService(ResourceManagedEffectService):
    """The lines of one order."""

    @standard_error_handling
    async def execute_with_connection(self, connection: object, input_data: ModelEffectInput) -> ModelEffectOutput:
        assert isinstance(connection, sqlite3.Connection)
        asked = input_data.intent.payload
        assert isinstance(asked, ReadLines)
        query = "select sku, quantity, cents from lines where order_id = ? order by sku"
        rows = await asyncio.to_thread(lambda: connection.execute(query, (asked.order,)).fetchall())
        if not rows:
            raise EffectFailed(f"there is no order {asked.order}", code="no_order")
        named = [dict(zip(("sku", "quantity", "cents"), row, strict=True)) for row in rows]
        return ModelEffectOutput(result=OrderLines(lines=named))


class Services(NamedTuple):
    """The five services of one program."""

    database: DatabaseEffectService
    transformation: NodeCompute
    aggregation: NodeReducer[onex.State]
    orders: onex.ReducerPatternEngine
    workflow: NodeOrchestrator


async def carried_out(services: Services, order: str, *, method: str = "sum") -> str:
    """The id of the instance that carries the order out. Raises the pipeline's error, which names the nodes that failed."""
    failed = PipelineErrorContext(CORRELATION)
    with failed.node("effect"):
        intent: ModelIntent[BaseModel] = ModelIntent(
            intent_id=uuid5(CORRELATION, order), intent_type="database_write", target="shop", payload=ReadLines(order=order),
            correlation_id=CORRELATION, idempotency_key=order,
        )  # fmt: skip
        read = (await services.database.execute_effect(ModelEffectInput(intent=intent))).result
    failed.raise_if_failed()
    assert isinstance(read, OrderLines)
    with failed.node("compute"):
        priced = await services.transformation.execute_compute(
            ModelComputeInput(
                correlation_id=CORRELATION,
                algorithm_config=ModelAlgorithmConfig(algorithm_type="price"),
                input_data={"lines": read.lines},  # type: ignore[dict-item]  # a list of JSON is JSON
            )
        )
    failed.raise_if_failed()
    prices = priced.processed_data
    assert isinstance(prices, dict)
    with failed.node("reducer"):
        total = await services.aggregation.execute_reduction(
            ModelReducerInput(correlation_id=CORRELATION, data=tuple(prices["prices"]), aggregation_method=method)
        )
    failed.raise_if_failed()
    with failed.node("orchestrator"):
        output = await services.workflow.execute_orchestration(
            ModelOrchestratorInput(
                correlation_id=CORRELATION,
                operation_id=uuid5(CORRELATION, f"carry out {order}"),
                workflow_type="order_saga",
                input_data={"id": order, "sku": "tea", "cents": total.aggregated_data},
                timeout_s=30,
            )
        )
    failed.raise_if_failed()
    assert priced.correlation_id == total.correlation_id == output.correlation_id == CORRELATION
    return output.workflow_id


def with_services(folder: Path, use: Callable[[Services], Awaitable[None]]) -> None:
    file = folder / "shop.db"
    with sqlite3.connect(file) as shop:
        shop.execute("create table lines(order_id text, sku text, quantity integer, cents integer)")
        shop.executemany(
            "insert into lines values(?, ?, ?, ?)",
            [
                ("near-1", "tea", 2, 450),
                ("near-1", "cup", 1, 1100),
                ("far-1", "tea", 1, 450),
                ("odd-1", "tea", -1, 450),
            ],
        )
    shop.close()
    container = ONEXContainer()
    container.register_value("ProtocolConnectionPool", SqlitePool(file))
    container.register_value("ProtocolAlgorithmRegistry", AlgorithmRegistry({"price": price}))
    container.register("Workers", lambda: compute_workers(2))

    async def go() -> None:
        async with container, await onex.open("memory:", SAGA) as engine:
            await use(
                Services(
                    DatabaseEffectService(container),
                    NodeCompute(container),
                    NodeReducer(),
                    engine,
                    NodeOrchestrator(engine),
                )
            )

    asyncio.run(go())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEX_SAGA_DIR", str(tmp_path / "out"))
    return tmp_path


def done(folder: Path) -> dict[str, list[str]]:
    """What the outside of the orchestration saw: the orders in each folder."""
    kinds = ("reservations", "payments", "parcels")
    return {kind: sorted(one.name for one in (folder / "out" / kind).glob("*")) for kind in kinds}


def test_five_services_work_on_one_order_under_one_correlation_id(folder: Path) -> None:
    async def use(services: Services) -> None:
        key = await carried_out(services, "near-1")
        history = await services.orders.reader.history(onex.WorkflowKey.parse(key), 0, 100)
        assert {UUID(bytes=entry.row.correlation) for entry in history} == {CORRELATION}
        state = await services.orders.state(key)
        assert state is not None
        assert state.status == "completed"
        assert b'"cents":2000' in history[0].row.payload, "two teas and a cup"

    with_services(folder, use)
    assert done(folder) == {"reservations": ["near-1"], "payments": ["near-1"], "parcels": ["near-1"]}


@pytest.mark.parametrize(
    ("order", "method", "node", "cause", "message"),
    [
        ("none-1", "sum", "effect", EffectFailed, "there is no order none-1"),
        ("odd-1", "sum", "compute", EffectFailed, "a quantity is at least 1"),
        ("near-1", "mode", "reducer", OnexError, "no reduction is named 'mode'"),
        ("far-1", "sum", "orchestrator", WorkflowExecutionError, "nobody ships there"),
    ],
)
def test_the_node_that_failed_is_named_and_nothing_behind_it_has_happened(
    folder: Path, order: str, method: str, node: str, cause: type[OnexError], message: str
) -> None:
    async def use(services: Services) -> None:
        with pytest.raises(WorkflowExecutionError, match=f"pipeline failed at {node}") as failed:
            await carried_out(services, order, method=method)
        error = failed.value
        assert error.context["failed_nodes"] == [node]
        assert error.correlation_id == str(CORRELATION)
        assert isinstance(error.__cause__, cause)
        assert message in str(error.context["pipeline_errors"])

    with_services(folder, use)
    assert done(folder) == {"reservations": [], "payments": [], "parcels": []}, "what was done is undone"


def test_a_pipeline_error_names_every_node_that_failed() -> None:
    context = PipelineErrorContext(CORRELATION)
    context.raise_if_failed()
    for node in ("effect", "compute"):
        with context.node(node):
            raise EffectFailed(f"{node} is away")
    error = context.create_pipeline_error()
    assert error.message == "pipeline failed at effect, compute"
    assert error.context["pipeline_errors"] == ["effect: effect is away", "compute: compute is away"]
    assert error.context["total_errors"] == 2


class Broken:
    """A node whose methods raise what they should not."""

    @standard_error_handling
    async def execute_node_operation(self, asked: ModelEffectInput) -> None:
        raise ZeroDivisionError("division by zero")

    @standard_error_handling
    async def read(self, text: str) -> ReadLines:
        return ReadLines.model_validate_json(text)

    @standard_error_handling
    async def refuse(self) -> None:
        raise EffectFailed("no", code="refused")


def test_a_node_raises_errors_of_onex_only_and_each_says_where() -> None:
    intent: ModelIntent[BaseModel] = ModelIntent(
        intent_id=CORRELATION, intent_type="api_call", target="x", payload=ReadLines(order="1"), correlation_id=CORRELATION,
        idempotency_key="k",
    )  # fmt: skip
    asked = ModelEffectInput(intent=intent)
    with pytest.raises(WorkflowExecutionError, match="execute_node_operation failed") as failed:
        asyncio.run(Broken().execute_node_operation(asked))
    assert failed.value.context == {"node_type": "Broken", "operation": "execute_node_operation"}
    assert failed.value.correlation_id == str(CORRELATION)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    with pytest.raises(ValidationError, match="order: Field required"):
        asyncio.run(Broken().read("{}"))
    with pytest.raises(EffectFailed) as refused:
        asyncio.run(Broken().refuse())
    assert refused.value.context["operation"] == "refuse"
