"""InstanceIsolationManager and IsolationContext of the source documents, presets over the quotas and leases of an engine.

Every instance is isolated already: it has a mailbox of its own, its state is nobody else's, and its quotas are those of its type
(``kernel.quota``). A context adds what a block of work needs: one correlation id for all that it sends, exclusive use of the
instance if it asks for that, a deadline, and what the instance has used of its quotas.

What is freed, whatever happens in the block: the workflow lease, by the engine's own ``HeldLease``; the deadline. State and
intents are durable and stay. A context that is dropped without being left frees its lease when that runs out.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

from ..engine.arguments import checked, seconds, workflow_key
from ..engine.held_lease import HeldLease
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.payload_reading import PayloadInput
from ..engine.pending import Committed
from ..engine.quotas import count_open
from ..kernel.action import WorkflowKey
from ..kernel.quota import ResourceLimits
from ..kernel.step import State


class ResourceUse(NamedTuple):
    """What an instance has now. ``waiting``: actions of it that are accepted and not durable yet."""

    state_bytes: int
    pending_intents: int
    waiting: int


class IsolationContext:
    """One instance for the length of an ``async with``. Made by ``InstanceIsolationManager``."""

    def __init__(
        self, engine: ReducerPatternEngine, key: WorkflowKey, exclusive: bool, timeout_s: float | None
    ) -> None:
        self.engine, self.key, self.exclusive, self.timeout_s = engine, key, exclusive, timeout_s
        self.instance_id, self.workflow_type = key.instance_id, key.workflow_type
        self.correlation_id = UUID(bytes=engine.intake.ids.new())
        self.resource_limits = ResourceLimits.for_workflow_type(key.workflow_type, engine.registry.limits)
        self._lease: HeldLease | None = None
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises LeaseConflictError when another has the instance for itself, NotFound for one that has not begun."""
        async with AsyncExitStack() as taken:
            if self.timeout_s is not None:
                await taken.enter_async_context(asyncio.timeout(self.timeout_s))
            if self.exclusive:
                self._lease = await taken.enter_async_context(self.engine.lease(self.key))
            self._held = taken.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Raises TimeoutError when the deadline ended the block."""
        self._lease = None
        return await self._held.__aexit__(kind, error, trace)

    async def submit(self, trigger: str, payload: PayloadInput = None) -> Committed:
        """As ``engine.submit``, under the context's correlation id and lease."""
        if self._lease is not None:
            return await self._lease.submit(trigger, payload, correlation_id=self.correlation_id)
        return await self.engine.submit(self.key, trigger, payload, correlation_id=self.correlation_id)

    async def state(self) -> State | None:
        """The instance's own state: no other is reachable from here."""
        return await self.engine.state(self.key)

    async def use(self) -> ResourceUse:
        """What the instance has now, beside ``resource_limits``."""
        stored = await self.engine.stored(self.key)
        open_intents = await count_open(self.engine.reader, self.key)
        return ResourceUse(
            len(stored.state) if stored is not None else 0, open_intents, self.engine.service.waiting_of(self.key)
        )


class InstanceIsolationManager:
    """Gives contexts on the instances of one engine."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self.engine = engine

    def create_isolated_context(
        self, instance_id: str, workflow_type: str, *, exclusive: bool = False, timeout_s: float | None = None
    ) -> IsolationContext:
        """``exclusive``: under the workflow lease, so that nobody else changes the instance meanwhile. ``timeout_s``: the deadline
        of the block. Raises InvalidKey, UnknownWorkflow, ValidationError."""
        key = checked(workflow_key, "key", WorkflowKey.of(workflow_type, instance_id))
        limit_s = None if timeout_s is None else checked(seconds, "timeout_s", timeout_s)
        return IsolationContext(self.engine, key, exclusive, limit_s)


# The source documents have a store of one instance's state beside the context; here the context reaches no other instance.
IsolatedStateStore = IsolationContext
