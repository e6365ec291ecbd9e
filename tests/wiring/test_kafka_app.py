"""An app on a real Kafka: engines and the broker are killed, and every message is applied once, in order, and told in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import pytest

import onex
from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import BusMessage
from onex.engine.bus.publisher import EVENT_LOGS
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import OnexError
from onex.kernel.message_signature import SharedKeys
from onex.testing.conformance.bus import published, taken
from onex.wiring import ReadableStore, open_reader
from tests.servers.kafka_server import KafkaServer

APP = """
from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Tally(State):
    status: Literal["even", "odd", "closed"] = "even"
    total: int = 0


class Add(Payload):
    n: int


tally = workflow("tally", Tally)


@tally.on("even -> odd", "odd -> even")
def add(state: Tally, action: Action[Add]) -> Step[Tally]:
    return Step(state.evolve(total=state.total + action.payload.n))


tally.move("close", "even | odd -> closed")
"""
KEYS, EACH = 12, 30
SECRET = "a shared key of at least 16"
WAIT_S = 90.0


class KafkaApp:
    """The app in a folder, its topics, and engines that run in processes of their own."""

    def __init__(self, server: KafkaServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        name = f"t{uuid4().hex[:8]}"
        self.topics = BusTopics(f"{name}.{{kind}}.{{name}}.v1")
        self.app = folder / "tally.py"
        self.app.write_text(APP)
        self.store = f"sqlite:///{folder / 'store.db'}"
        server.make_topics([self.topics.commands, f"{self.topics.commands}.dlq"], 3)
        server.make_topics([self.topics.event(one) for one in EnumBusEvent], 3)
        self.environment = {
            **os.environ,
            "ONEX_TOPIC_SCHEME": self.topics.scheme,
            "KAFKA_BOOTSTRAP_SERVERS": server.servers,
            "KAFKA_CONSUMER_GROUP": name,
            "KAFKA_SESSION_TIMEOUT_MS": "1500",
            "ONEX_BUS_KEY": SECRET,
        }

    def start(self) -> subprocess.Popen[bytes]:
        onex = str(Path(sys.executable).with_name("onex"))
        words = [onex, "run", str(self.app), "--store", self.store, "--quiet", "--json"]
        return subprocess.Popen(words, env=self.environment, stdout=subprocess.DEVNULL)

    def message(self, key: int, n: int) -> BusMessage:
        text = f"tally:{key}"
        made = uuid5(UUID(int=1), f"{self.topics.scheme}/{key}/{n}")
        value = OnexEnvelopeV1(envelope_id=made, event_type="add", source_service="test", payload={"n": n}).to_bytes()
        signature = SharedKeys.of(SECRET).header(self.topics.commands, text.encode(), value)
        return BusMessage(self.topics.commands, text.encode(), value, (signature,))

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[ConfluentBus]:
        bus = ConfluentBus(KafkaAddress(self.server.servers, publish_timeout_s=3.0, session_timeout_s=2.0))
        try:
            yield bus
        finally:
            await bus.close()

    async def reader(self) -> ReadableStore:
        """The store, once the first engine has made it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    return await open_reader(self.store)
                except OnexError:
                    await asyncio.sleep(0.05)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


async def rows(reader: ReadableStore, number: int) -> None:
    """Returns when so many actions are applied."""
    async with asyncio.timeout(WAIT_S):
        while (await reader.counts()).actions < number:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("client", ["confluent", pytest.param("aiokafka", marks=pytest.mark.long)])
def test_killed_engines_and_a_killed_broker_lose_nothing_double_nothing_and_keep_each_order(
    kafka: KafkaServer, tmp_path: Path, client: str
) -> None:
    one = KafkaApp(kafka, tmp_path)
    one.environment["KAFKA_CLIENT"] = client
    third = EACH // 3
    waves = [
        [one.message(key, n) for n in range(at, at + third) for key in range(KEYS)] for at in range(0, EACH, third)
    ]

    async def go() -> None:
        engine = one.start()
        try:
            async with one.bus() as bus:
                await published(bus, waves[0])
                reader = await one.reader()
                await rows(reader, 20)
                kill(engine)
                engine = one.start()
                await published(bus, waves[1])
                await rows(reader, KEYS * third + 20)
                await asyncio.to_thread(kafka.kill)  # what was read is applied, and no offset can be committed
                late = asyncio.create_task(published(bus, waves[2]))
                client = await onex.connect(one.store)
                assert (await client.submit("tally:alone", "add", {"n": 1})).version == 1  # the engine goes on
                await client.close()
                kill(engine)
                await asyncio.to_thread(kafka.start)
                engine = one.start()
                await late
                await rows(reader, KEYS * EACH + 1)
                async with asyncio.timeout(WAIT_S):
                    while await reader.watermark(EVENT_LOGS, 0) < KEYS * EACH + 1:
                        await asyncio.sleep(0.05)
                told = await _told(bus, one)
                await _check(reader, one, told)
                await reader.close()
                engine.send_signal(signal.SIGTERM)
                await asyncio.to_thread(engine.wait)
        finally:
            if engine.poll() is None:
                kill(engine)

    asyncio.run(go())


async def _told(bus: ConfluentBus, one: KafkaApp) -> list[OnexEnvelopeV1]:
    """Every change of status that was published, in order, each once. Each is signed."""
    topic = one.topics.event(EnumBusEvent.WORKFLOW_STATE_TRANSITION)
    member = await bus.subscribe("test-reads-events", [topic])
    found: dict[UUID, OnexEnvelopeV1] = {}
    async with asyncio.timeout(WAIT_S):
        while len(found) < KEYS * EACH + 1:
            for message in await taken(member, 500):
                SharedKeys.of(SECRET).check(topic, message.key, message.value, message.headers)
                envelope = OnexEnvelopeV1.from_bytes(message.value)
                found.setdefault(envelope.envelope_id, envelope)
    return list(found.values())


async def _check(reader: ReadableStore, one: KafkaApp, told: list[OnexEnvelopeV1]) -> None:
    for key in range(KEYS):
        stored = await reader.history(WorkflowKey("tally", str(key)), 0, 10_000)
        assert [json.loads(entry.row.payload)["n"] for entry in stored] == list(range(EACH))
        assert [UUID(bytes=entry.row.action_id) for entry in stored] == [
            OnexEnvelopeV1.from_bytes(one.message(key, n).value).envelope_id for n in range(EACH)
        ]
    versions: dict[str, list[object]] = defaultdict(list)
    for envelope in told:
        versions[str(envelope.partition_key)].append(envelope.payload["version"])
    told_of = {f"tally:{key}": list(range(1, EACH + 1)) for key in range(KEYS)}
    assert versions == {**told_of, "tally:alone": [1]}
    assert await reader.rejections(None, None, 0, 10) == []
