"""The topic effect on the memory bus and on Kafka's mock cluster: what stands on the topic, and what each answer of a bus means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, BusRefused, EnumPublished, EventBus, Publication, ReceivedMessage
from onex.contracts.model.target_topic import ModelTopicCall, ModelTopicTarget
from onex.effects.context import EffectContext
from onex.effects.topic import TopicEffect
from onex.engine.bus.service import EventBusService
from onex.engine.metrics import Events
from onex.kernel.action import Payload
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import EffectFailed, EffectUnknown
from onex.kernel.message_signature import SharedKeys
from onex.testing.conformance.bus import read_all
from tests.effects.calls import HandClock, context, intent, told_by
from tests.servers.kafka_server import KafkaServer
from tests.servers.mock_kafka import MockKafka


class News(Payload):
    text: str
    region: str = "north"
    empty: str = ""


class Where(Payload):
    topic: str
    message_id: UUID
    partition: int
    offset: int


TOPIC, KEYS = "news.v1", SharedKeys.of("a shared key of at least 16")
CALLS: Mapping[str, dict[str, Any]] = {
    "announce": {},
    "by_region": {"key": "region", "event_type": "news.regional"},
    "by_nothing": {"key": "empty"},
}
Reader = Callable[[int], Awaitable[Sequence[ReceivedMessage]]]


def effect(within: EffectContext, topic: str = TOPIC) -> TopicEffect:
    calls = {name: ModelTopicCall.model_validate(call) for name, call in CALLS.items()}
    return TopicEffect("announcements", ModelTopicTarget(name=topic), calls, lambda _: Where, within)


def connect(within: EffectContext, bus: EventBus, keys: SharedKeys | None = KEYS) -> EventBusService:
    service = EventBusService(bus, HandClock(), Events(None), keys=keys)
    within.bus.connect(service)
    return service


async def publishes(bus: EventBus, topic: str) -> None:
    """What is on the topic after two intents, one of them tried twice."""
    within = context()
    topics, service = effect(within, topic), connect(within, bus)
    given = intent("by_region", News(text="a"), "order-4711", "message_publish")
    caused = given.model_copy(update={"causation_id": UUID(int=9)})
    first, again = [(await topics.execute(caused)).value for _ in range(2)]
    own = intent("announce", News(text="b"), "x", "message_publish")
    own = own.model_copy(update={"idempotency_key": str(own.intent_id)})
    third = (await topics.execute(own)).value
    assert isinstance(first, Where) and isinstance(again, Where) and isinstance(third, Where)
    assert (first.message_id, third.message_id) == (again.message_id, own.intent_id)
    assert (first.topic, again.partition, again.offset) == (topic, first.partition, first.offset + 1)
    member = await bus.subscribe("readers", [topic])
    found = await read_all(member, 3)
    for one in found:
        KEYS.check(one.topic, one.key, one.value, one.headers)
    read = {(one.key, one.value): OnexEnvelopeV1.from_bytes(one.value) for one in found}
    assert len(found) == 3 and len(read) == 2
    regional = next(one for (key, _), one in read.items() if key == b"north")
    assert regional.event_type == "news.regional"
    assert (regional.envelope_id, regional.causation_id) == (first.message_id, UUID(int=9))
    assert (regional.correlation_id, regional.payload["text"]) == (given.correlation_id, "a")
    assert {key for key, _ in read} == {b"north", b"orders:4711"}
    await member.close()
    await service.close()


def test_a_message_stands_on_the_topic_of_the_memory_bus() -> None:
    asyncio.run(publishes(MemoryBus(MemoryBroker()), TOPIC))


def test_a_message_stands_on_the_topic_of_the_mock_cluster() -> None:
    cluster = MockKafka()
    try:
        cluster.make_topic(TOPIC, 2)
        asyncio.run(publishes(ConfluentBus(KafkaAddress(cluster.servers)), TOPIC))
    finally:
        cluster.close()


@pytest.mark.long  # a second real Kafka beside that of the conformance suite
def test_a_message_stands_on_the_topic_of_a_real_kafka(kafka: KafkaServer) -> None:
    kafka.make_topics(["effects.topic"], 2)
    asyncio.run(publishes(ConfluentBus(KafkaAddress(kafka.servers)), "effects.topic"))


class Answering(MemoryBus):
    """A bus that answers with one outcome."""

    def __init__(self, outcome: EnumPublished) -> None:
        super().__init__(MemoryBroker())
        self.outcome = outcome

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        return [Publication(self.outcome, reason="told so")] * len(messages)


@pytest.mark.parametrize(
    ("outcome", "told", "again"),
    [
        (EnumPublished.REJECTED, EffectFailed, False),
        (EnumPublished.FAILED, EffectFailed, True),
        (EnumPublished.UNKNOWN, EffectUnknown, True),
    ],
)
def test_what_the_bus_answers_is_the_outcome(
    outcome: EnumPublished, told: type[EffectFailed | EffectUnknown], again: bool
) -> None:
    async def body() -> None:
        within = context()
        connect(within, Answering(outcome))
        error = await told_by(effect(within), intent("announce", News(text="a")))
        assert (type(error), error.retry) == (told, again)

    asyncio.run(body())


def test_what_cannot_be_a_message_is_surely_not_sent() -> None:
    async def body() -> None:
        within = context()
        service = connect(within, MemoryBus(MemoryBroker()))
        for name, payload, code, again in (
            ("announce", News(text="x" * 300_000), "payload_too_large", False),
            ("by_nothing", News(text="a"), "no_message_key", False),
            ("announce", News.model_construct(text=5), "invalid_payload", False),  # type: ignore[arg-type]  # the case
        ):
            with pytest.raises(EffectFailed) as raised:
                await effect(within).execute(intent(name, payload))
            assert (raised.value.reason, raised.value.retry) == (code, again)
        await service.close()
        with pytest.raises(EffectFailed) as raised:
            await effect(within).execute(intent("announce", News(text="a")))
        assert (raised.value.reason, raised.value.retry) == ("bus_refused", True)

    asyncio.run(body())


def test_a_call_waits_until_the_engine_has_connected_and_an_engine_without_a_bus_is_refused() -> None:
    async def body() -> None:
        within: EffectContext = context()
        within.bus.check(has_bus=False)  # nobody needs one
        topics = effect(within)
        with pytest.raises(BusRefused, match="'announcements' publishes on the bus"):
            within.bus.check(has_bus=False)
        within.bus.check(has_bus=True)
        calling: asyncio.Task[BaseModel | None] = asyncio.ensure_future(_value(topics))
        await asyncio.sleep(0)
        assert not calling.done()
        connect(within, MemoryBus(MemoryBroker()))
        assert isinstance(await calling, Where)

    asyncio.run(body())


def test_a_topic_without_a_name_is_that_of_the_event_by_the_scheme_of_the_engine() -> None:
    async def body() -> None:
        within = context()
        target = ModelTopicTarget()
        topics = TopicEffect(
            "news", target, {"announce": ModelTopicCall(event_type="shop_news")}, lambda _: Where, within
        )
        connect(within, MemoryBus(MemoryBroker()))
        sent = (await topics.execute(intent("announce", News(text="a")))).value
        assert isinstance(sent, Where) and sent.topic == "dev.omninode_bridge.onex.evt.shop-news.v1"

    asyncio.run(body())


def test_where_no_bus_is_required_an_engine_without_one_starts_and_a_message_fails() -> None:
    async def body() -> None:
        within = context()
        topics = TopicEffect("news", ModelTopicTarget(name=TOPIC, required=False), {}, lambda _: Where, within)
        within.bus.check(has_bus=False)
        with pytest.raises(EffectFailed) as raised:
            await topics.execute(intent("announce", News(text="a")))
        assert (raised.value.reason, raised.value.retry) == ("bus_refused", True)
        assert "ONEX_BUS" in raised.value.message

    asyncio.run(body())


async def _value(topics: TopicEffect) -> BaseModel | None:
    return (await topics.execute(intent("announce", News(text="a")))).value
