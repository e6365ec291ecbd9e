"""NodeCompute (SPEC N3): an algorithm by name, data that is checked, worker processes, and the form that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import polars
import pyarrow
import pytest
from pydantic import JsonValue

from onex import compute_workers
from onex.container import ONEXContainer
from onex.contracts.model.contract import ModelContractCompute
from onex.contracts.model.operation import ModelAlgorithm
from onex.kernel.errors import (
    AlgorithmNotFoundError,
    DependencyResolutionError,
    EffectFailed,
    OnexError,
    ValidationError,
)
from onex.nodes.compute import AlgorithmRegistry
from onex.nodes.compute_node import (
    EnumOutputFormat,
    ModelAlgorithmConfig,
    ModelComputeInput,
    ModelComputeOutput,
    ModelInputValidation,
    ModelOutputTransformation,
    ModelParallelConfig,
    NodeCompute,
)
from onex.nodes.io import Function
from tests.nodes.algorithms import plain, score, slow, total

ID = UUID(int=7)


class Monitor:
    def __init__(self) -> None:
        self.told: list[tuple[UUID, str]] = []

    def record_execution(self, correlation_id: UUID, algorithm_type: str, execution_time: float) -> None:
        self.told.append((correlation_id, algorithm_type))

    def record_error(self, correlation_id: UUID, error: Exception, execution_time: float) -> None:
        self.told.append((correlation_id, type(error).__name__))


@asynccontextmanager
async def node(
    monitor: Monitor | None = None, contract: ModelContractCompute | None = None
) -> AsyncIterator[NodeCompute]:
    container = ONEXContainer()
    algorithms: dict[str, Function] = {
        "sum": total,
        "score": score,
        "plain": plain,
        "slow": slow,
        "local": lambda task: task,
    }
    container.register_value("ProtocolAlgorithmRegistry", AlgorithmRegistry(algorithms))
    container.register("Workers", lambda: compute_workers(2))
    if monitor is not None:
        container.register_value("ProtocolPerformanceMonitor", monitor)
    async with container:
        yield NodeCompute(container, contract)


def run(
    given: ModelComputeInput, monitor: Monitor | None = None, contract: ModelContractCompute | None = None
) -> ModelComputeOutput:
    async def call() -> ModelComputeOutput:
        async with node(monitor, contract) as one:
            return await one.execute_compute(given)

    return asyncio.run(call())


def asked(algorithm: str, data: JsonValue, **more: object) -> ModelComputeInput:
    return ModelComputeInput.model_validate(
        {"algorithm_config": {"algorithm_type": algorithm}, "input_data": data, "correlation_id": ID, **more}
    )


def test_the_test_of_the_design_paper_the_sum_of_five_numbers() -> None:
    monitor = Monitor()
    output = run(asked("sum", [1, 2, 3, 4, 5]), monitor)
    assert output.processed_data == 15
    assert output.correlation_id == ID
    metrics = output.performance_metrics
    assert (metrics.data_size, metrics.algorithm_type, metrics.parts) == (1, "sum", 1)
    assert metrics.execution_time > 0
    assert monitor.told == [(ID, "sum")]


def test_parts_go_to_several_workers_and_fewer_items_than_workers_are_a_normal_case() -> None:
    parallel = {"worker_count": 4}
    output = run(asked("sum", list(range(10_001)), parallel_config=parallel))
    assert (output.processed_data, output.performance_metrics.parts) == (50_005_000, 4)
    few = run(asked("sum", [1, 2], parallel_config=parallel))
    assert (few.processed_data, few.performance_metrics.parts) == (3, 2)
    none = run(asked("sum", [], parallel_config={"worker_count": 4, "chunk_size": 10}))
    assert (none.processed_data, none.performance_metrics.parts) == (0, 1)


def test_a_mapping_gives_the_fields_of_the_task_and_parameters_the_rest() -> None:
    given = asked("score", {"rows": [1, 2]}).model_copy(
        update={"algorithm_config": ModelAlgorithmConfig(algorithm_type="score", parameters={"factor": 10})}
    )
    assert run(given).processed_data == {"scores": [10, 20]}
    assert run(given.model_copy(update={"input_data": [3]})).processed_data == {"scores": [30]}


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        (EnumOutputFormat.JSON, '{"scores":[1,2]}'),
        (EnumOutputFormat.ARRAY, ["scores"]),
        (EnumOutputFormat.DATAFRAME, pyarrow.table({"scores": [1, 2]})),
        (None, {"scores": [1, 2]}),
    ],
)
def test_the_output_has_the_form_that_was_asked_for(form: EnumOutputFormat | None, wanted: object) -> None:
    output = run(asked("score", {"rows": [1, 2]}, output_transformation={"format": form}))
    assert output.processed_data == wanted


def test_a_polars_frame_and_what_is_no_table() -> None:
    frame = run(asked("score", {"rows": [1, 2]}, output_transformation={"format": "polars"})).processed_data
    assert isinstance(frame, polars.DataFrame)
    assert frame.to_dict(as_series=False) == {"scores": [1, 2]}
    with pytest.raises(ValidationError, match="a table is a list of rows"):
        run(asked("sum", [1], output_transformation={"format": "dataframe"}))


def test_every_field_that_is_missing_or_of_another_type_is_named_at_once() -> None:
    rules = {"required_fields": ["rows", "unit"], "data_types": {"rows": "list", "factor": "int"}}
    with pytest.raises(ValidationError) as refused:
        run(asked("score", {"factor": "two", "rows": {}}, input_validation=rules))
    assert (
        refused.value.message == "input_data: unit is missing; rows is a dict, not a list; factor is a str, not a int"
    )
    assert refused.value.correlation_id == str(ID)
    with pytest.raises(ValidationError, match="'money' is no type"):
        run(asked("score", {"rows": []}, input_validation={"data_types": {"rows": "money"}}))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (asked("summ", [1]), AlgorithmNotFoundError, "no compute function is named 'summ'; there is sum"),
        (asked("score", {"rows": ["x"]}), ValidationError, "input_data does not fit Rows: rows.0"),
        (asked("plain", [1]), ValidationError, "plain takes Rows: give its fields"),
        (
            asked("plain", {"rows": [1]}, parallel_config={"worker_count": 2}),
            ValidationError,
            "plain is not marked @chunked",
        ),
        (asked("local", {}), OnexError, "local|<lambda>"),
        (asked("slow", {"rows": [0]}), EffectFailed, "row 0 cannot be scored"),
        (ModelComputeInput(input_data=[1], correlation_id=ID), ValidationError, "no algorithm"),
    ],
)
def test_bad_input_has_a_named_error_that_carries_the_correlation_id(
    given: ModelComputeInput, error: type[OnexError], message: str
) -> None:
    monitor = Monitor()
    with pytest.raises(error, match=message) as refused:
        run(given, monitor)
    assert refused.value.correlation_id == str(ID)
    assert [one for one, _ in monitor.told] == [ID]


def test_what_an_input_leaves_out_is_as_the_contract_says() -> None:
    contract = ModelContractCompute(
        name="scores",
        node_type="COMPUTE_GENERIC",
        algorithm=ModelAlgorithm(algorithm_type="score", parameters={"factor": 5}),
        parallel_processing={"worker_count": 2},
        input_validation={"required_fields": ["rows"]},
        output_transformation={"format": "json"},
    )
    output = run(ModelComputeInput(correlation_id=ID, input_data={"rows": [1, 2]}), contract=contract)
    assert (output.processed_data, output.performance_metrics.parts) == ('{"scores":[5,10]}', 2)
    own = ModelComputeInput(
        correlation_id=ID,
        input_data={"rows": [1]},
        algorithm_config=ModelAlgorithmConfig(algorithm_type="score"),
        parallel_config=ModelParallelConfig(worker_count=1),
        input_validation=ModelInputValidation(),
        output_transformation=ModelOutputTransformation(),
    )
    assert run(own, contract=contract).processed_data == {"scores": [1]}
    wrong = contract.model_copy(update={"parallel_processing": {"worker_count": 0}})
    with pytest.raises(ValidationError, match="the contract's parallel_processing: worker_count"):
        run(own, contract=wrong)


def test_a_container_without_workers_says_so() -> None:
    container = ONEXContainer()
    container.register_value("ProtocolAlgorithmRegistry", AlgorithmRegistry({}))
    with pytest.raises(DependencyResolutionError, match="Workers"):
        NodeCompute(container)
