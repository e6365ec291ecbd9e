"""The nodes of the registration workflow, by the names of the ONEX design papers. Each is a thin preset over `onex:registration`.

outcome = await NodeRegistrationOrchestrator(engine).execute_orchestration(ModelRegistrationPayload(...), correlation_id)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import orjson
from pydantic import JsonValue

from ..app import load_app
from ..engine.awaited_status import TERMINAL
from ..engine.held_lease import Orchestrated
from ..kernel.action import WorkflowKey
from ..kernel.errors import DependencyResolutionError, ValidationError
from ..kernel.step import State
from ..nodes.node_effect import ModelEffectInput, ModelEffectOutput, NodeEffect
from ..nodes.reducer import NodeReducer
from ..ports import Executor, Stored
from ..workflows.registration.payloads import (
    EnumRegistrationAction,
    ModelRegistrationOutcome,
    ModelRegistrationPayload,
)
from .self_registration import REGISTRATION

AT_REST: Final = ("complete", "partial", "failed", "deregistered")


class RegistrationCommand(NamedTuple):
    """What is sent to the instance of a node."""

    key: WorkflowKey
    trigger: str
    told: dict[str, JsonValue]


class RegistrationEngine(Orchestrated, Protocol):
    """An engine that runs `onex:registration`, or a client of one that runs elsewhere."""

    async def wait(self, key: WorkflowKey | str, until: str = TERMINAL, timeout_s: float = 30.0) -> Stored: ...


class NodeDualRegistrationReducer(NodeReducer[State]):
    """The pure reducer of a registration: ``transition(state, action)``."""

    def __init__(self) -> None:
        super().__init__(load_app("onex:registration").workflows[REGISTRATION].reducer)


class NodeRegistryEffect(NodeEffect):
    """Performs the intents of a registration: ``executors`` serve ``consul`` and ``directory``."""

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        super().__init__()
        self._executors = executors

    async def execute_effect(self, input_data: ModelEffectInput) -> ModelEffectOutput:
        """Raises DependencyResolutionError for another target, and what its executor raises."""
        executor = self._executors.get(input_data.intent.target)
        if executor is None:
            raise DependencyResolutionError(
                f"nothing serves {input_data.intent.target!r}; there is {', '.join(self._executors) or 'nothing'}"
            )
        result = await executor.execute(input_data.intent)
        return ModelEffectOutput(result=result.value, blobs=result.blobs)


class NodeRegistrationOrchestrator:
    """Registers a node, or takes it out, and waits until that has come to rest."""

    def __init__(self, engine: RegistrationEngine) -> None:
        self.engine = engine

    async def execute_orchestration(
        self, payload: ModelRegistrationPayload, correlation_id: UUID | None = None, *, timeout_s: float = 30.0
    ) -> ModelRegistrationOutcome:
        """When the time is over, the outcome says how far it is. Raises ValidationError for a registration without ``node``, and
        what ``submit`` raises."""
        command = command_of(payload)
        await self.engine.submit(command.key, command.trigger, command.told, correlation_id=correlation_id)
        return await self.at_rest(payload.node_id, timeout_s)

    async def at_rest(self, node_id: str, timeout_s: float = 30.0) -> ModelRegistrationOutcome:
        """How far it is when it has come to rest, or when the time is over."""
        key = WorkflowKey.of(REGISTRATION, node_id)
        resting = [asyncio.create_task(self.engine.wait(key, until=one, timeout_s=timeout_s)) for one in AT_REST]
        done, late = await asyncio.wait(resting, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, TimeoutError):
                raise error
        return outcome_of(node_id, await self.engine.stored(key))


def command_of(payload: ModelRegistrationPayload) -> RegistrationCommand:
    """Raises ValidationError for a registration without ``node``."""
    key = WorkflowKey.of(REGISTRATION, payload.node_id)
    if payload.action is EnumRegistrationAction.DEREGISTER:
        return RegistrationCommand(key, "deregister", {"reason": payload.reason} if payload.reason else {})
    if payload.node is None:
        raise ValidationError(f"node {payload.node_id} is to be registered; give what it tells of itself as node")
    return RegistrationCommand(key, "introspected", payload.node.model_dump(mode="json"))


def outcome_of(node_id: str, stored: Stored | None) -> ModelRegistrationOutcome:
    """Of a stored instance; one that has not begun is ``unseen``."""
    if stored is None or stored.version == 0:
        return ModelRegistrationOutcome(
            node_id=node_id, status="unseen", consul_registered=False, postgres_registered=False
        )
    state = orjson.loads(stored.state)
    places = state["places"]
    return ModelRegistrationOutcome(
        node_id=node_id,
        status=stored.status,
        consul_registered=places.get("service") == places.get("key") == "held",
        postgres_registered=places.get("record") == "held",
        reason=state["reason"],
    )
