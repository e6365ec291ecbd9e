"""What was committed is published: at least once, in order per instance, whatever the bus does meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import pytest

from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, EnumPublished, Publication, ReceivedMessage
from onex.engine.bus.publisher import EVENT_LOGS, EventPublisher
from onex.engine.bus.service import EventBusService
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.engine.log_tail import ShardSignals
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import StateConsistencyError
from onex.kernel.message_signature import SharedKeys
from onex.ports import LogEntry, Position, Projections
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Start

TOPICS = BusTopics()
KEYS = SharedKeys.of("a shared key of at least 16")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def tables(engine: ReducerPatternEngine) -> Projections:
    return engine.store  # type: ignore[return-value]  # both embedded stores keep projections too


def publisher(
    engine: ReducerPatternEngine, bus: EventBusService, batch: int = 3, *, log: bool = False
) -> EventPublisher:
    return EventPublisher(
        bus, engine.reader, tables(engine), engine.commit_signal, engine.clock, engine.registry, engine.service.events,
        engine.service.lose, batch=batch, keeps_log=log,
    )  # fmt: skip


async def read(broker: MemoryBroker, *events: EnumBusEvent) -> list[ReceivedMessage]:
    """All there is of these topics; of each its messages in order."""
    topics = [TOPICS.event(one) for one in events or EnumBusEvent]
    member = await MemoryBus(broker).subscribe("looking", topics)
    found: list[ReceivedMessage] = []
    while some := await member.read(1000):
        found += some
    await member.close()
    del broker.groups["looking"]
    return found


def envelopes(messages: Sequence[ReceivedMessage]) -> list[OnexEnvelopeV1]:
    return [OnexEnvelopeV1.from_bytes(one.value) for one in messages]


class FlakyBus(MemoryBus):
    """A bus that publishes as many messages as it is told, then answers with ``outcome``."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.takes: list[int] = []
        self.outcome = EnumPublished.FAILED
        self.calls = 0

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        self.calls += 1
        most = self.takes.pop(0) if self.takes else len(messages)
        taken = list(await super().publish(messages[:most]))
        return taken + [Publication(self.outcome, reason="told so")] * (len(messages) - len(taken))


