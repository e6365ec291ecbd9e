"""What a compute node does: an algorithm of weighted factors, or a pipeline of steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from .part import COMPARED, GRAPH, PROSE, ROWS_MAX, ModelContractVersion, Part, Prose, Use, Word

WEIGHED = Use.of("check", "diff")
"""The weights of an algorithm must come to 1."""


class ModelFactor(Part):
    weight: Annotated[float | None, WEIGHED] = None
    calculation_method: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    parameters: Annotated[JsonValue, COMPARED] = None
    normalization_enabled: Annotated[bool | None, COMPARED] = None
    caching_enabled: bool | None = None


class ModelAlgorithm(Part):
    algorithm_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    factors: Annotated[dict[str, ModelFactor], WEIGHED] = Field(default_factory=dict)
    parameters: Annotated[JsonValue, COMPARED] = None
    normalization_method: Annotated[Word | None, COMPARED] = None
    precision_digits: Annotated[int | None, COMPARED] = None


class ModelPipelineStep(Part):
    step_name: Annotated[Word, GRAPH]
    step_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    enabled: Annotated[bool | None, COMPARED] = None
    transformation_type: Annotated[Word | None, COMPARED] = None
    transformation_config: Annotated[JsonValue, COMPARED] = None
    mapping_config: Annotated[JsonValue, COMPARED] = None
    validation_config: Annotated[JsonValue, COMPARED] = None


class ModelComputeSubcontract(Part):
    operation_name: Annotated[Word | None, COMPARED] = None
    operation_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    input_schema_ref: Annotated[Word | None, COMPARED] = None
    output_schema_ref: Annotated[Word | None, COMPARED] = None
    pipeline: Annotated[tuple[ModelPipelineStep, ...], Field(max_length=ROWS_MAX), GRAPH] = ()
    pipeline_timeout_ms: int | None = None
