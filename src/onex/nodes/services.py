"""What a node may ask its container for, by name: ``container.get_service("ProtocolLogger")``.

Each holds only the methods that are used. Its docstring names the class of ONEX that has them; yours may take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from ..container import ServiceHealth
from ..kernel.action import WorkflowKey
from ..kernel.step import State
from ..ports import Applied, Commit, Conflict
from .reducer import ModelReducerInput, ModelReducerOutput


class ProtocolLogger(Protocol):
    """Events with plain fields. Any logger of structlog has them: ``structlog.get_logger()``."""

    def debug(self, event: str, **fields: object) -> object: ...
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class ProtocolAlgorithmRegistry(Protocol):
    """Compute functions by name. ``AlgorithmRegistry`` is one."""

    @property
    def names(self) -> Sequence[str]: ...

    def get_algorithm(self, name: str) -> Callable[..., object]:
        """Raises AlgorithmNotFoundError."""


class ProtocolPerformanceMonitor(Protocol):
    """Told of each call of a compute node; times in seconds. Yours: ONEX has none of its own."""

    def record_execution(self, correlation_id: UUID, algorithm_type: str, execution_time: float) -> object: ...

    def record_error(self, correlation_id: UUID, error: Exception, execution_time: float) -> object: ...


class ProtocolStateManager(Protocol):
    """States as they are and were; only an action changes them. ``ReducerPatternEngine`` is one."""

    async def state(self, key: WorkflowKey | str) -> State | None:
        """The current state; None for an instance that has not begun."""

    async def state_at(self, key: WorkflowKey | str, version: int) -> State:
        """The state after ``version``."""


class ProtocolTransactionManager(Protocol):
    """One transaction is one value. Every store is one: ``SqliteStore``, ``MemoryStore``."""

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        """One answer per change; durable when it returns. Raises TransactionError and its kinds."""


class ProtocolServiceRegistry(Protocol):
    """Services by name. ``ONEXContainer`` is one."""

    @property
    def names(self) -> Sequence[str]: ...

    def get_service(self, key: str) -> object:
        """Raises DependencyResolutionError."""


class ProtocolHealthMonitor(Protocol):
    """Which services are healthy. ``ONEXContainer`` is one."""

    async def check_service_health(self, name: str) -> ServiceHealth: ...

    async def health(self) -> Mapping[str, ServiceHealth]: ...


class ProtocolMetricsCollector(Protocol):
    """Takes figures by name. ``LabelledCounts`` is one: what it takes stands on the page ``/metrics``."""

    async def record_metric(self, metric_name: str, value: float, tags: Mapping[str, str]) -> None:
        """``value`` in seconds where it is a time. Ids, which have no bound, are no tags."""


class ProtocolReducerPatternEngine(Protocol):
    """Workflows behind one call. ``NodeReducerPatternEngine`` is one."""

    async def reduce(self, reducer_input: ModelReducerInput) -> ModelReducerOutput:
        """Raises OnexError."""

    async def ping(self) -> None:
        """Raises what keeps it from answering."""

    async def close(self) -> None:
        """Takes no new calls, and lets those that run end."""
