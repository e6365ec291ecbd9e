"""An orchestration as a node: what it depends on is asked first, what came of it is a result, and two of them do not both begin."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

import onex
from onex.container import ONEXContainer
from onex.contracts.model.bus import ModelDependency
from onex.contracts.model.orchestration import EnumWorkflowCoordination
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import ConcurrentModificationError, DependencyResolutionError, OnexError, WorkflowExecutionError
from onex.orchestration.node import ModelOrchestratorInput, NodeOrchestrator, satisfies
from onex.orchestration.results import (
    ParallelWorkflowResult,
    SequentialWorkflowResult,
    WorkflowStepCompletedEvent,
    result_of,
)

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "order_saga"
T = TypeVar("T")


class Database:
    version = "15.2"
    up = True

    async def ping(self) -> None:
        if not self.up:
            raise OSError("connection refused")


def order(**changed: JsonValue) -> ModelOrchestratorInput:
    given: dict[str, JsonValue] = {"id": "tea", "sku": "tea", "cents": 500, **changed}
    return ModelOrchestratorInput(
        correlation_id=uuid4(), operation_id=UUID(int=7), workflow_type="order_saga", input_data=given
    )


def with_engine(world: Path, use: Callable[[onex.ReducerPatternEngine], Awaitable[T]]) -> T:
    async def go() -> T:
        async with await onex.open("memory:", FOLDER) as engine:
            return await use(engine)

    return asyncio.run(go())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEX_SAGA_DIR", str(tmp_path))
    return tmp_path


def test_a_plan_that_completes_is_a_result_for_each_task(world: Path) -> None:
    done = with_engine(world, lambda engine: NodeOrchestrator(engine).execute_orchestration(order()))
    assert isinstance(done.orchestration_result, SequentialWorkflowResult)
    steps = {step.step_id: step for step in done.orchestration_result.step_results}
    assert [(name, step.status) for name, step in steps.items()] == [
        ("reserve", "completed"),
        ("pay", "completed"),
        ("review", "skipped"),
        ("ship", "completed"),
    ]
    assert steps["ship"].result == {"number": "parcels-tea"}
    assert done.execution_metadata["success_rate"] == 0.75
    assert done.workflow_id == f"order_saga:{UUID(int=7)}"


def test_the_same_input_again_waits_for_the_same_instance(world: Path) -> None:
    async def twice(engine: onex.ReducerPatternEngine) -> list[object]:
        node = NodeOrchestrator(engine)
        return [(await node.execute_orchestration(order())).orchestration_result for _ in range(2)]

    first, second = with_engine(world, twice)
    assert first == second


def test_a_plan_that_fails_is_a_named_error(world: Path) -> None:
    with pytest.raises(WorkflowExecutionError, match="ship: too_far"):
        with_engine(world, lambda engine: NodeOrchestrator(engine).execute_orchestration(order(id="far")))


@pytest.mark.parametrize(
    ("dependency", "up", "words"),
    [
        ({"name": "Database"}, False, "not healthy: Database: connection refused"),
        ({"name": "Database", "version": ">=16"}, True, "is version 15.2; needed is >=16"),
        ({"name": "Cache"}, True, "no Cache"),
    ],
)
def test_what_it_needs_is_asked_before_anything_begins(
    world: Path, dependency: dict[str, object], up: bool, words: str
) -> None:
    async def run(engine: onex.ReducerPatternEngine) -> bool:
        database = Database()
        database.up = up
        container = ONEXContainer()
        container.register_value(Database, database)
        node = NodeOrchestrator(engine, container, [ModelDependency.model_validate(dependency)])
        with pytest.raises(DependencyResolutionError, match=words):
            await node.execute_orchestration(order())
        return await engine.stored(f"order_saga:{UUID(int=7)}") is None

    assert with_engine(world, run), "nothing was begun"


def test_what_is_optional_or_fits_does_not_hinder(world: Path) -> None:
    async def run(engine: onex.ReducerPatternEngine) -> str:
        container = ONEXContainer()
        container.register_value(Database, Database())
        needed = [ModelDependency(name="Database", version=">=15, <16"), ModelDependency(name="Cache", required=False)]
        done = await NodeOrchestrator(engine, container, needed).execute_orchestration(order())
        return done.orchestration_result.workflow_status

    assert with_engine(world, run) == "completed"


@pytest.mark.parametrize(
    ("version", "constraint", "fits"),
    [
        ("1.4.2", ">=1.2, <2", True),
        ("2.0", "<2", False),
        ("1.0", "==1", True),
        ("1.0.1", "!=1", True),
        ("", ">0", False),
    ],
)
def test_constraints_of_versions(version: str, constraint: str, fits: bool) -> None:
    assert satisfies(version, constraint) is fits


def test_a_constraint_that_is_none_is_named() -> None:
    with pytest.raises(DependencyResolutionError, match="write for example"):
        satisfies("1.0", "about 2")


def test_a_plan_without_tasks_has_succeeded_wholly_and_parallel_ones_are_counted() -> None:
    empty = result_of({"status": "completed", "plan": {}}, EnumWorkflowCoordination.SEQUENTIAL)
    assert (empty.success_rate, empty.total_execution_time) == (1.0, 0.0)
    at = [datetime(2026, 1, 1, 12, minute, tzinfo=UTC).isoformat() for minute in range(4)]
    rows: dict[str, JsonValue] = {
        "a": {"state": "done", "began": at[0], "ended": at[2]},
        "b": {"state": "done", "began": at[1], "ended": at[3]},
        "c": {"state": "failed", "began": at[2], "ended": at[3], "error": "no"},
    }
    result = result_of({"status": "failed", "plan": {"tasks": rows}}, EnumWorkflowCoordination.PARALLEL)
    assert isinstance(result, ParallelWorkflowResult)
    assert (result.parallelism_achieved, result.total_execution_time) == (2, 180.0)
    assert result.success_rate == pytest.approx(2 / 3)


def test_a_published_step_is_read_as_an_event() -> None:
    correlation = uuid4()
    envelope = OnexEnvelopeV1(
        envelope_id=uuid4(),
        envelope_timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        event_type="workflow_step_completed",
        correlation_id=correlation,
        source_service="onex",
        partition_key="order_saga:1",
        payload={"workflow_key": "order_saga:1", "intent": "pay", "version": 3},
    )
    event = WorkflowStepCompletedEvent.of(envelope)
    assert (event.workflow_id, event.step_id, event.correlation_id) == ("order_saga:1", "pay", correlation)


RACER = """
import asyncio, sys
from uuid import uuid4
import onex
from onex.kernel.errors import OnexError
from onex.orchestration.node import ModelOrchestratorInput, NodeOrchestrator