def test_the_life_of_an_instance_is_told_by_events(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            service = EventBusService(MemoryBus(broker), engine.clock, engine.service.events, keys=KEYS)
            await engine.submit("job:1", "start", Start(text="x"), issuer="cli")
            stored = await engine.wait("job:1")
            assert stored.status == "done"
            assert await publisher(engine, service).catch_up() == 2
            found = await read(broker)
            told = [(one.event_type, one.payload["version"], one.payload["status"]) for one in envelopes(found)]
            assert sorted(told) == sorted(
                [
                    ("workflow_started", 1, "working"),
                    ("workflow_state_transition", 1, "working"),
                    ("state_committed", 1, "working"),
                    ("workflow_step_completed", 2, "done"),
                    ("workflow_state_transition", 2, "done"),
                    ("workflow_completed", 2, "done"),
                    ("state_committed", 2, "done"),
                ]
            )
            for one in found:
                KEYS.check(one.topic, one.key, one.value, one.headers)
                assert one.key == b"job:1"
            moved = {one.payload["version"]: one.payload for one in envelopes(found) if "from_status" in one.payload}
            assert {version: one["from_status"] for version, one in moved.items()} == {1: None, 2: "working"}
            assert len({one.correlation_id for one in envelopes(found)}) == 1
            assert await publisher(engine, service).catch_up() == 0

    run(go())


def test_a_failed_effect_ends_as_a_failed_workflow(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            service = EventBusService(MemoryBus(broker), engine.clock, engine.service.events)
            await engine.submit("job:1", "start", Start(text="refuse"))
            assert (await engine.wait("job:1")).status == "failed"
            await publisher(engine, service).catch_up()
            ended = await read(broker, EnumBusEvent.WORKFLOW_COMPLETED, EnumBusEvent.WORKFLOW_FAILED)
            assert [one.event_type for one in envelopes(ended)] == ["workflow_failed"]

    run(go())


def test_after_every_failure_the_order_of_each_instance_stands_and_no_event_is_lost(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            bus = FlakyBus(broker)
            for n in range(30):
                await engine.submit(f"job:{n % 3}", "add", Add(amount=100 + n))
            for outcome in (EnumPublished.FAILED, EnumPublished.UNKNOWN):
                bus.outcome, bus.takes = outcome, [2, 0, 1, 0, 4, 0, 0, 3]
                one = publisher(engine, EventBusService(bus, engine.clock, engine.service.events))
                await tables(engine).project(EVENT_LOGS, 0, await tables(engine).watermark(EVENT_LOGS, 0), 0, [])
                await one.start()
                async with asyncio.timeout(15):
                    while await tables(engine).watermark(EVENT_LOGS, 0) < 30:
                        await asyncio.sleep(0.02)
                await one.close()
                firsts: dict[bytes, dict[int, None]] = defaultdict(dict)
                for message in await read(broker, EnumBusEvent.STATE_COMMITTED):
                    firsts[message.key].setdefault(int(str(envelopes([message])[0].payload["version"])))
                assert {key: list(of) for key, of in firsts.items()} == {
                    f"job:{n}".encode(): list(range(1, 11)) for n in range(3)
                }
                broker.topics.clear()

    run(go())


def test_published_again_an_event_has_the_same_bytes(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            service = EventBusService(MemoryBus(broker), engine.clock, engine.service.events)
            await engine.submit("job:1", "add", Add(amount=1))
            await publisher(engine, service).catch_up()
            await tables(engine).project(EVENT_LOGS, 0, 1, 0, [])  # as a crash before the watermark leaves it
            await publisher(engine, service).catch_up()
            found = await read(broker)
            assert len(found) == 6
            assert len({one.value for one in found}) == 3

    run(go())


def test_an_event_that_is_refused_for_good_is_passed_over_alone(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            bus = FlakyBus(broker)
            for n in range(4):
                await engine.submit("job:1", "add", Add(amount=100 + n))
            bus.takes, bus.outcome = [3], EnumPublished.REJECTED
            await publisher(engine, EventBusService(bus, engine.clock, engine.service.events), batch=2).catch_up()
            assert await tables(engine).watermark(EVENT_LOGS, 0) == 4
            versions = [one.payload["version"] for one in envelopes(await read(broker, EnumBusEvent.STATE_COMMITTED))]
            assert versions == [1, 3, 4]

    run(go())


def test_a_bus_that_is_away_is_left_alone_and_the_engine_goes_on(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            bus = FlakyBus(MemoryBroker())
            bus.takes = [0] * 1000
            service = EventBusService(bus, engine.clock, engine.service.events)
            letter = BusMessage("t", b"k", b"v")
            for _ in range(50):
                (answer,) = await service.publish_messages([letter])
                assert answer.outcome is EnumPublished.FAILED
            assert bus.calls == 3
            assert service.retry_after_s > 0
            assert (await engine.submit("job:1", "add", Add(amount=1))).version == 1

    run(go())


def test_what_was_published_can_be_looked_up(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            service = EventBusService(MemoryBus(), engine.clock, engine.service.events)
            done = await engine.submit("job:1", "add", Add(amount=1))
            await publisher(engine, service, log=True).catch_up()
            topic = TOPICS.event(EnumBusEvent.STATE_COMMITTED)
            (row,) = await tables(engine).projected(EVENT_LOGS, topic, None, 10)
            assert row.last_action == "state_committed"
            for part in (
                b'"status":"published"',
                b'"workflow_key":"job:1"',
                b'"correlation_id"',
                b'"processing_time_ms"',
            ):
                assert part in row.fields
            assert len(await tables(engine).projected(EVENT_LOGS, None, None, 10)) == 3
            assert done.version == 1

    run(go())


class DamagedLog:
    """The log of an engine with the action id of its second row cut short."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self._engine = engine

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        rows = await self._engine.reader.log(after, limit)
        return [one._replace(row=one.row._replace(action_id=b"short")) if one.position.n == 2 else one for one in rows]


def test_a_damaged_row_stops_the_publisher_aloud_and_not_the_engine(one_store: OneStore) -> None:
    async def go() -> None:
        broker = MemoryBroker()
        async with one_store.engine() as engine:
            for n in range(3):
                await engine.submit(f"job:{n}", "add", Add(amount=1))
            one = publisher(engine, EventBusService(MemoryBus(broker), engine.clock, engine.service.events), batch=1)
            one.reader = DamagedLog(engine)  # type: ignore[assignment]  # the one method that is called
            with pytest.raises(StateConsistencyError, match=r"0:2 \(job:1\)"):
                await one.catch_up()
            told = {one.payload["workflow_key"] for one in envelopes(await read(broker))}
            assert told == {"job:0"}
            assert (await engine.submit("job:9", "add", Add(amount=1))).version == 1

    run(go())


def test_a_commit_wakes_who_follows_its_shards_and_nobody_else() -> None:
    signals = ShardSignals()
    one, other = signals.of(1), signals.of(2)
    signals.notify([1, 3])
    assert (one.count, other.count, signals.of(3).count, signals.of(1) is one) == (1, 0, 0, True)
