"""MessagePublishEffect: serves intents of kind ``message_publish``: each becomes one message on a topic.

    onex.open(app="shop", bus=bus, executors={"announcements": MessagePublishEffect(bus, "shop.announcements.v1")})

The message is an envelope. Its id is the intent's own, or made of the key that the reducer gave: the same at every try, so that
readers can drop doubles. ``event_type`` is the name of the intent, its key the instance, ``causation_id`` the action behind it.
What the bus answers is the outcome: rejected, and failed, are surely not done; an unknown answer is ``EffectUnknown``. The relay
tries again by the policy of the intent. Intents are independent, so two messages of one instance may come in either order; events
of the log keep theirs (``publisher``).
"""

from __future__ import annotations

from uuid import UUID, uuid5

from pydantic import BaseModel

from ...bus import BusRefused, EnumPublished, EventBus, Publication
from ...kernel.canonical import reloaded
from ...kernel.dedup_name import dedup_name
from ...kernel.envelope import OnexEnvelopeV1
from ...kernel.errors import EffectFailed, EffectUnknown, InvalidPayload, OnexError
from ...kernel.intent import ModelIntent
from ...kernel.message_signature import SharedKeys
from ...ports import Result
from .bus_events import SOURCE
from .service import Outgoing, signed_message

_KEYS = UUID("6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a03")


class MessagePublishEffect:
    """An ``Executor``. ``keys`` None: nothing is signed."""

    def __init__(self, bus: EventBus, topic: str, keys: SharedKeys | None = None) -> None:
        self.bus, self.topic, self.keys = bus, topic, keys

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        outgoing = announcement(intent, self.topic)
        try:
            (answer,) = await self.bus.publish([signed_message(outgoing, self.keys)])
        except OnexError as error:
            raise not_published(error) from error
        check_published(answer, self.topic)
        return Result(None)


def announcement(intent: ModelIntent[BaseModel], topic: str, *, event_type: str = "", key: str = "") -> Outgoing:
    """What ``intent`` publishes; left out, ``event_type`` is its name, and ``key`` its instance."""
    key = key or str(intent.workflow_key or intent.intent_id)
    envelope = OnexEnvelopeV1(
        envelope_id=message_id_of(intent),
        event_type=event_type or intent.name or intent.intent_type,
        correlation_id=intent.correlation_id,
        causation_id=intent.causation_id,
        source_service=SOURCE,
        source_instance=str(intent.workflow_key) if intent.workflow_key else None,
        partition_key=key,
        payload=intent.serialize_payload(),
    )
    return Outgoing(topic, key.encode(), envelope)


def check_payload(intent: ModelIntent[BaseModel]) -> None:
    """What is sent is what its class allows, however it was made: readers check it by the same class. Raises EffectFailed."""
    try:
        reloaded(intent.payload)
    except InvalidPayload as error:
        raise EffectFailed(f"{intent.name!r} was not sent: {error.message}", code=error.code) from error


def message_id_of(intent: ModelIntent[BaseModel]) -> UUID:
    """The intent's own id; of a key that its reducer gave, an id that is made of it and the intent's name."""
    name = dedup_name(intent)
    return intent.intent_id if name == str(intent.intent_id) else uuid5(_KEYS, name)


def check_published(answer: Publication, topic: str) -> None:
    """Raises EffectFailed, EffectUnknown for a message that is not known to be on the bus."""
    if answer.outcome is EnumPublished.PUBLISHED:
        return
    said = f"the message to {topic} is {answer.outcome.value}: {answer.reason}"
    if answer.outcome is EnumPublished.UNKNOWN:
        raise EffectUnknown(said, code="publish_unknown")
    retryable = answer.outcome is EnumPublished.FAILED
    raise EffectFailed(said, retryable=retryable, code=f"publish_{answer.outcome.value}")


def not_published(error: OnexError) -> EffectFailed:
    """What was refused before it reached the bus: too large, or the bus is closed here."""
    return EffectFailed(error.message, retryable=isinstance(error, BusRefused), code=error.code)
