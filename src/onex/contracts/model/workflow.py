"""Steps of work and what each waits for. The order is checked, compared and drawn; how it is run is only kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, GRAPH, MAPPED, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Word
from .resilience import ModelCircuitBreaker, ModelRetryPolicy


class ModelWorkflowStep(Part):
    """``step_id`` is what others wait for; ``node`` is the node or service that does it, ``contract_ref`` its contract."""

    step_id: Annotated[Word, GRAPH]
    step_name: Annotated[Word | None, GRAPH] = None
    step_type: Annotated[Word | None, GRAPH] = None
    description: Annotated[Prose, PROSE] = ""
    depends_on: Annotated[tuple[Word, ...], GRAPH] = ()
    required: Annotated[bool | None, COMPARED] = None
    node: Annotated[Word | None, MAPPED] = None
    contract_ref: Annotated[Word | None, MAPPED] = None
    order: Annotated[int | None, COMPARED] = None
    condition: Annotated[Prose | None, COMPARED] = None
    inputs: Annotated[JsonValue, COMPARED] = None
    outputs: Annotated[JsonValue, COMPARED] = None
    on_success: Annotated[JsonValue, COMPARED] = None
    on_failure: Annotated[JsonValue, COMPARED] = None
    config: JsonValue = None
    metadata: JsonValue = None
    timeout_ms: float | None = None
    retry_policy: ModelRetryPolicy | None = None
    circuit_breaker: ModelCircuitBreaker | None = None
    priority: JsonValue = None
    parallel: bool | None = None


class ModelWorkflowEdge(Part):
    source: Annotated[Word, GRAPH]
    target: Annotated[Word, GRAPH]
    edge_type: Annotated[Word | None, COMPARED] = None
    condition: Annotated[Prose | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""


class ModelWorkflowCoordination(Part):
    """One graph of steps. ``edges`` add to what the steps say they wait for."""

    workflow_name: Annotated[Word | None, COMPARED] = None
    workflow_version: Annotated[ModelContractVersion | None, COMPARED] = None
    workflow_type: Annotated[Word | None, COMPARED] = None
    subcontract_name: Annotated[Word | None, COMPARED] = None
    subcontract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    execution_mode: Annotated[Word | None, COMPARED] = None
    steps: Annotated[tuple[ModelWorkflowStep, ...], Field(max_length=ROWS_MAX), GRAPH] = ()
    edges: Annotated[tuple[ModelWorkflowEdge, ...], Field(max_length=ROWS_MAX), GRAPH] = ()
    coordination_rules: JsonValue = None
    lifecycle: JsonValue = None
    step_templates: JsonValue = None
    applicable_node_types: tuple[Word, ...] = ()
    timeout_ms: float | None = None
    max_parallel_branches: int | None = None
    max_concurrent_workflows: int | None = None
    max_retries: int | None = None
    retry_policy: ModelRetryPolicy | None = None
    retry_delay_ms: float | None = None
    auto_retry_enabled: bool | None = None
    exponential_backoff: bool | None = None
    node_coordination_timeout_ms: float | None = None
    parallel_execution_enabled: bool | None = None
    checkpoint_enabled: bool | None = None
    checkpoint_interval_ms: float | None = None
    recovery_enabled: bool | None = None
    rollback_enabled: bool | None = None
    metadata: JsonValue = None
    author: Annotated[Word | None, COMPARED] = None
    tags: Annotated[tuple[Word, ...], COMPARED] = ()
    documentation_url: Annotated[Word | None, COMPARED] = None
    workflow_persistence_enabled: bool | None = None
