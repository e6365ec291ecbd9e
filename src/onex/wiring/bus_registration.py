"""A node that tells a registry of itself over a bus: it introduces itself, beats, answers when it is asked, and says when it goes.

    topic of node_introspection               node -> registry   who I am: at the start, and as the answer to a request
    topic of node_heartbeat                   node -> registry   I live
    topic of node_shutdown                    node -> registry   I go
    topic of registry_request_introspection   registry -> node   who are you? For one node, or for all (``node_id`` '')

Each message is keyed by the node, so the registry reads those of one in their order. An answer keeps the correlation of the
request, and names it as its cause. A request that is older than this process is passed over: who starts introduces itself anyway.

The rule is that of ``self_registration``: a node never waits for its registry and never fails because of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pydantic import JsonValue
from pydantic_core import to_json

from ..bus import BusError, EnumPublished, GroupMember, ReceivedMessage
from ..engine.bus.consumed_topics import read_event
from ..engine.bus.service import EventBusService, Outgoing
from ..engine.bus.topics import EnumBusEvent
from ..kernel.envelope import OnexEnvelopeV1
from ..kernel.errors import OnexError
from ..workflows.registration.payloads import IntrospectionRequest

SHUTDOWN = "node_shutdown"
Told = Callable[[], Mapping[str, JsonValue]]
"""What a node tells of itself, as of now."""


class BusNode:
    """One node on a bus. ``now`` is its clock."""

    def __init__(
        self,
        node_id: str,
        told: Told,
        bus: EventBusService,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        owns_bus: bool = False,
    ) -> None:
        self.node_id, self._told, self._bus, self._now, self._owns_bus = node_id, told, bus, now, owns_bus
        self._started_at = now()
        self._member: GroupMember | None = None

    async def introduce(self, correlation_id: UUID | None = None, causation_id: UUID | None = None) -> None:
        """Raises OnexError where the bus did not take it."""
        await self._tell(EnumBusEvent.NODE_INTROSPECTION, self._told(), correlation_id, causation_id)

    async def beat(self) -> None:
        """Raises OnexError where the bus did not take it."""
        await self._tell(EnumBusEvent.NODE_HEARTBEAT, {"timestamp": self._now().isoformat()})

    async def leave(self, reason: str) -> None:
        """Raises OnexError where the bus did not take it."""
        await self._tell(SHUTDOWN, {"reason": reason})

    async def answer(self) -> int:
        """Answers what is asked; returns after about a second when nothing is. The number of answers. Raises OnexError."""
        if self._member is None:
            topic = self._bus.topics.event(EnumBusEvent.REGISTRY_REQUEST_INTROSPECTION)
            self._member = await self._bus.subscribe(f"onex-node-{self.node_id}", [topic])
        answered = 0
        for message in await self._member.read(100):
            asked = self._asked(message)
            if asked is not None:
                await self.introduce(asked.correlation_id, asked.envelope_id)
                answered += 1
            await self._member.commit({message.source: message.offset + 1})
        return answered

    async def close(self) -> None:
        if self._member is not None:
            await self._member.close()
        if self._owns_bus:
            await self._bus.close()

    def _asked(self, message: ReceivedMessage) -> OnexEnvelopeV1 | None:
        """The request, if it is one for this node. What cannot be read is no request: others are answered."""
        try:
            envelope = read_event(message, self._bus.keys)
            request = IntrospectionRequest.model_validate_json(to_json(envelope.payload))
        except (OnexError, ValueError):
            return None
        late = request.asked_at is not None and request.asked_at < self._started_at
        return envelope if request.node_id in ("", self.node_id) and not late else None

    async def _tell(
        self,
        event: str,
        payload: Mapping[str, JsonValue],
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> None:
        envelope = OnexEnvelopeV1(
            envelope_id=uuid4(),
            envelope_timestamp=self._now(),
            event_type=str(event),
            correlation_id=correlation_id,
            causation_id=causation_id,
            source_service=self.node_id,
            partition_key=self.node_id,
            payload=dict(payload),
        )
        outgoing = Outgoing(self._bus.topics.named(str(event)), self.node_id.encode(), envelope)
        (answer,) = await self._bus.publish([outgoing])
        if answer.outcome is not EnumPublished.PUBLISHED:
            raise BusError(f"the registry was not told: {answer.reason}")
