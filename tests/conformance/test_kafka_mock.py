"""The Kafka adapters keep every promise of the one suite on librdkafka's mock cluster, also when the broker answers with errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

import pytest
from confluent_kafka import KafkaError

from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.aiokafka_bus import AioKafkaBus
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import BusError, EnumPublished, EventBus
from onex.testing.conformance import BusConformance
from onex.testing.conformance.bus import behind, by_key, of_key, read_all
from tests.servers.mock_kafka import OFFSET_COMMIT, PRODUCE, MockKafka


class OnMockCluster(BusConformance):
    cluster: ClassVar[MockKafka]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_cluster(cls) -> Iterator[None]:
        cls.cluster = MockKafka()
        yield
        cls.cluster.close()

    @property
    def address(self) -> KafkaAddress:
        return KafkaAddress(self.cluster.servers, publish_timeout_s=2.0, session_timeout_s=1.5)

    async def make_topic(self, topic: str, partitions: int) -> None:
        self.cluster.make_topic(topic, partitions)

    async def take_away(self) -> None:
        self.cluster.take_down()

    async def bring_back(self) -> None:
        self.cluster.bring_up()


class TestConfluentKafka(OnMockCluster):
    async def open(self) -> EventBus:
        return ConfluentBus(self.address)

    def test_errors_of_the_broker_that_pass_are_tried_again(self) -> None:
        async def go() -> None:
            topic = "passing-errors"
            self.cluster.make_topic(topic, 1)
            bus = await self.open()
            self.cluster.answer_with(PRODUCE, [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT])
            answers = await bus.publish(of_key(topic, "k", "a", "b", "c"))
            assert {one.outcome for one in answers} == {EnumPublished.PUBLISHED}
            member = await bus.subscribe("passing", [topic])
            assert by_key(await read_all(member, 3)) == {b"k": ["a", "b", "c"]}
            await bus.close()

        asyncio.run(go())

    def test_behind_a_message_that_the_broker_refused_none_of_its_key_is_published(self) -> None:
        async def go() -> None:
            topic = "refused"
            self.cluster.make_topic(topic, 1)
            bus = await self.open()
            self.cluster.answer_with(PRODUCE, [KafkaError.TOPIC_AUTHORIZATION_FAILED])
            sent = of_key(topic, "k", *map(str, range(2000)))
            answers = await bus.publish(sent)
            first = next(n for n, one in enumerate(answers) if one.outcome is not EnumPublished.PUBLISHED)
            assert {one.outcome for one in answers[first:]} <= {EnumPublished.FAILED, EnumPublished.UNKNOWN}
            assert {one.outcome for one in await bus.publish(sent[first:])} == {EnumPublished.PUBLISHED}
            member = await bus.subscribe("refusing", [topic])
            found = await read_all(member, 2000)
            assert by_key(found) == {b"k": [str(n) for n in range(2000)]}
            await bus.close()

        asyncio.run(go())

    def test_a_batch_refused_for_one_of_its_messages_is_sent_again_one_by_one(self) -> None:
        async def go() -> None:
            topic = "one-bad-record"
            self.cluster.make_topic(topic, 1)
            bus = await self.open()
            sent = of_key(topic, "k", "a", "b")
            self.cluster.answer_with(PRODUCE, [KafkaError.INVALID_RECORD])
            assert EnumPublished.REJECTED not in {one.outcome for one in await bus.publish(sent)}
            self.cluster.answer_with(PRODUCE, [KafkaError.INVALID_RECORD])
            assert [one.outcome for one in await bus.publish(sent[:1])] == [EnumPublished.REJECTED]
            assert [one.outcome for one in await bus.publish(sent[1:])] == [EnumPublished.PUBLISHED]
            await bus.close()

        asyncio.run(go())

    def test_a_commit_that_failed_is_an_error_and_done_again_it_holds(self) -> None:
        async def go() -> None:
            topic = "committing"
            self.cluster.make_topic(topic, 1)
            bus = await self.open()
            await bus.publish(of_key(topic, "k", "a", "b"))
            member = await bus.subscribe("committing", [topic])
            found = await read_all(member, 2)
            self.cluster.answer_with(OFFSET_COMMIT, [KafkaError.UNKNOWN_MEMBER_ID])
            with pytest.raises(BusError):
                await member.commit(behind(found[:1]))
            await bus.close()
            again = await self.open()
            member = await again.subscribe("committing", [topic])
            found = await read_all(member, 2)
            await member.commit(behind(found[:1]))
            await again.close()
            bus = await self.open()
            assert [one.value for one in await read_all(await bus.subscribe("committing", [topic]), 1)] == [b"b"]
            await bus.close()

        asyncio.run(go())


class TestAioKafka(OnMockCluster):
    async def open(self) -> EventBus:
        return AioKafkaBus(self.address)
