"""MessagePublishEffect: serves intents of kind ``message_publish``: each becomes one message on a topic.

    onex.open(app="shop", bus=bus, executors={"announcements": MessagePublishEffect(bus, "shop.announcements.v1")})

The message is an envelope: its id is the intent's, the same at every try, so that readers can drop doubles; ``event_type`` is the
name of the intent, and its key the instance. What the bus answers is the outcome: rejected, and failed, are surely not done; an
unknown answer is ``EffectUnknown``. The relay tries again by the policy of the intent. Intents are independent, so two messages of
one instance may come in either order; events of the log keep theirs (``publisher``).
"""

from __future__ import annotations

from pydantic import BaseModel

from ...bus import BusMessage, EnumPublished, EventBus
from ...kernel.envelope import OnexEnvelopeV1
from ...kernel.errors import EffectFailed, EffectUnknown
from ...kernel.intent import ModelIntent
from ...kernel.message_signature import SharedKeys
from ...ports import Result
from .bus_events import SOURCE


class MessagePublishEffect:
    """An ``Executor``. ``keys`` None: nothing is signed."""

    def __init__(self, bus: EventBus, topic: str, keys: SharedKeys | None = None) -> None:
        self.bus, self.topic, self.keys = bus, topic, keys

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        message = self._message(intent)
        (answer,) = await self.bus.publish([message])
        if answer.outcome is EnumPublished.PUBLISHED:
            return Result(None)
        said = f"the message to {self.topic} is {answer.outcome.value}: {answer.reason}"
        if answer.outcome is EnumPublished.UNKNOWN:
            raise EffectUnknown(said, code="publish_unknown")
        retryable = answer.outcome is EnumPublished.FAILED
        raise EffectFailed(said, retryable=retryable, code=f"publish_{answer.outcome.value}")

    def _message(self, intent: ModelIntent[BaseModel]) -> BusMessage:
        key = str(intent.workflow_key or intent.intent_id)
        value = OnexEnvelopeV1(
            envelope_id=intent.intent_id,
            event_type=intent.name or intent.intent_type,
            correlation_id=intent.correlation_id,
            source_service=SOURCE,
            partition_key=key,
            payload=intent.serialize_payload(),
        ).to_bytes()
        headers = () if self.keys is None else (self.keys.header(self.topic, key.encode(), value),)
        return BusMessage(self.topic, key.encode(), value, headers)
