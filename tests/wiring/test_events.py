"""Two nodes that know each other by a topic only: in one process on the bus of the process, and in two processes on Kafka.

The first publishes DataAvailableEvent, the second handles it twice: by a reducer of its own, and by a plain function.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import onex
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, BusRefused, EventBus
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.views.causes import Causes, causes_of
from onex.wiring import open_reader
from tests.servers.mock_kafka import MockKafka

WRITER = """
from typing import Literal

from onex import Action, DataAvailableEvent, Payload, State, Step, workflow


class Upload(State):
    status: Literal["waiting", "stored"] = "waiting"


class Store(Payload):
    place: str
    count: int


uploads = workflow("uploads", Upload)
ready = uploads.publishes("DataAvailableEvent", DataAvailableEvent, topic="lake.data.v1", key="data_location")


@uploads.on("waiting -> stored")
def store(now: Upload, action: Action[Store]) -> Step[Upload]:
    said = action.payload
    return Step(now, DataAvailableEvent(data_location=said.place, metadata={"count": said.count}))
"""
READER = """
from pathlib import Path
from typing import Literal

from onex import Action, DataAvailableEvent, State, Step, event_handler, workflow


class Table(State):
    status: Literal["empty", "loaded", "closed"] = "empty"
    rows: int = 0


tables = workflow("tables", Table)


@tables.event_handler("DataAvailableEvent", "empty | loaded -> loaded", topic="lake.data.v1", key="data_location")
def data_came(now: Table, action: Action[DataAvailableEvent]) -> Step[Table]:
    return Step(now.evolve(rows=now.rows + int(str(action.payload.metadata["count"]))))


tables.move("close", "loaded -> closed")


@event_handler("DataAvailableEvent", topic="lake.data.v1", retry=2)
async def write_down(event: DataAvailableEvent) -> None:
    \"\"\"A file that says what came.\"\"\"
    with Path(event.data_location).open("a") as file:
        file.write(f"{event.metadata['count']}\\n")
"""
TOPIC = "lake.data.v1"


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    made = MockKafka()
    try:
        for name in (TOPIC, f"{TOPIC}.dlq"):
            made.make_topic(name, 2)
        yield made
    finally:
        made.close()


def app(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


async def loaded(engine: onex.ReducerPatternEngine, place: Path, rows: int) -> None:
    """Both have handled the event: the reducer, and the function."""
    await engine.wait(f"tables:{place}", until="loaded")
    async with asyncio.timeout(20):
        while not await engine.reader.instances("write_down", "handled", None, 10):
            await asyncio.sleep(0.01)
    state = await engine.state(f"tables:{place}")
    assert state is not None and state.model_dump()["rows"] == rows
    assert await asyncio.to_thread(place.read_text) == f"{rows}\n"


def shown(found: Causes | None) -> list[tuple[str, str, str]]:
    assert found is not None
    return [(str(one.key), one.row.kind, one.row.issuer) for one in found.chain]


def test_two_nodes_of_one_process_meet_on_its_bus(tmp_path: Path) -> None:
    async def go() -> None:
        path = app(tmp_path, "lake", WRITER + READER)
        place, broker = tmp_path / "rows", MemoryBroker()
        async with await onex.open("memory:", path, bus=MemoryBus(broker)) as engine:
            await engine.submit("uploads:1", "store", {"place": str(place), "count": 5})
            await loaded(engine, place, 5)
            await resend(MemoryBus(broker))
            async with asyncio.timeout(20):
                while engine.counters.duplicates < 2:  # both readers have met it again
                    await asyncio.sleep(0.01)
            state = await engine.state(f"tables:{place}")
            assert state is not None and state.model_dump()["rows"] == 5  # the same event again
            found = await causes_of(engine.reader, WorkflowKey("tables", str(place)), 1)  # type: ignore[arg-type]  # a store
        assert shown(found) == [("uploads:1", "store", ""), (f"tables:{place}", "data_came", "uploads:1")]
        correlations = {one.row.correlation for one in (found.chain if found else ())}
        assert len(correlations) == 1
        assert found is not None and not found.broken

    asyncio.run(go())


def test_two_nodes_of_two_processes_meet_on_kafka_and_the_cause_is_followed_as_far_as_the_store_goes(
    tmp_path: Path, cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = f"kafka://{cluster.servers}"
    stores = [f"sqlite:///{tmp_path / name}.db" for name in ("writer", "reader")]
    place = tmp_path / "rows"
    monkeypatch.setenv("ONEX_TOPICS", TOPIC.replace("data", "commands"))
    cluster.make_topic(TOPIC.replace("data", "commands"), 1)
    words = [
        str(Path(sys.executable).with_name("onex")),
        "run",
        str(app(tmp_path, "writer", WRITER)),
        "--store",
        stores[0],
        "--bus",
        bus,
    ]
    writer = subprocess.Popen(words, env={**os.environ, "KAFKA_CONSUMER_GROUP": "writers"}, stdout=subprocess.DEVNULL)

    async def go() -> None:
        monkeypatch.setenv("KAFKA_CONSUMER_GROUP", "readers")
        async with await onex.open(stores[1], app(tmp_path, "reader", READER), bus=bus) as engine:
            async with await onex.connect(stores[0]) as client:
                done = await client.submit("uploads:1", "store", {"place": str(place), "count": 7}, timeout_s=30)
            await loaded(engine, place, 7)
            key = WorkflowKey("tables", str(place))
            here = await causes_of(engine.reader, key, 1)  # type: ignore[arg-type]  # a store
            assert shown(here) == [(str(key), "data_came", "uploads:1")]
            assert here is not None and here.broken.endswith("of uploads:1, whose log is not in this store")
            there = await open_reader(stores[0])
            row = (await there.history(done.key, 0, 1))[0].row
            assert here.chain[0].row.cause_id == row.action_id
            assert here.chain[0].row.correlation == row.correlation
            await there.close()

    try:
        asyncio.run(go())
    finally:
        writer.kill()
        writer.wait()


async def resend(bus: EventBus) -> None:
    """What is on the topic, again: with the ids that it had."""
    member = await bus.subscribe(f"again-{uuid4()}", [TOPIC])
    found = [one for _ in range(4) for one in await member.read(10)][:1]
    assert [OnexEnvelopeV1.from_bytes(one.value).event_type for one in found] == ["DataAvailableEvent"]
    await bus.publish([BusMessage(one.topic, one.key, one.value, one.headers) for one in found])


def test_an_app_that_reads_or_publishes_does_not_start_without_a_bus(tmp_path: Path) -> None:
    for name, text, says in (
        (
            "reader",
            READER,
            "tables reads lake.data.v1 from the bus, and this engine has none; give --bus, set ONEX_BUS",
        ),
        ("writer", WRITER, "the target 'event:DataAvailableEvent' publishes on the bus"),
    ):
        with pytest.raises(BusRefused, match=says):
            asyncio.run(opened(app(tmp_path, name, text)))


async def opened(path: Path) -> None:
    async with await onex.open("memory:", path):
        pass
