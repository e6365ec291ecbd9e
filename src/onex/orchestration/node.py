"""NodeOrchestrator: an orchestration of an engine as a node. What it depends on is checked first, then the plan runs to its end.

The node keeps nothing: the plan is an instance of the engine, so a node that ends before its plan loses nothing. Whoever sends the
same input again, with the same ``operation_id``, waits for the same instance.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ..container import ONEXContainer
from ..contracts.model.bus import ModelDependency
from ..contracts.model.orchestration import EnumWorkflowCoordination
from ..contracts.orchestration.expansion import COMPLETED, START
from ..engine.awaited_status import TERMINAL
from ..engine.held_lease import Orchestrated
from ..kernel.action import WorkflowKey
from ..kernel.errors import DependencyResolutionError, WorkflowExecutionError
from ..ports import Stored
from .results import ParallelWorkflowResult, SequentialWorkflowResult, result_of

_COMPARED: Final[Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_CONSTRAINT: Final = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+){0,3})\s*")


class EnumDependencyType(StrEnum):
    """Whether an orchestration may begin without it."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class OrchestrationEngine(Orchestrated, Protocol):
    """An engine of this process, or a client of one that runs elsewhere."""

    async def wait(self, key: WorkflowKey | str, until: str = TERMINAL, timeout_s: float = 30.0) -> Stored: ...


class ModelOrchestratorInput(BaseModel):
    """One run. The instance is ``instance_id``, else the text of ``operation_id``; one of them must be given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    correlation_id: UUID
    workflow_type: str
    operation_id: UUID
    instance_id: str = ""
    input_data: dict[str, JsonValue] = Field(default_factory=dict)
    coordination_type: EnumWorkflowCoordination = EnumWorkflowCoordination.SEQUENTIAL
    timeout_s: float = Field(default=300.0, gt=0)


class ModelOrchestratorOutput(BaseModel):
    """``execution_metadata``: total_services, execution_time, success_rate, coordination_type."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    correlation_id: UUID
    workflow_id: str
    orchestration_result: SequentialWorkflowResult | ParallelWorkflowResult
    execution_metadata: dict[str, JsonValue]


class NodeOrchestrator:
    """``container`` has the services that ``dependencies`` name: each is asked for its health and its ``version``."""

    def __init__(
        self,
        engine: OrchestrationEngine,
        container: ONEXContainer | None = None,
        dependencies: Sequence[ModelDependency] = (),
    ) -> None:
        self.engine, self.container, self.dependencies = engine, container, dependencies

    async def execute_orchestration(self, task: ModelOrchestratorInput) -> ModelOrchestratorOutput:
        """Raises DependencyResolutionError before anything was begun; ConcurrentModificationError where another began the same
        instance; WorkflowExecutionError for a plan that failed or was cancelled; TimeoutError; what ``submit`` raises.
        """
        await self.check_dependencies()
        key = WorkflowKey.of(task.workflow_type, task.instance_id or str(task.operation_id))
        await self.engine.submit(
            key,
            START,
            task.input_data,
            action_id=uuid5(task.operation_id, START),
            correlation_id=task.correlation_id,
            issuer="orchestrator",
            expected_version=0,
        )
        stored = await self.engine.wait(key, timeout_s=task.timeout_s)
        result = result_of(orjson.loads(stored.state), task.coordination_type)
        if stored.status != COMPLETED:
            raise WorkflowExecutionError(
                f"{key} {stored.status}: {result.why}; onex show {key} has each task",
                workflow_key=str(key),
                status=stored.status,
            )
        return ModelOrchestratorOutput(
            correlation_id=task.correlation_id,
            workflow_id=str(key),
            orchestration_result=result,
            execution_metadata={
                "total_services": len(self.dependencies),
                "execution_time": result.total_execution_time,
                "success_rate": result.success_rate,
                "coordination_type": str(task.coordination_type),
            },
        )

    async def check_dependencies(self) -> None:
        """Raises DependencyResolutionError, which names all that is missing, not healthy or of another version."""
        wrong = [reason for one in self.dependencies if (reason := await self._wrong(one))]
        if wrong:
            raise DependencyResolutionError(
                f"{'; '.join(wrong)}. Start what is missing, then send the same input again"
            )

    async def _wrong(self, dependency: ModelDependency) -> str:
        """'' for a dependency that is as it should be, or that is not required."""
        if dependency_type(dependency) is EnumDependencyType.OPTIONAL:
            return ""
        if self.container is None:
            return f"{dependency.name} is required, and there is no container to find it in"
        health = await self.container.check_service_health(dependency.name)
        if not health.is_healthy:
            return f"{dependency.name} is not healthy: {health.reason}"
        wanted = dependency.version
        if not isinstance(wanted, str) or not wanted:
            return ""
        version = str(getattr(self.container.get_service(dependency.name), "version", ""))
        return (
            "" if satisfies(version, wanted) else f"{dependency.name} is version {version or '?'}; needed is {wanted}"
        )


def dependency_type(dependency: ModelDependency) -> EnumDependencyType:
    return EnumDependencyType.OPTIONAL if dependency.required is False else EnumDependencyType.REQUIRED


def satisfies(version: str, constraint: str) -> bool:
    """Whether ``1.4.2`` satisfies ``>=1.2, <2``. Missing parts count as 0. Raises DependencyResolutionError for no constraint."""
    for part in constraint.split(","):
        found = _CONSTRAINT.fullmatch(part)
        if found is None:
            raise DependencyResolutionError(f"{constraint!r} is no constraint of versions; write for example >=1.2, <2")
        if not re.fullmatch(r"\d+(\.\d+){0,3}", version) or not _COMPARED[found[1]](_parts(version), _parts(found[2])):
            return False
    return True


def _parts(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return (*numbers, *[0] * (4 - len(numbers)))
