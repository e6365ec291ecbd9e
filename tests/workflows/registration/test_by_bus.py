"""Registration by a bus: a node tells of itself on the topics of the design papers, and answers when the registry asks.

First in virtual time on the bus of the process, then on a real Kafka with a real Consul and a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, ReceivedMessage
from onex.engine.bus.consumed_topics import TopicRoutes
from onex.engine.bus.intake import BusIntake
from onex.engine.bus.message_publish import MessagePublishEffect
from onex.engine.bus.service import EventBusService
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.testing.virtual_time import VirtualRun, virtual
from onex.wiring.bus_registration import BusNode
from onex.wiring.self_registration import EngineNode, registered
from onex.workflows.registration.payloads import Registration
from tests.servers.kafka_server import KafkaServer
from tests.workflows.registration.directories import Directories
from tests.workflows.registration.test_phases import APP, AT, NODE, event, triggers
from tests.workflows.registration.test_real_directories import World, world

__all__ = ["world"]  # the fixture
TOPICS = BusTopics()
ASKED = EnumBusEvent.REGISTRY_REQUEST_INTROSPECTION
TARGET = f"event:{ASKED.value}"


class Bridge:
    """The registration in virtual time with a bus, and one node that is driven by hand."""

    def __init__(self, run: VirtualRun, broker: MemoryBroker, directories: Directories) -> None:
        self.run, self.broker, self.directories = run, broker, directories
        self.minute = 0
        service = EventBusService(MemoryBus(broker), run.engine.clock, run.engine.service.events)
        self.node = BusNode("node-1", lambda: event(self.minute), service, self.now)

    def now(self) -> datetime:
        return AT + timedelta(minutes=self.minute)

    def told(self, event_type: str, payload: dict[str, JsonValue], of: UUID | None = None) -> BusMessage:
        envelope = OnexEnvelopeV1(envelope_id=of or uuid4(), event_type=event_type, payload=payload)
        return BusMessage(TOPICS.named(event_type), b"node-1", envelope.to_bytes())

    def publish(self, *messages: BusMessage) -> None:
        self.run.run(MemoryBus(self.broker).publish(messages))
        self.run.skip(seconds=2)

    def do(self, *calls: object) -> None:
        for call in calls:
            self.run.run(call)  # type: ignore[arg-type]  # a coroutine of the node
        self.run.skip(seconds=2)


@contextmanager
def bridge() -> Iterator[Bridge]:
    directories, broker = Directories(), MemoryBroker()
    asks = MessagePublishEffect(MemoryBus(broker), TOPICS.event(ASKED))
    with virtual(APP, executors={**directories.executors, TARGET: asks}, start=AT) as run:
        engine = run.engine
        service = EventBusService(MemoryBus(broker), engine.clock, engine.service.events)
        rows = [row for one in run.app.workflows.values() for row in one.consumed]
        intake = BusIntake(engine.service, engine.wire, service, "registry", TopicRoutes([], rows, TOPICS))
        run.run(intake.start())
        try:
            yield Bridge(run, broker, directories)
        finally:
            run.run(intake.close())


def test_a1_a_node_introduces_itself_on_the_topic_and_is_registered() -> None:
    with bridge() as one:
        one.do(one.node.introduce())
        assert one.run.state(NODE).status == "complete"
        assert one.directories.records["node-1"]["node_version"] == "1.2.0"
        assert one.run.history(NODE)[0].row.issuer == "node-1"


def test_a2_the_registry_asks_a_node_that_it_does_not_know_and_the_answer_keeps_the_correlation() -> None:
    with bridge() as one:
        one.do(one.node.beat())  # a heartbeat of a node that nobody has introduced
        assert one.run.state(NODE).status == "unseen"
        one.do(one.node.answer())
        assert one.run.state(NODE).status == "complete"
        rows = {entry.row.kind: entry.row for entry in one.run.history(NODE)}
        assert rows["introspected"].correlation == rows["beat"].correlation
        asked = request_of(one)
        assert rows["introspected"].cause_id == asked.envelope_id.bytes
        assert asked.causation_id is not None and asked.causation_id.bytes == rows["beat"].action_id


def test_a2_a_node_that_is_asked_tells_what_is_new_and_one_that_was_asked_before_it_started_does_not() -> None:
    with bridge() as one:
        one.do(one.node.introduce())
        one.run.submit(NODE, "ask")
        one.minute = 5
        one.do(one.node.answer())
        state = one.run.state(NODE, Registration)
        assert state.node is not None and state.node.timestamp == one.now()
        late = BusNode("node-1", lambda: event(9), one.node._bus, lambda: AT + timedelta(days=1))
        late_answers = one.run.run(late.answer())
        other = BusNode("node-2", lambda: event(9), one.node._bus, one.now)
        assert (late_answers, one.run.run(other.answer())) == (0, 0)


def test_what_comes_twice_or_late_on_the_topics_changes_nothing() -> None:
    with bridge() as one:
        first = one.told("node_introspection", event(5), UUID(int=5))
        one.publish(first)
        calls = list(one.directories.calls)
        beats = [one.told("node_heartbeat", {"timestamp": (AT + timedelta(minutes=m)).isoformat()}) for m in (7, 6, 4)]
        one.publish(first, one.told("node_introspection", event(5)), one.told("node_introspection", event(3)), *beats)
        state = one.run.state(NODE, Registration)
        assert state.node is not None and state.beat_at is not None
        assert (state.node.timestamp, state.beat_at) == (AT + timedelta(minutes=5), AT + timedelta(minutes=7))
        assert one.directories.calls == calls
        assert triggers(one.run).count("introspected") == 3, "the same message again is no action"


def test_a_node_that_says_it_goes_or_falls_silent_is_taken_out_and_comes_back_by_its_next_heartbeat() -> None:
    with bridge() as one:
        one.do(one.node.introduce(), one.node.leave("maintenance"))
        assert one.run.state(NODE).status == "deregistered"
        assert one.directories.empty
        one.minute = 1
        one.do(one.node.beat())
        one.do(one.node.answer())
        assert one.run.state(NODE).status == "complete"
        one.run.skip(seconds=91)
        assert one.run.state(NODE).status == "deregistered"


@pytest.mark.parametrize(
    ("event_type", "payload", "code"),
    [
        ("node_introspection", {"node_id": "node-1"}, "invalid_payload"),
        ("node_introspection", {"node_name": "writer"}, "invalid_key"),
        ("node_heartbeat", {"timestamp": "yesterday"}, "invalid_payload"),
    ],
)
def test_what_is_no_event_of_a_node_is_a_dead_letter(event_type: str, payload: dict[str, JsonValue], code: str) -> None:
    with bridge() as one:
        one.publish(one.told(event_type, payload))
        (letter,) = [one for part in one.broker.topic(f"{TOPICS.named(event_type)}.dlq") for one in part.messages]
        assert dict(letter.headers)["onex-reason-code"] == code.encode()


def request_of(one: Bridge) -> OnexEnvelopeV1:
    (asked,) = [message for part in one.broker.topic(TOPICS.event(ASKED)) for message in part.messages]
    return OnexEnvelopeV1.from_bytes(asked.value)


# --- on real servers --------------------------------------------------------------------------------------------------


def test_two_ways_on_a_real_kafka_consul_and_postgresql(
    world: World, kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node registers by Kafka, is taken out behind its back, and is asked, answers and stands in both directories again."""
    scheme = f"t{uuid4().hex[:8]}.{{kind}}.{{name}}.v1"
    topics = BusTopics(scheme)
    kafka.make_topics([topics.commands, *(topics.event(one) for one in EnumBusEvent), topics.named("node_shutdown")], 2)
    for name, value in (("ONEX_TOPIC_SCHEME", scheme), ("KAFKA_CONSUMER_GROUP", scheme[:9])):
        monkeypatch.setenv(name, value)
    node, told = EngineNode(world.node, "shop", "1.2.0", ("orders",), "127.0.0.1:8080"), list[str]()
    bus = f"kafka://{kafka.servers}"

    async def go() -> None:
        store = f"sqlite:///{tmp_path / 'nodes.db'}"
        async with await onex.open(store, "onex:registration", bus=bus) as engine:
            async with registered(node, bus, told.append, 0.2):
                await engine.wait(world.key, until="complete", timeout_s=60)
                await engine.submit(world.key, "deregister", {"reason": "by mistake"})
                await engine.wait(world.key, until="deregistered", timeout_s=30)
                await engine.wait(world.key, until="complete", timeout_s=60)
            await engine.wait(world.key, until="deregistered", timeout_s=60)
            rows = [entry.row for entry in await engine.reader.history(WorkflowKey.parse(world.key), 0, 500)]
            answers = [row for row in rows if row.kind == "introspected" and row.cause_id is not None]
            beats = {row.correlation for row in rows if row.kind == "beat"}
            assert answers and all(row.correlation in beats for row in answers)
            await again(engine)
        assert told == []

    async def again(engine: onex.ReducerPatternEngine) -> None:
        """All that the node has told, once more: nothing of it is new."""
        version = (await engine.stored(world.key) or pytest.fail("it is there")).version
        client = ConfluentBus(KafkaAddress(kafka.servers))
        member = await client.subscribe("again", [topics.event(EnumBusEvent.NODE_INTROSPECTION)])
        found: list[ReceivedMessage] = []
        async with asyncio.timeout(30):
            while len(found) < 2:
                found += await member.read(100)
        before = engine.counters.duplicates
        await client.publish([BusMessage(one.topic, one.key, one.value, one.headers) for one in found])
        async with asyncio.timeout(30):
            while engine.counters.duplicates < before + len(found):
                await asyncio.sleep(0.05)
        await client.close()
        assert (await engine.stored(world.key) or pytest.fail("it is there")).version == version

    asyncio.run(go())
