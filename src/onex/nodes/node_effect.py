"""NodeEffect: an effect written as a class, as the ONEX design papers write it. An instance is an ``Executor``.

    class NodeRegistryEffect(NodeEffect):
        async def execute_effect(self, input_data: ModelEffectInput) -> ModelEffectOutput:
            await self.consul.put(input_data.intent.serialize_payload())
            return ModelEffectOutput()

    onex.open(app="registry", executors={"registry": NodeRegistryEffect()})

It decides nothing, and may be called again with the same ``idempotency_key``. What an output without success says is passed on as
EffectFailed: surely not done. What the method raises is judged as for every effect (``engine.attempt``).
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from ..container import ONEXContainer
from ..kernel.errors import DependencyResolutionError, EffectFailed
from ..kernel.intent import ModelIntent
from ..ports import NewBlob, Result

AT_ONCE = 10


class ModelEffectInput(BaseModel):
    """One intent to perform."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intent: ModelIntent[BaseModel]

    @property
    def correlation_id(self) -> UUID:
        """That of the action which emitted it."""
        return self.intent.correlation_id


class ModelEffectOutput(BaseModel):
    """What came of it. ``result`` is the payload of the success. Without ``success`` nothing was done, and ``error`` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    success: bool = True
    result: SerializeAsAny[BaseModel] | None = None
    blobs: tuple[NewBlob, ...] = ()
    error: str = ""
    code: str = EffectFailed.code
    retryable: bool = False


class NodeEffect:
    """A subclass has ``execute_effect``."""

    def __init__(self, container: ONEXContainer | None = None) -> None:
        self.container = container

    async def execute_effect(self, input_data: ModelEffectInput) -> ModelEffectOutput:
        """Performs one intent. Raises EffectFailed (surely not done), EffectUnknown or anything else (perhaps done)."""
        raise DependencyResolutionError(
            f"{type(self).__name__} has no execute_effect; write one: all its I/O stands there"
        )

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """The port ``Executor``. Raises EffectFailed, and what ``execute_effect`` raises."""
        output = await self.execute_effect(ModelEffectInput(intent=intent))
        if not output.success:
            raise EffectFailed(output.error or "it did nothing", retryable=output.retryable, code=output.code)
        return Result(output.result, output.blobs)


NodeEffectService = NodeEffect


class ProtocolConnectionPool(Protocol):
    """Connections that are kept open. A pool of asyncpg is one."""

    def acquire(self) -> AbstractAsyncContextManager[object]:
        """``async with pool.acquire() as connection``."""


ProtocolDatabasePool = ProtocolConnectionPool


class ResourceManagedEffectService(NodeEffectService):
    """Takes a connection for each intent from the container's ``ProtocolConnectionPool``; ten intents at once, unless set.

    A subclass has ``execute_with_connection``.
    """

    def __init__(self, container: ONEXContainer, *, at_once: int = AT_ONCE) -> None:
        """Raises DependencyResolutionError without a pool."""
        super().__init__(container)
        self.connection_pool = cast(ProtocolConnectionPool, container.get_service("ProtocolConnectionPool"))
        self.semaphore = asyncio.Semaphore(at_once)

    async def execute_effect(self, input_data: ModelEffectInput) -> ModelEffectOutput:
        """Raises what ``execute_with_connection`` raises."""
        async with self.semaphore, self.connection_pool.acquire() as connection:
            return await self.execute_with_connection(connection, input_data)

    async def execute_with_connection(self, connection: object, input_data: ModelEffectInput) -> ModelEffectOutput:
        """Performs one intent over ``connection``."""
        raise DependencyResolutionError(f"{type(self).__name__} has no execute_with_connection; write one")
