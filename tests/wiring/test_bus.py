"""`onex.open(..., bus=...)`: actions come in and events go out, and what cannot be meant is refused before anything runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import onex
from onex.adapters.kafka.aiokafka_bus import AioKafkaBus
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, BusRefused
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import ValidationError
from onex.settings import InvalidSetting, Settings, read_settings
from onex.wiring.bus import open_bus
from tests.servers.postgres_server import PostgresServer
from tests.wiring.test_kafka_app import APP

SECRET = "a shared key of at least 16"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "tally.py"
    path.write_text(APP)
    return path


def test_an_action_comes_in_and_its_events_go_out(app: Path) -> None:
    async def go() -> None:
        broker, topics = MemoryBroker(), BusTopics()
        bus = MemoryBus(broker)
        command = OnexEnvelopeV1(envelope_id=uuid4(), event_type="add", payload={"n": 4}).to_bytes()
        async with await onex.open("memory:", app, bus=bus) as engine:
            await bus.publish([BusMessage(topics.commands, b"tally:1", command)])
            assert (await engine.wait("tally:1", until="odd")).version == 1
        member = await MemoryBus(broker).subscribe("looking", [topics.event(EnumBusEvent.WORKFLOW_STARTED)])
        (told,) = await member.read(10)
        assert OnexEnvelopeV1.from_bytes(told.value).payload["workflow_key"] == "tally:1"
        await bus.publish([])  # it belongs to the caller, and is open

    asyncio.run(go())


def test_every_shard_of_a_store_is_told(app: Path, postgres: PostgresServer) -> None:
    async def go() -> None:
        broker, topics = MemoryBroker(), BusTopics()
        url = f"{postgres.url(f's{uuid4().hex[:12]}')}&shards=8"
        for first in (0, 20):
            async with await onex.open(url, app, bus=MemoryBus(broker)) as engine:
                for key in range(first, first + 20):
                    await engine.submit(f"tally:{key}", "add", {"n": 1})
        member = await MemoryBus(broker).subscribe("looking", [topics.event(EnumBusEvent.WORKFLOW_STARTED)])
        envelopes = [OnexEnvelopeV1.from_bytes(one.value) for one in await member.read(1000)]
        told = list({one.envelope_id: one.payload for one in envelopes}.values())
        assert sorted(str(one["workflow_key"]) for one in told) == sorted(f"tally:{key}" for key in range(40))
        assert len({str(one["position"]).split(":")[0] for one in told}) > 1

    asyncio.run(go())


def test_the_record_of_what_was_published_is_no_projection_of_the_user(app: Path) -> None:
    async def go() -> None:
        async with await onex.open("memory:", app) as engine:
            with pytest.raises(ValidationError, match="use another name"):
                await engine.materialize("event_logs")

    asyncio.run(go())


def test_a_bus_is_known_by_its_url_and_its_client_by_the_settings() -> None:
    assert isinstance(open_bus("kafka://localhost:9092", Settings()), ConfluentBus)
    asyncio.run(_aiokafka())
    assert isinstance(open_bus("memory:", Settings()), MemoryBus)


async def _aiokafka() -> None:
    assert isinstance(open_bus("kafka://[::1]:9092,b:1", Settings(kafka_client="aiokafka")), AioKafkaBus)


@pytest.mark.parametrize(
    "url", ["localhost:9092", "kafka://", "kafka://host", "kafka://a:1,", "redis://a:1", "kafka://a b:1"]
)
def test_what_is_no_bus_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(BusRefused, match="kafka://localhost:9092"):
        open_bus(url, Settings())


@pytest.mark.parametrize("client", ["confluent", "aiokafka"])
def test_a_client_that_is_not_installed_is_named_with_its_extra(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, {"confluent": "confluent_kafka"}.get(client, client), None)
    for module in ("confluent_bus", "confluent_subscription", "errors", "aiokafka_bus"):
        monkeypatch.delitem(sys.modules, f"onex.adapters.kafka.{module}", raising=False)
    with pytest.raises(BusRefused, match=r"pip install 'PATH/TO/ONEX\[(kafka|aiokafka)\]'"):
        open_bus("kafka://localhost:9092", Settings(kafka_client=client))


@pytest.mark.parametrize(
    "scheme", ["{kind}", "a.{name}", "{kind} {name}", "ä.{kind}.{name}", "{kind}.{name}" + "x" * 240]
)
def test_a_scheme_that_gives_no_topics_is_refused(app: Path, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_TOPIC_SCHEME", scheme)
    with pytest.raises(BusRefused, match="scheme"):
        asyncio.run(_opened(app))


def test_a_short_secret_is_refused(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_BUS_KEY", "short")
    with pytest.raises(ValidationError, match="16 bytes"):
        asyncio.run(_opened(app))


async def _opened(app: Path) -> None:
    engine = await onex.open("memory:", app, bus="memory:")
    await engine.close()


def test_settings_of_the_seeds_have_their_names_and_defaults() -> None:
    plain = read_settings({})
    assert (plain.bus_url, plain.kafka_consumer_group, plain.kafka_client) == ("", "omninode-bridge", "confluent")
    assert plain.kafka_auto_commit
    set_ones = read_settings(
        {"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2", "KAFKA_CONSUMER_GROUP": "g", "KAFKA_CLIENT": "aiokafka"}
    )
    assert (set_ones.bus_url, set_ones.kafka_consumer_group, set_ones.kafka_client) == (
        "kafka://a:1,b:2",
        "g",
        "aiokafka",
    )
    assert read_settings({"KAFKA_BOOTSTRAP_SERVERS": "a:1", "ONEX_BUS": "kafka://c:3"}).bus_url == "kafka://c:3"
    assert SECRET not in repr(read_settings({"ONEX_BUS_KEY": SECRET, "ONEX_BUS_KEY_OLD": SECRET}))


@pytest.mark.parametrize(("name", "value"), [("KAFKA_AUTO_COMMIT", "false"), ("KAFKA_CLIENT", "librdkafka")])
def test_what_kafka_cannot_be_told_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        read_settings({name: value})
