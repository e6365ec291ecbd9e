"""What a node may ask its container for, by name: ``container.get_service("ProtocolLogger")``.

Each is as narrow as its use. Who keeps the promise in this house stands beside it; yours may take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..container import ServiceHealth
from ..kernel.action import WorkflowKey
from ..kernel.step import State
from ..ports import Applied, Commit, Conflict


class ProtocolLogger(Protocol):
    """Events with plain fields. Kept by any logger of structlog: ``structlog.get_logger()``."""

    def debug(self, event: str, **fields: object) -> object: ...
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class ProtocolAlgorithmRegistry(Protocol):
    """Compute functions by name. Kept by ``AlgorithmRegistry``."""

    @property
    def names(self) -> Sequence[str]: ...

    def get_algorithm(self, name: str) -> Callable[..., object]:
        """Raises AlgorithmNotFoundError."""


class ProtocolStateManager(Protocol):
    """States as they are and were; changing them is an action's. Kept by ``ReducerPatternEngine``."""

    async def state(self, key: WorkflowKey | str) -> State | None:
        """The current state; None for an instance that has not begun."""

    async def state_at(self, key: WorkflowKey | str, version: int) -> State:
        """The state after ``version``."""


class ProtocolTransactionManager(Protocol):
    """One transaction is one value. Kept by every store: ``SqliteStore``, ``MemoryStore``."""

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        """One answer per change; durable when it returns. Raises TransactionError and its kinds."""


class ProtocolServiceRegistry(Protocol):
    """Services by name. Kept by ``ONEXContainer``."""

    @property
    def names(self) -> Sequence[str]: ...

    def get_service(self, key: str) -> object:
        """Raises DependencyResolutionError."""


class ProtocolHealthMonitor(Protocol):
    """Which services are well. Kept by ``ONEXContainer``."""

    async def check_service_health(self, name: str) -> ServiceHealth: ...

    async def health(self) -> Mapping[str, ServiceHealth]: ...
