"""The Kafka adapters keep every promise of the one suite on a real Apache Kafka, which is killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

import pytest

from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.aiokafka_bus import AioKafkaBus
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import EventBus
from onex.testing.conformance import BusConformance
from tests.servers.kafka_server import KafkaServer


class OnKafka(BusConformance):
    server: ClassVar[KafkaServer]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_server(cls, kafka: KafkaServer) -> Iterator[None]:
        cls.server = kafka
        yield

    @property
    def address(self) -> KafkaAddress:
        return KafkaAddress(self.server.servers, publish_timeout_s=2.0, session_timeout_s=2.0)

    async def make_topic(self, topic: str, partitions: int) -> None:
        await asyncio.to_thread(self.server.make_topics, [topic], partitions)

    async def take_away(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def bring_back(self) -> None:
        await asyncio.to_thread(self.server.start)


class TestConfluentKafkaOnKafka(OnKafka):
    async def open(self) -> EventBus:
        return ConfluentBus(self.address)


class TestAioKafkaOnKafka(OnKafka):
    async def open(self) -> EventBus:
        return AioKafkaBus(self.address)
