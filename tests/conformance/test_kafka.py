"""The Kafka adapters keep every promise of the one suite on a real Apache Kafka, which is killed and started again."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import pytest

from onex.adapters.kafka.address import KafkaAddress, KafkaSecurity
from onex.adapters.kafka.aiokafka_bus import AioKafkaBus
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import EnumPublished, EventBus
from onex.kernel.errors import OnexError
from onex.testing.conformance import BusConformance
from onex.testing.conformance.bus import BusPlace, of_key, published, read_all, values
from onex.testing.conformance.suite import behaviour
from tests.servers.kafka_server import PASSWORD, KafkaServer


class OnKafka(BusConformance):
    server: ClassVar[KafkaServer]
    says: ClassVar[tuple[str, str, str]] = ("bootstrap", "bootstrap", "bootstrap")
    """Why a password, a missing certificate and an unknown authority are refused, as far as the client knows."""

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

    @property
    def secure_address(self) -> KafkaAddress:
        if not self.server.secure_servers:
            pytest.skip("no openssl here: no certificate for a listener with TLS")
        certificate = str(self.server.certificate)
        security = KafkaSecurity("SASL_SSL", "PLAIN", "onex", PASSWORD, certificate, certificate, str(self.server.key))
        return self.address._replace(servers=self.server.secure_servers, security=security)

    @behaviour
    async def test_with_tls_and_a_password_messages_come_and_go(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), self.bus_at(self.secure_address)
        try:
            await published(bus, of_key(topic, "k", "a", "b"))
            member = await bus.subscribe(f"{topic}-secure", [topic])
            assert values(await read_all(member, 2)) == ["a", "b"]
        finally:
            await bus.close()

    @behaviour
    async def test_who_cannot_log_in_or_show_a_certificate_publishes_and_reads_nothing(self, place: BusPlace) -> None:
        topic, right = await place.topic(), self.secure_address
        wrong = (
            right.security._replace(password="another"),
            right.security._replace(certificate="", key=""),
            right.security._replace(ca=""),
        )
        for security, why in zip(wrong, self.says, strict=True):
            bus = self.bus_at(right._replace(security=security))
            (answer,) = await bus.publish(of_key(topic, "k", "v"))
            assert answer.outcome is not EnumPublished.PUBLISHED
            assert why in answer.reason
            member = await bus.subscribe(f"{topic}-wrong", [topic])
            with pytest.raises(OnexError, match=why):
                async with asyncio.timeout(20):
                    while True:
                        await member.read(1)
            await bus.close()
        assert PASSWORD not in repr(right)

    @abstractmethod
    def bus_at(self, address: KafkaAddress) -> EventBus:
        """By the client under test."""

    async def open(self) -> EventBus:
        return self.bus_at(self.address)


class TestConfluentKafkaOnKafka(OnKafka):
    says = ("Invalid username or password", "certificate", "certificate")

    def bus_at(self, address: KafkaAddress) -> EventBus:
        return ConfluentBus(address)


@pytest.mark.long  # in `make test` this client keeps the same suite on librdkafka's mock cluster
class TestAioKafkaOnKafka(OnKafka):
    def bus_at(self, address: KafkaAddress) -> EventBus:
        return AioKafkaBus(address)
