"""NodeCompute: a compute function as a node. An input names an algorithm and brings data, an output carries what came of it.

    output = await NodeCompute(container).execute_compute(ModelComputeInput(correlation_id=uuid4(),
        algorithm_config=ModelAlgorithmConfig(algorithm_type="sum"), input_data=[1, 2, 3]))

Theory of operation of one call:

1. The data is compared with ``input_validation``: every field that is missing or of another type is named in one error. Then
   it becomes the task of the function, by that function's own class, which checks the rest.
2. The function runs in worker processes; it must stand at the top of a module, since workers import it by name. With
   ``parallel_config`` its task is cut, which a function marked ``@chunked`` allows.
3. The result is given as it is, or in the form that ``output_transformation`` names.

The container has two services for it: ``ProtocolAlgorithmRegistry``, and ``Workers``, made by ``onex.compute_workers()``. A
``ProtocolPerformanceMonitor`` is told of each call, if there is one. What an input leaves out is as the contract says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from math import ceil
from typing import Annotated, Final, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter
from pydantic import ValidationError as PydanticError
from pydantic_core import from_json

from ..container import ONEXContainer
from ..contracts.model.contract import ModelContractCompute
from ..kernel.action import Payload
from ..kernel.canonical import problems
from ..kernel.errors import OnexError, ValidationError
from .chunks import Chunking, chunking_of
from .compute import ComputeIO, Workers, address_of
from .compute_call import ComputeCall, Progress, ResultCache
from .io import Function, FunctionShape, compute_shape
from .services import ProtocolAlgorithmRegistry, ProtocolPerformanceMonitor
from .tables import arrow_table, polars_frame

M = TypeVar("M", bound=BaseModel)

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "string": (str,),
    "int": (int,),
    "integer": (int,),
    "float": (float, int),
    "number": (float, int),
    "bool": (bool,),
    "boolean": (bool,),
    "list": (list,),
    "array": (list,),
    "dict": (dict,),
    "object": (dict,),
}


class EnumOutputFormat(StrEnum):
    """``dataframe`` is an Arrow table (``onex[arrow]``), ``polars`` a frame of Polars (``onex[polars]``), ``json`` is text."""

    JSON = "json"
    ARRAY = "array"
    DATAFRAME = "dataframe"
    POLARS = "polars"


class ModelAlgorithmConfig(Payload):
    """``parameters`` are fields of the function's task that are not data."""

    algorithm_type: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class ModelParallelConfig(Payload):
    """``worker_count`` parts at once. Without ``chunk_size`` the data is cut into as many parts."""

    worker_count: Annotated[int, Field(ge=1, le=1024)]
    chunk_size: Annotated[int | None, Field(ge=1)] = None


class ModelInputValidation(Payload):
    """``data_types[field]`` is one of str int float bool list dict, or the word that JSON Schema has for it."""

    required_fields: tuple[str, ...] = ()
    data_types: dict[str, str] = Field(default_factory=dict)


class ModelOutputTransformation(Payload):
    format: EnumOutputFormat | None = None


class ModelComputeInput(Payload):
    """``input_data``: a mapping of the task's fields, or the list that the task is about."""

    correlation_id: UUID
    input_data: JsonValue
    algorithm_config: ModelAlgorithmConfig | None = None
    parallel_config: ModelParallelConfig | None = None
    input_validation: ModelInputValidation | None = None
    output_transformation: ModelOutputTransformation | None = None


class ModelComputeMetrics(Payload):
    """``execution_time`` in seconds; ``data_size``: items of the result, 1 for one that is no list or mapping."""

    execution_time: float
    data_size: int
    algorithm_type: str
    parts: int = 1


