"""A message that ends its engine's process is read again. At three crashes it is quarantined, and its neighbours are applied."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import BusMessage
from onex.engine.bus.topics import BusTopics, dead_letter_topic
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.testing.conformance.bus import published, read_all
from onex.wiring import open_reader
from tests.servers.mock_kafka import MockKafka

APP = """
import os
from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Tally(State):
    status: Literal["open", "closed"] = "open"
    total: int = 0


class Add(Payload):
    n: int


tally = workflow("tally", Tally)


@tally.on("open -> open")
def add(state: Tally, action: Action[Add]) -> Step[Tally]:
    if action.payload.n == 13:
        os._exit(77)
    return Step(state.evolve(total=state.total + action.payload.n))
"""


def message(topic: str, key: str, n: int) -> BusMessage:
    envelope = OnexEnvelopeV1(envelope_id=UUID(int=n), event_type="add", payload={"n": n})
    return BusMessage(topic, key.encode(), envelope.to_bytes())


def test_a_message_that_kills_its_engine_three_times_is_quarantined(tmp_path: Path) -> None:
    cluster, topics = MockKafka(), BusTopics()
    cluster.make_topic(topics.commands, 1)
    cluster.make_topic(dead_letter_topic(topics.commands), 1)
    (tmp_path / "tally.py").write_text(APP)
    store = f"sqlite:///{tmp_path / 'store.db'}"
    onex = str(Path(sys.executable).with_name("onex"))
    words = [
        onex,
        "run",
        str(tmp_path / "tally.py"),
        "--store",
        store,
        "--bus",
        f"kafka://{cluster.servers}",
        "--quiet",
    ]
    environment = {**os.environ, "KAFKA_SESSION_TIMEOUT_MS": "1500"}
    engines: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, env=environment)

    async def go() -> None:
        bus = ConfluentBus(KafkaAddress(cluster.servers, 5.0, 1.5))
        await published(bus, [message(topics.commands, "tally:1", n) for n in (1, 13, 2)])
        await published(bus, [message(topics.commands, "tally:2", 3)])
        deaths: list[int] = []
        letters = await bus.subscribe("looking", [dead_letter_topic(topics.commands)])
        found = asyncio.create_task(read_all(letters, 1))
        while not found.done():
            engines.append(start())
            ended = asyncio.create_task(asyncio.to_thread(engines[-1].wait))
            await asyncio.wait((ended, found), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                deaths.append(ended.result())
                assert len(deaths) <= 3
            else:
                (letter,) = found.result()
                assert dict(letter.headers)["onex-reason-code"] == b"killed_its_process"
                assert letter.value == message(topics.commands, "tally:1", 13).value
                reader = await open_reader(store)
                async with asyncio.timeout(30):
                    while (await reader.counts()).actions < 3:
                        await asyncio.sleep(0.02)
                history = await reader.history(WorkflowKey("tally", "1"), 0, 9)
                assert [json.loads(entry.row.payload)["n"] for entry in history] == [1, 2]
                (refusal,) = await reader.rejections(None, None, 0, 9)
                assert (refusal.code, UUID(bytes=refusal.action_id)) == ("killed_its_process", UUID(int=13))
                await reader.close()
                engines[-1].send_signal(signal.SIGTERM)
                await ended
        assert deaths == [77, 77, 77]
        await bus.close()

    try:
        asyncio.run(go())
    finally:
        for engine in engines:
            engine.kill()
            engine.wait()
        cluster.close()