async def main(store, app):
    async with await onex.connect(store, app) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        task = ModelOrchestratorInput(correlation_id=uuid4(), operation_id=uuid4(), instance_id="tea",
            workflow_type="order_saga", input_data={"id": "tea", "sku": "tea", "cents": 60000}, timeout_s=0.5)
        try:
            await NodeOrchestrator(client).execute_orchestration(task)
        except TimeoutError:
            print("began")  # it waits for a person
        except OnexError as error:
            print(type(error).__name__)
            return
        try:
            async with client.lease("order_saga:tea", "racer") as lease:
                await lease.submit("pause")
                print("led")
        except OnexError as error:
            print(type(error).__name__)

asyncio.run(main(*sys.argv[1:]))
"""


def test_of_two_orchestrators_in_two_processes_one_begins_and_the_other_has_the_named_error(world: Path) -> None:
    store = f"sqlite:///{world / 'store.db'}"

    async def race() -> list[list[str]]:
        async with await onex.open(store, FOLDER):
            racers = [
                await asyncio.create_subprocess_exec(
                    sys.executable, "-c", RACER, store, str(FOLDER), stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                for _ in range(2)
            ]
            for racer in racers:
                assert racer.stdout is not None
                assert (await racer.stdout.readline()) == b"ready\n"
            told = await asyncio.gather(*(racer.communicate(b"go\n") for racer in racers))
            return [out.decode().split() for out, _ in told]

    assert sorted(asyncio.run(race())) == [[ConcurrentModificationError.__name__], ["began", "led"]]


def test_a_lease_of_the_plan_keeps_others_out(world: Path) -> None:
    async def lead(engine: onex.ReducerPatternEngine) -> str:
        await engine.submit("order_saga:tea", "start", {"id": "tea", "sku": "tea", "cents": 60_000})
        await engine.idle()
        async with engine.lease("order_saga:tea", "first"):
            try:
                await engine.submit("order_saga:tea", "review.approve", {"by": "ada"})
            except OnexError as refused:
                return type(refused).__name__
        return "nothing kept it out"

    assert with_engine(world, lead) == "LeaseConflictError"
