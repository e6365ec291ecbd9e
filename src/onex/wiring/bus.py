"""The bus of an engine: a URL becomes an adapter, and the settings become what goes in and out over it.

``connect`` makes the services and starts them: one ``BusIntake``, and one ``EventPublisher`` for each shard. They end before their
engine does. The bus itself is closed last, and only if it was opened here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..adapters.memory.bus import MemoryBus
from ..bus import BusRefused, EventBus
from ..engine.bus.consumed_topics import TopicRoutes
from ..engine.bus.intake import BusIntake
from ..engine.bus.publisher import EventPublisher
from ..engine.bus.service import EventBusService
from ..engine.bus.topics import BusTopics
from ..engine.metrics import Events
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.message_signature import SharedKeys
from ..ports import Clock, Projections
from ..settings import Settings

MEMORY = "memory:"


def open_bus(url: str, settings: Settings) -> EventBus:
    """Connects at the first use. Raises BusRefused for a URL that is none, or a client that is not installed."""
    if url == MEMORY:
        return MemoryBus()
    try:
        from ..adapters.kafka.address import KafkaAddress, KafkaSecurity

        security = KafkaSecurity(
            settings.kafka_security_protocol.upper(),
            settings.kafka_sasl_mechanism.upper(),
            settings.kafka_sasl_username,
            settings.kafka_sasl_password,
            settings.kafka_ssl_ca,
            settings.kafka_ssl_certificate,
            settings.kafka_ssl_key,
        )
        session_s = settings.kafka_session_timeout_ms / 1000
        address = KafkaAddress.parse(url)._replace(session_timeout_s=session_s, security=security)
        if settings.kafka_client == "aiokafka":
            from ..adapters.kafka.aiokafka_bus import AioKafkaBus

            return AioKafkaBus(address)
        from ..adapters.kafka.confluent_bus import ConfluentBus

        return ConfluentBus(address)
    except ImportError as error:
        extra = "aiokafka" if settings.kafka_client == "aiokafka" else "kafka"
        raise BusRefused(
            f"a bus on Kafka needs a client, which is not here ({error}). Install the extra {extra} of your copy of ONEX: "
            f"pip install 'PATH/TO/ONEX[{extra}]'"
        ) from error


class ConnectedBus:
    """What an engine does with its bus. ``close`` it before the engine."""

    def __init__(
        self, service: EventBusService, intake: BusIntake, publishers: Sequence[EventPublisher], *, owned: bool
    ) -> None:
        self.service, self.intake, self.publishers, self._owned = service, intake, publishers, owned

    async def start(self) -> None:
        """Raises BusRefused."""
        await self.intake.start()
        for publisher in self.publishers:
            await publisher.start()

    async def close(self) -> None:
        """Nothing more comes in; what is committed is published, for some seconds at most."""
        try:
            await self.intake.close()
            await asyncio.gather(*(publisher.close() for publisher in self.publishers))
        finally:
            if self._owned:
                await self.service.close()


def bus_service(settings: Settings, bus: EventBus, clock: Clock, events: Events, topics: BusTopics) -> EventBusService:
    """With the keys of the settings. Raises ValidationError for keys that cannot be."""
    keys = SharedKeys.of(settings.bus_key, settings.bus_key_old) if settings.bus_key else None
    return EventBusService(bus, clock, events, topics, keys)


def connected_bus(
    engine: ReducerPatternEngine, tables: Projections, settings: Settings, bus: EventBus | str
) -> ConnectedBus:
    """Raises BusRefused, ValidationError for settings that cannot be."""
    topics = BusTopics.of(settings.topic_scheme)
    its = open_bus(bus, settings) if isinstance(bus, str) else bus
    service = bus_service(settings, its, engine.clock, engine.service.events, topics)
    asked = [name.strip() for name in settings.topics.split(",") if name.strip()] or [topics.commands]
    group = settings.kafka_consumer_group
    routes = TopicRoutes(asked, [row for one in engine.registry.workflows for row in one.consumed], topics)
    intake = BusIntake(engine.service, engine.wire, service, group, routes, others=engine.relay.others)
    publishers = [
        EventPublisher(
            service,
            engine.reader,
            tables,
            engine.shard_signals.of(shard),
            engine.clock,
            engine.registry,
            engine.service.events,
            engine.service.lose,
            shard=shard,
            keeps_log=settings.event_logs,
        )
        for shard in range(engine.store.shards)
    ]
    return ConnectedBus(service, intake, publishers, owned=isinstance(bus, str))
