"""TopicEffect: serves a target that is a topic (``topic``): each intent becomes one message on the bus of the engine.

The message is that of ``MessagePublishEffect``: one id at every try, signed where the bus has keys. A call waits until the engine
is connected to its bus, which is a moment after it started. The answer takes what its class asks for: ``topic``,
``message_id``, ``partition`` and ``offset``.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from ..contracts.model.target_topic import ModelTopicCall, ModelTopicTarget
from ..contracts.model.template import field_at
from ..engine.bus.message_publish import announcement, check_payload, check_published, not_published
from ..kernel.action import NOTHING, Nothing
from ..kernel.errors import EffectFailed, OnexError
from ..kernel.intent import ModelIntent
from ..nodes.given import ResultModel, success_payload
from ..ports import Result
from .context import EffectContext

_PLAIN = ModelTopicCall()


class TopicEffect:
    """An ``Executor``."""

    def __init__(
        self,
        name: str,
        target: ModelTopicTarget,
        calls: Mapping[str, ModelTopicCall],
        result_model: ResultModel,
        context: EffectContext,
    ) -> None:
        """``calls[intent name]``; an intent without a block publishes its payload as it is."""
        self.name, self.topic, self.calls = name, target.name, calls
        self._result_model, self._context = result_model, context
        if target.required:
            context.bus.needed_by(f"the target {name!r} publishes on")

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call = self.calls.get(intent.name, _PLAIN)
        check_payload(intent)
        try:
            bus = await self._context.bus.connected()
        except OnexError as error:
            raise not_published(error) from error
        topic = self.topic or bus.topics.named(call.event_type or intent.name)
        outgoing = announcement(intent, topic, event_type=call.event_type or "", key=self._key(intent, call))
        with self._context.audit.call(intent, f"publish {topic}"):
            try:
                (answer,) = await bus.publish([outgoing])
            except OnexError as error:
                raise not_published(error) from error
            check_published(answer, topic)
        model = self._result_model(intent)
        if model is None or model is Nothing:
            return Result(NOTHING)
        found = {
            "topic": topic,
            "message_id": str(outgoing.envelope.envelope_id),
            "partition": answer.partition,
            "offset": answer.offset,
        }
        asked = {name: value for name, value in found.items() if name in model.model_fields}
        return Result(success_payload(asked, model, f"target {self.name!r}"))

    def _key(self, intent: ModelIntent[BaseModel], call: ModelTopicCall) -> str:
        """'' for the instance."""
        if call.key is None:
            return ""
        value = field_at(call.key, intent.serialize_payload())
        if value is None or isinstance(value, dict | list) or not str(value):
            raise EffectFailed(
                f"the field {call.key!r} of {intent.name!r} is empty or no plain value; a message needs a key",
                code="no_message_key",
            )
        return str(value)
