"""Errors of nodes and of pipelines of nodes: each says where it was raised, and under which correlation id."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex import EffectFailed, ModelIntent, Payload
from onex.kernel.errors import ValidationError, WorkflowExecutionError
from onex.nodes.error_handling import PipelineErrorContext, standard_error_handling
from onex.nodes.node_effect import ModelEffectInput

CORRELATION = UUID(int=4711)


class ReadLines(Payload):
    order: str


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
