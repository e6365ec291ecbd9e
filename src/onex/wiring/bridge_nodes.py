"""The bridge's nodes, by the names of the ONEX design papers. Each is a thin preset: a node of ours on an engine that has a bus.

NodeBridgeReducer("shop", "orders")        the pure reducer of a workflow of an app
NodeBridgeOrchestrator(engine)             runs an orchestration; its events go out on the bus of the engine
NodeBridgeRegistry(engine)                 registers nodes, asks them who they are, and knows who is there
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from ..app import App, load_app
from ..bus import BusRefused
from ..container import ONEXContainer
from ..contracts.model.bus import ModelDependency
from ..engine.bus.bus_events import SOURCE
from ..engine.bus.message_publish import check_published
from ..engine.bus.service import EventBusService, Outgoing
from ..engine.bus.topics import EnumBusEvent
from ..kernel.action import EPOCH, WorkflowKey
from ..kernel.envelope import OnexEnvelopeV1
from ..kernel.errors import UnknownWorkflow
from ..kernel.step import State
from ..nodes.reducer import NodeReducer
from ..orchestration.node import NodeOrchestrator
from ..workflows.registration.payloads import IntrospectionRequest, ModelRegistrationOutcome
from .engine import WiredEngine
from .registration_nodes import NodeRegistrationOrchestrator, outcome_of
from .self_registration import REGISTRATION

_PAGE: Final = 500


class NodeBridgeReducer(NodeReducer[State]):
    """The pure reducer of one workflow: ``transition(state, action)``, and reduction in batches and streams."""

    def __init__(self, app: App | Path | str, workflow: str) -> None:
        """Raises ContractError, UnknownWorkflow."""
        loaded = app if isinstance(app, App) else load_app(app)
        if workflow not in loaded.workflows:
            raise UnknownWorkflow(f"{loaded.name} has no workflow {workflow!r}; it has {', '.join(loaded.workflows)}")
        super().__init__(loaded.workflows[workflow].reducer)


class NodeBridgeOrchestrator(NodeOrchestrator):
    """An orchestrator whose progress others see: each task that ends is an event on the engine's bus."""

    def __init__(
        self,
        engine: WiredEngine,
        container: ONEXContainer | None = None,
        dependencies: Sequence[ModelDependency] = (),
    ) -> None:
        """Raises BusRefused for an engine without a bus."""
        _bus_of(engine)
        super().__init__(engine, container, dependencies)


class NodeBridgeRegistry(NodeRegistrationOrchestrator):
    """The registry of nodes: an engine of `onex:registration` that has a bus."""

    def __init__(self, engine: WiredEngine) -> None:
        """Raises BusRefused for an engine without a bus."""
        self._bus = _bus_of(engine)
        self._engine = engine
        super().__init__(engine)

    async def request_introspection(self, node_id: str = "", correlation_id: UUID | None = None) -> UUID:
        """Asks one node who it is, or all that listen; the correlation that their answers have.

        One node is asked by its registration, so the request is kept until the bus has it. All are asked at once, by one message:
        raises EffectFailed, EffectUnknown where the bus did not take it; ask again.
        """
        correlation = correlation_id or uuid4()
        if node_id:
            await self.engine.submit(WorkflowKey.of(REGISTRATION, node_id), "ask", correlation_id=correlation)
            return correlation
        event = EnumBusEvent.REGISTRY_REQUEST_INTROSPECTION
        request = IntrospectionRequest(asked_at=EPOCH + timedelta(microseconds=self._engine.clock.now_us()))
        envelope = OnexEnvelopeV1(
            envelope_id=uuid4(),
            event_type=event.value,
            correlation_id=correlation,
            source_service=SOURCE,
            payload=request.model_dump(mode="json"),
        )
        topic = self._bus.topics.event(event)
        (answer,) = await self._bus.publish([Outgoing(topic, REGISTRATION.encode(), envelope)])
        check_published(answer, topic)
        return correlation

    async def nodes(self, status: str | None = None) -> list[ModelRegistrationOutcome]:
        """Who is known, by id; only those of one status where one is given."""
        found: list[ModelRegistrationOutcome] = []
        after: WorkflowKey | None = None
        while page := await self._engine.reader.instances(REGISTRATION, status, after, _PAGE):
            found += [outcome_of(one.key.instance_id, one) for one in page]
            after = page[-1].key
        return found


def _bus_of(engine: WiredEngine) -> EventBusService:
    if engine.bus is None:
        raise BusRefused(
            "a node of the bridge needs an engine with a bus; give --bus, set ONEX_BUS, or give bus= to onex.open"
        )
    return engine.bus.service
