"""EventBusService: what the parts of an engine publish through: envelopes are signed, and a bus that is away is left alone.

When nothing of three calls in a row was published, the circuit opens (``kernel.retry``): calls are then answered
``failed`` at once, and after a while one of them tries the bus again. Nobody waits for a bus but who publishes on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...bus import BusMessage, EnumPublished, EventBus, GroupMember, Publication
from ...kernel.envelope import OnexEnvelopeV1
from ...kernel.message_signature import SharedKeys
from ...kernel.retry import BreakerPolicy, EnumBreakerState
from ...ports import Clock
from ..circuit_breaker import CircuitBreaker
from ..metrics import Events
from .topics import BusTopics

POLICY = BreakerPolicy(failures=3, open_s=0.5, longest_open_s=15.0)


class Outgoing(NamedTuple):
    """An envelope on its way to a topic."""

    topic: str
    key: bytes
    envelope: OnexEnvelopeV1


class EventBusService:
    """One per engine. ``keys`` None: nothing is signed, and no signature is asked for.

    ``published[topic]`` and ``consumed[topic]`` count messages, ``passed_over[topic]`` those of the latter that no workflow wants;
    ``timeouts`` those that the bus did not take in time.
    """

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        events: Events,
        topics: BusTopics | None = None,
        keys: SharedKeys | None = None,
    ) -> None:
        self.bus, self.events = bus, events
        self.topics = BusTopics() if topics is None else topics
        self.keys = keys
        self._breaker = CircuitBreaker(clock, POLICY)
        self.published: dict[str, int] = {}
        self.consumed: dict[str, int] = {}
        self.passed_over: dict[str, int] = {}
        self.timeouts = 0

    async def publish(self, outgoing: Sequence[Outgoing]) -> Sequence[Publication]:
        """As ``EventBus.publish``. Raises BusRefused, PayloadTooLarge."""
        return await self.publish_messages([signed_message(one, self.keys) for one in outgoing])

    async def publish_messages(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        """The same, for messages as they are: nothing is signed."""
        if not messages:
            return ()
        was_closed = self._breaker.is_closed
        if not self._breaker.allow():
            reason = f"the bus does not answer; it is asked again in {self.retry_after_s:.1f} s"
            return [Publication(EnumPublished.FAILED, reason=reason)] * len(messages)
        try:
            answers = await self.bus.publish(messages)
        except BaseException:
            self._breaker.withdraw()
            raise
        for message, answer in zip(messages, answers, strict=True):
            if answer.outcome is EnumPublished.PUBLISHED:
                self.published[message.topic] = self.published.get(message.topic, 0) + 1
        lost = [one for one in answers if one.outcome in (EnumPublished.FAILED, EnumPublished.UNKNOWN)]
        self.timeouts += len(lost)
        self._breaker.record(succeeded=len(lost) < len(answers))
        if was_closed and not self._breaker.is_closed:
            self.events("bus_unreachable", error=lost[0].reason)
        elif not was_closed and self._breaker.is_closed:
            self.events("bus_reached")
        return answers

    @property
    def state(self) -> EnumBreakerState:
        """Of the circuit: open while the bus is left alone."""
        return self._breaker.state

    @property
    def retry_after_s(self) -> float:
        """0.0 when the bus would be called now."""
        return self._breaker.retry_after_s

    async def subscribe(self, group: str, topics: Sequence[str]) -> GroupMember:
        """Raises BusRefused."""
        return await self.bus.subscribe(group, topics)

    async def close(self) -> None:
        await self.bus.close()


def signed_message(one: Outgoing, keys: SharedKeys | None) -> BusMessage:
    """As it goes over the bus. Raises PayloadTooLarge."""
    value = one.envelope.to_bytes()
    headers = () if keys is None else (keys.header(one.topic, one.key, value),)
    return BusMessage(one.topic, one.key, value, headers)
