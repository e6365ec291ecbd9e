"""The contract of an engine that is a node: which app it runs, who serves its targets, and how it answers.

Any reducer's contract whose ``node_class`` is ``NodeReducerPatternEngine`` is read as one. The states and the triggers are not in
it: they are in the contracts of the app. What a reducer's contract may say beside is kept and reported, as in any other.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from .bus import ModelReference
from .contract import ModelContractReducer
from .part import COMPARED, ENGINE, PROSE, Part, Prose, Target, Word
from .resilience import ModelCircuitBreaker, ModelPerformance

NODE_CLASS: Final = "NodeReducerPatternEngine"


class ModelEngineSubcontract(Part):
    """What the engine is opened with. ``app`` is a path from the contract's own folder; the store and the bus are URLs, and
    those of the settings where absent. ``effects[target]`` is the service of the container that serves this target.
    """

    app: Annotated[Word | None, ENGINE] = None
    store_url: Annotated[Word | None, ENGINE] = None
    bus_url: Annotated[str | None, Field(description="'' is no bus"), ENGINE] = None
    workers: Annotated[int | None, Field(ge=0, le=1024, description="processes for compute functions"), ENGINE] = None
    effects: Annotated[dict[Target, Word], ENGINE] = {}  # noqa: RUF012  # pydantic copies it for each contract
    description: Annotated[Prose, PROSE] = ""


class ModelNodeCircuitBreaker(ModelCircuitBreaker):
    """Opens after so many calls in a row without an answer, for ``timeout_ms``, then tries ``half_open_requests``."""

    failure_threshold: Annotated[int | None, Field(ge=1), ENGINE] = None
    timeout_ms: Annotated[float | None, Field(gt=0), ENGINE] = None
    half_open_requests: Annotated[int | None, Field(ge=1), ENGINE] = None


class ModelNodePerformance(ModelPerformance):
    """How long one call may take, before it is answered as perhaps applied."""

    max_execution_time_ms: Annotated[float | None, Field(gt=0), ENGINE] = None


class ModelContractReducerPattern(ModelContractReducer):
    """``partial_results_enabled``: a refused record stands in the output, in its place; else it is raised, and ends the call."""

    node_class: Annotated[ModelReference, COMPARED]
    engine: Annotated[ModelEngineSubcontract | None, ENGINE] = None
    circuit_breaker: Annotated[ModelNodeCircuitBreaker | None, ENGINE] = None
    performance: Annotated[ModelNodePerformance | None, ENGINE] = None
    partial_results_enabled: Annotated[bool | None, ENGINE] = None