class ModelComputeOutput(BaseModel):
    """``processed_data`` is JSON, or an Arrow table or a Polars frame where that was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    correlation_id: UUID
    processed_data: object
    performance_metrics: ModelComputeMetrics


class _Wanted(NamedTuple):
    """What one call is to do: the input, and what the contract says where the input says nothing."""

    algorithm: ModelAlgorithmConfig
    parallel: ModelParallelConfig | None
    validation: ModelInputValidation
    format: EnumOutputFormat | None


class NodeCompute:
    """Raises DependencyResolutionError when the container lacks a service, and ValidationError for a contract it cannot follow."""

    def __init__(self, container: ONEXContainer, contract: ModelContractCompute | None = None) -> None:
        self._registry: ProtocolAlgorithmRegistry = container.get_service(ProtocolAlgorithmRegistry)
        self._workers: Workers = container.get_service(Workers)
        self._monitor: ProtocolPerformanceMonitor | None = None
        if ProtocolPerformanceMonitor.__name__ in container.names:
            self._monitor = container.get_service(ProtocolPerformanceMonitor)
        self._contract = _said(contract)
        self._cache = ResultCache()

    async def execute_compute(
        self, compute_input: ModelComputeInput, progress: Progress | None = None
    ) -> ModelComputeOutput:
        """``progress(done, parts)`` is called after each part. A call that is cancelled ends the workers that have its parts.

        Raises AlgorithmNotFoundError, ValidationError, and what the function raised as EffectFailed; each error has the
        correlation id of the input.
        """
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            wanted = self._wanted(compute_input)
            _validate(compute_input.input_data, wanted.validation)
            function = self._registry.get_algorithm(wanted.algorithm.algorithm_type)
            shape = compute_shape(function, ComputeIO)
            chunking = _chunking(function, shape, wanted.parallel, compute_input.input_data)
            task = _task(shape, chunking, wanted.algorithm.parameters, compute_input.input_data)
            parts = 1

            def told(done: int, of: int) -> None:
                nonlocal parts
                parts = of
                if progress is not None:
                    progress(done, of)

            call = ComputeCall(
                self._workers,
                address_of(function),
                function,
                cache=self._cache,
                chunking=chunking,
                at_once=None if wanted.parallel is None else wanted.parallel.worker_count,
            )
            computed = await call.run(task, {}, told)
            value: JsonValue = from_json(computed.encoded)
            made = await asyncio.to_thread(_transformed, value, wanted.format)
        except OnexError as error:
            error.correlation_id = str(compute_input.correlation_id)
            if self._monitor is not None:
                self._monitor.record_error(compute_input.correlation_id, error, clock() - began_s)
            raise
        metrics = ModelComputeMetrics(
            execution_time=clock() - began_s,
            data_size=len(value) if isinstance(value, list | dict) else 1,
            algorithm_type=wanted.algorithm.algorithm_type,
            parts=parts,
        )
        if self._monitor is not None:
            self._monitor.record_execution(compute_input.correlation_id, metrics.algorithm_type, metrics.execution_time)
        return ModelComputeOutput(
            correlation_id=compute_input.correlation_id, processed_data=made, performance_metrics=metrics
        )

    def _wanted(self, given: ModelComputeInput) -> _Wanted:
        algorithm = given.algorithm_config or self._contract.algorithm_config
        if algorithm is None:
            raise ValidationError("no algorithm: give algorithm_config, or a contract with algorithm.algorithm_type")
        output = given.output_transformation or self._contract.output_transformation
        return _Wanted(
            algorithm,
            given.parallel_config or self._contract.parallel_config,
            given.input_validation or self._contract.input_validation or ModelInputValidation(),
            None if output is None else output.format,
        )


NodeComputeService = NodeCompute


def _said(contract: ModelContractCompute | None) -> ModelComputeInput:
    """What a contract says of every call. Raises ValidationError, naming the key."""
    if contract is None:
        return ModelComputeInput(correlation_id=_NOBODY, input_data=None)
    name = None if contract.algorithm is None else contract.algorithm.algorithm_type
    parameters = {} if contract.algorithm is None else contract.algorithm.parameters or {}
    return ModelComputeInput(
        correlation_id=_NOBODY,
        input_data=None,
        algorithm_config=None
        if name is None
        else _read("algorithm", ModelAlgorithmConfig, {"algorithm_type": name, "parameters": parameters}),
        parallel_config=_read_if("parallel_processing", ModelParallelConfig, contract.parallel_processing),
        input_validation=_read_if("input_validation", ModelInputValidation, contract.input_validation),
        output_transformation=_read_if(
            "output_transformation", ModelOutputTransformation, contract.output_transformation
        ),
    )


def _read_if(key: str, model: type[M], value: JsonValue) -> M | None:
    return None if value is None else _read(key, model, value)


def _read(key: str, model: type[M], value: object) -> M:
    try:
        return model.model_validate(value)
    except PydanticError as error:
        raise ValidationError(f"the contract's {key}: {problems(error)}") from error


def _validate(data: JsonValue, rules: ModelInputValidation) -> None:
    """Raises ValidationError that names every field that is missing or of another type."""
    if not rules.required_fields and not rules.data_types:
        return
    if not isinstance(data, dict):
        raise ValidationError(
            f"input_data is a {type(data).__name__}; input_validation is about the fields of a mapping"
        )
    wrong = [f"{field} is missing" for field in rules.required_fields if field not in data]
    for field, name in rules.data_types.items():
        types = _TYPES.get(name)
        if types is None:
            raise ValidationError(f"input_validation.data_types: {name!r} is no type; there is {', '.join(_TYPES)}")
        if field in data:
            value = data[field]
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                wrong.append(f"{field} is a {type(value).__name__}, not a {name}")
    if wrong:
        raise ValidationError(f"input_data: {'; '.join(wrong)}")


def _chunking(
    function: Function, shape: FunctionShape, parallel: ModelParallelConfig | None, data: JsonValue
) -> Chunking | None:
    """As marked, with the size that ``parallel`` asks for."""
    marked = chunking_of(function)
    if parallel is None:
        return marked
    if marked is None:
        raise ValidationError(
            f"{shape.name} is not marked @chunked, so nobody knows how its task is cut; mark it, or leave parallel_config out"
        )
    whole = data.get(marked.over) if isinstance(data, dict) else data
    items = len(whole) if isinstance(whole, list) else 0
    return marked._replace(size=parallel.chunk_size or max(1, ceil(items / parallel.worker_count)))


def _task(
    shape: FunctionShape, chunking: Chunking | None, parameters: Mapping[str, JsonValue], data: JsonValue
) -> BaseModel:
    whole: object = data
    if isinstance(data, dict):
        whole = {**parameters, **data}
    elif parameters or "root" not in shape.payload.model_fields:
        if chunking is None or "root" in shape.payload.model_fields:
            raise ValidationError(
                f"input_data is a {type(data).__name__}; {shape.name} takes {shape.payload.__name__}: give its fields"
            )
        whole = {**parameters, chunking.over: data}
    try:
        return shape.payload.model_validate_json(_JSON.dump_json(whole))
    except PydanticError as error:
        raise ValidationError(f"input_data does not fit {shape.payload.__name__}: {problems(error)}") from error


_NOBODY: Final = UUID(int=0)
_JSON: Final[TypeAdapter[object]] = TypeAdapter(object)


def _transformed(value: JsonValue, form: EnumOutputFormat | None) -> object:
    """Raises ValidationError for data that has no such form."""
    if form is EnumOutputFormat.JSON:
        return _JSON.dump_json(value).decode()
    if form is EnumOutputFormat.ARRAY:
        return list(value) if isinstance(value, list | dict) else [value]
    if form is EnumOutputFormat.DATAFRAME:
        return arrow_table(value)
    if form is EnumOutputFormat.POLARS:
        return polars_frame(value)
    return value
