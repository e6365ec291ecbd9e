"""Effect -> compute -> reducer -> orchestrator: five services carry out one order, under one correlation id.

    database        an effect reads the order's lines
    transformation  a compute function prices them, in worker processes
    aggregation     a pure reducer adds the prices up
    workflow        an orchestrator begins the order's plan, examples/order_saga, and waits for its end
    orders          the engine, in which the plan's reducer processes the order

Each node may fail. The pipeline's error names the one that did, nothing behind it has happened, and a plan that fails is undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid5

from pydantic import BaseModel, JsonValue, TypeAdapter

import onex
from onex import ModelIntent, compute_workers
from onex.container import ONEXContainer
from onex.nodes.compute import AlgorithmRegistry
from onex.nodes.compute_node import ModelAlgorithmConfig, ModelComputeInput, NodeCompute
from onex.nodes.error_handling import PipelineErrorContext
from onex.nodes.node_effect import ModelEffectInput
from onex.nodes.reducer import ModelReducerInput, NodeReducer
from onex.orchestration.node import ModelOrchestratorInput, NodeOrchestrator

from .database import DatabaseEffectService, ReadLines, SqlitePool, make_shop
from .pricing import price

SAGA = Path(__file__).resolve().parents[1] / "order_saga"
JSON = TypeAdapter[JsonValue](JsonValue)


class Services(NamedTuple):
    """The five services of one program."""

    database: DatabaseEffectService
    transformation: NodeCompute
    aggregation: NodeReducer[onex.State]
    orders: onex.ReducerPatternEngine
    workflow: NodeOrchestrator


@asynccontextmanager
async def opened(shop: Path, store: str = "memory:") -> AsyncIterator[Services]:
    """``shop`` is the database file of the orders, made if need be; ``store`` that of the engine."""
    make_shop(shop)
    container = ONEXContainer()
    container.register_value("ProtocolConnectionPool", SqlitePool(shop))
    container.register_value("ProtocolAlgorithmRegistry", AlgorithmRegistry({"price": price}))
    container.register("Workers", lambda: compute_workers(2))
    async with container, await onex.open(store, SAGA) as engine:
        yield Services(
            DatabaseEffectService(container), NodeCompute(container), NodeReducer(), engine, NodeOrchestrator(engine)
        )


async def carried_out(services: Services, order: str, correlation: UUID, *, method: str = "sum") -> str:
    """The key of the plan. Raises WorkflowExecutionError, which names the node that failed."""
    failed = PipelineErrorContext(correlation)
    with failed.node("effect"):
        intent: ModelIntent[BaseModel] = ModelIntent(
            intent_id=uuid5(correlation, order), intent_type="database_write", target="shop",
            payload=ReadLines(order=order), correlation_id=correlation, idempotency_key=order,
        )  # fmt: skip
        read = (await services.database.execute_effect(ModelEffectInput(intent=intent))).result
    failed.raise_if_failed()
    with failed.node("compute"):
        task = ModelComputeInput(
            correlation_id=correlation,
            algorithm_config=ModelAlgorithmConfig(algorithm_type="price"),
            input_data=JSON.validate_python(read.model_dump() if read else None),
        )
        priced = await services.transformation.execute_compute(task)
    failed.raise_if_failed()
    with failed.node("reducer"):
        prices = tuple(priced.processed_data["prices"])  # type: ignore[index]  # Prices, as JSON
        total = await services.aggregation.execute_reduction(
            ModelReducerInput(correlation_id=priced.correlation_id, data=prices, aggregation_method=method)
        )
    failed.raise_if_failed()
    with failed.node("orchestrator"):
        plan = ModelOrchestratorInput(
            correlation_id=total.correlation_id,
            operation_id=uuid5(correlation, f"carry out {order}"),
            workflow_type="order_saga",
            input_data={"id": order, "sku": "tea", "cents": total.aggregated_data},
            timeout_s=30,
        )
        output = await services.workflow.execute_orchestration(plan)
    failed.raise_if_failed()
    return output.workflow_id
