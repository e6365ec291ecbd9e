"""Messages of a bus become actions: once, in order per key, and an offset is committed only after what it caused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.bus import BusMessage, EnumPublished, ReceivedMessage, TopicPartition
from onex.engine.bus.consumed_topics import TopicRoutes
from onex.engine.bus.intake import BusIntake
from onex.engine.bus.message import message_id, read_message
from onex.engine.bus.open_messages import OpenMessages
from onex.engine.bus.service import EventBusService
from onex.engine.bus.topics import ConsumedTopic
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import InvalidKey, InvalidPayload, PayloadTooLarge
from onex.kernel.membership import Worker as WorkerOfStore
from onex.kernel.message_signature import InvalidSignature, SharedKeys
from onex.kernel.route import shard_of
from onex.simulation.host import Host
from onex.simulation.seeded_run import Sim
from onex.simulation.seeded_run import run as simulated
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import Worker, registry

TOPIC, GROUP = "actions", "engines"
KEYS = SharedKeys.of("a shared key of at least 16")


def add(key: str, amount: int = 1, *, of: UUID | None = None, keys: SharedKeys | None = None) -> BusMessage:
    envelope = OnexEnvelopeV1(
        envelope_id=of or uuid4(), event_type="add", source_service="shop", payload={"amount": amount}
    )
    value = envelope.to_bytes()
    headers = () if keys is None else (keys.header(TOPIC, key.encode(), value),)
    return BusMessage(TOPIC, key.encode(), value, headers)


class Line:
    """A broker, and engines that read from it one after the other. ``rows`` are the events that they read, of ``topic``."""

    rows: tuple[ConsumedTopic, ...] = ()
    topic = TOPIC

    def __init__(self, store: OneStore) -> None:
        self.store = store
        self.broker = MemoryBroker(partitions=2)
        self.keys: SharedKeys | None = None

    async def send(self, *messages: BusMessage) -> None:
        answers = await MemoryBus(self.broker).publish(messages)
        assert {one.outcome for one in answers} == {EnumPublished.PUBLISHED}

    @asynccontextmanager
    async def engine(self, **options: float) -> AsyncIterator[ReducerPatternEngine]:
        async with self.store.engine() as engine:
            service = EventBusService(MemoryBus(self.broker), engine.clock, engine.service.events, keys=self.keys)
            routes = TopicRoutes([TOPIC], self.rows)
            intake = BusIntake(engine.service, engine.wire, service, GROUP, routes, **options)  # type: ignore[arg-type]  # two numbers
            await intake.start()
            try:
                yield engine
            finally:
                await intake.close()
                await service.close()

    async def all_read(self) -> None:
        """Returns when the group has committed everything."""
        async with asyncio.timeout(15):
            while self.left():
                await asyncio.sleep(0.01)

    def left(self) -> int:
        group = self.broker.groups.get(GROUP)
        committed = group.committed if group is not None else {}
        ends = {TopicPartition(self.topic, n): one.end for n, one in enumerate(self.broker.topic(self.topic))}
        return sum(end - committed.get(at, 0) for at, end in ends.items())

    async def dead_letters(self) -> list[ReceivedMessage]:
        member = await MemoryBus(self.broker).subscribe("looking", [f"{self.topic}.dlq"])
        return list(await member.read(100))


@pytest.fixture
def line(one_store: OneStore) -> Line:
    return Line(one_store)


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def test_messages_of_many_keys_are_applied_in_the_order_of_each(line: Line) -> None:
    async def go() -> None:
        await line.send(*(add(f"job:{n % 7}", 100 + n) for n in range(70)))
        async with line.engine() as engine:
            await line.all_read()
            for key in range(7):
                rows = await engine.reader.history(_key(key), 0, 100)
                assert [json.loads(one.row.payload)["amount"] for one in rows] == [
                    100 + n for n in range(70) if n % 7 == key
                ]
                assert {one.row.issuer for one in rows} == {"shop"}

    run(go())


def test_what_was_applied_and_not_committed_is_read_again_and_applied_once(line: Line) -> None:
    async def go() -> None:
        await line.send(*(add("job:1", 100 + n) for n in range(20)))
        async with line.engine() as engine:
            await line.all_read()
        line.broker.groups[GROUP].committed.clear()  # as a crash between the two commits leaves it
        async with line.engine() as engine:
            await line.all_read()
            stored = await engine.stored("job:1")
            assert stored is not None
            assert stored.version == 20
            assert engine.counters.duplicates == 20

    run(go())


def test_the_same_envelope_at_two_offsets_is_one_action(line: Line) -> None:
    async def go() -> None:
        same = uuid4()
        await line.send(add("job:1", 2, of=same), add("job:1", 2, of=same), add("job:1", 3))
        async with line.engine() as engine:
            await line.all_read()
            state = await engine.state("job:1")
            assert state is not None
            assert state.count == 5  # type: ignore[attr-defined]  # it is a Job

    run(go())


POISON = {
    "no JSON": (BusMessage(TOPIC, b"job:1", b"{nope"), "invalid_payload"),
    "no object": (BusMessage(TOPIC, b"job:1", b"[1]"), "invalid_payload"),
    "no key": (BusMessage(TOPIC, b"nonsense", b"{}"), "invalid_key"),
    "no text": (BusMessage(TOPIC, b"\xff\xfe", b"{}"), "invalid_key"),
    "no such workflow": (add("nobody:1"), "unknown_workflow"),
    "a payload that does not fit": (
        BusMessage(TOPIC, b"job:1", OnexEnvelopeV1(envelope_id=UUID(int=7), event_type="add", payload={"x": 1}).to_bytes()),
        "invalid_payload",
    ),
    "deep": (BusMessage(TOPIC, b"job:1", b'{"a":' * 99 + b"1" + b"}" * 99), "invalid_payload"),
    "two keys": (
        BusMessage(TOPIC, b"job:1", json.dumps({"workflow_key": ["job", "2"], "kind": "add"}).encode()),
        "invalid_key",
    ),
    "large": (BusMessage(TOPIC, b"job:1", b'{"a":"' + b"x" * 300_000 + b'"}'), "payload_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("kind", POISON)
def test_poison_is_quarantined_with_its_reason_and_recorded_and_the_partition_goes_on(line: Line, kind: str) -> None:
    message, code = POISON[kind]

    async def go() -> None:
        await line.send(add("job:1", 1), message, add("job:1", 2))
        async with line.engine() as engine:
            await line.all_read()
            state = await engine.state("job:1")
            assert state is not None
            assert state.count == 3  # type: ignore[attr-defined]  # it is a Job
            letter = (await line.dead_letters())[0]
            assert (letter.key, letter.value) == (message.key, message.value)
            headers = dict(letter.headers)
            assert headers["onex-reason-code"].decode() == code
            assert headers["onex-reason"]
            assert headers["onex-source"].decode().startswith(f"{TOPIC}/")
            recorded = [one for one in await engine.reader.rejections(None, None, 0, 10) if one.code == code]
            assert recorded
            assert all(one.key.startswith((f"bus:{TOPIC}", "job:1", "nobody:1")) for one in recorded)

    run(go())


def test_what_the_state_refuses_is_a_rejection_and_no_dead_letter(line: Line) -> None:
    async def go() -> None:
        finish = OnexEnvelopeV1(envelope_id=uuid4(), event_type="again").to_bytes()
        await line.send(BusMessage(TOPIC, b"job:1", finish), add("job:1", 2))
        async with line.engine() as engine:
            await line.all_read()
            assert [one.code for one in await engine.reader.rejections("job:1", None, 0, 10)] == ["illegal_transition"]
            assert await line.dead_letters() == []
            assert (await engine.stored("job:1")) is not None

    run(go())


def test_a_held_instance_waits_and_its_neighbours_go_on(line: Line) -> None:
    async def go() -> None:
        await line.send(add("job:bad", 1), *(add("job:bad", 13) for _ in range(3)))
        async with line.engine() as engine:
            await line.all_read()
            await line.send(add("job:bad", 5), add("job:bad", 6), *(add(f"job:{n}", 1) for n in range(9)))
            for n in range(9):
                async with asyncio.timeout(10):
                    while await engine.stored(f"job:{n}") is None:
                        await asyncio.sleep(0.01)
            held = await engine.stored("job:bad")
            assert held is not None
            assert (held.version, bool(held.held), line.left() > 0) == (
                1,
                True,
                True,
            )  # the position stays before what waits
            await engine.release("job:bad")
            await line.all_read()
            rows = await engine.reader.history(_key("bad"), 0, 100)
            assert [json.loads(one.row.payload)["amount"] for one in rows] == [1, 5, 6]

    run(go())


def test_an_instance_that_nobody_releases_does_not_hold_its_partition_for_ever(line: Line) -> None:
    async def go() -> None:
        await line.send(add("job:bad", 1), *(add("job:bad", 13) for _ in range(3)), add("job:bad", 5))
        async with line.engine(retry_s=0.0):
            await line.all_read()
            (letter,) = await line.dead_letters()
            assert dict(letter.headers)["onex-reason-code"] == b"instance_held"

    run(go())


def test_with_a_shared_key_nothing_unsigned_forged_or_moved_is_applied(line: Line) -> None:
    async def go() -> None:
        line.keys = KEYS
        good = add("job:1", 1, keys=KEYS)
        forged = add("job:1", 100, keys=SharedKeys.of("another key of at least 16"))
        moved, changed = good._replace(key=b"job:2"), good._replace(value=good.value.replace(b":1}", b":9}"))
        bare = BusMessage(TOPIC, b"job:1", b'{"workflow_key":["job","1"],"kind":"add"}')
        without_id = bare._replace(headers=(KEYS.header(TOPIC, bare.key, bare.value),))
        await line.send(good, add("job:1", 100), forged, moved, changed, good, without_id)
        async with line.engine() as engine:
            await line.all_read()
            state = await engine.state("job:1")
            assert state is not None
            assert state.count == 1  # type: ignore[attr-defined]  # it is a Job
            assert await engine.stored("job:2") is None
            codes = sorted(dict(one.headers)["onex-reason-code"].decode() for one in await line.dead_letters())
            assert codes == ["invalid_payload"] + ["invalid_signature"] * 4

    run(go())


def test_a_small_window_holds_back_and_loses_nothing(line: Line) -> None:
    async def go() -> None:
        await line.send(*(add(f"job:{n % 3}", 1) for n in range(60)))
        async with line.engine(window=2) as engine:
            await line.all_read()
            stored = [await engine.stored(f"job:{n}") for n in range(3)]
            assert [one and one.version for one in stored] == [20, 20, 20]

    run(go())


def test_a_message_without_an_id_has_that_of_its_place() -> None:
    message = ReceivedMessage("t", 3, 7, b"job:1", b'{"workflow_key":["job","1"],"kind":"add"}')
    assert read_message(message, None).action_id == message_id(message)
    assert message_id(message) == message_id(message._replace(value=b"other"))
    assert message_id(message) != message_id(message._replace(offset=8))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (ReceivedMessage("t", 0, 0, b"", b"{}"), InvalidKey),
        (ReceivedMessage("t", 0, 0, b"job:1", b""), InvalidPayload),
        (ReceivedMessage("t", 0, 0, b"job:1", b" " * 400_000), PayloadTooLarge),
        (ReceivedMessage("t", 0, 0, b"job:1", b'{"event_type":"add","event_type":"add"}'), InvalidPayload),
        (ReceivedMessage("t", 0, 0, b"job:1", b'{"event_type":"add","envelope_id":"x"}'), InvalidPayload),
    ],
)
def test_what_cannot_be_read_says_why(message: ReceivedMessage, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_message(message, None)
    with pytest.raises(InvalidSignature):
        read_message(message, KEYS)


def test_a_position_waits_for_every_message_before_it() -> None:
    at = TopicPartition("t", 0)
    one, two, three = (ReceivedMessage("t", 0, offset, b"k", b"") for offset in (5, 6, 9))
    messages = OpenMessages()
    assert [messages.take(message) for message in (one, two, three, two)] == [True, True, True, False]
    messages.finish(two)
    assert (len(messages), messages.positions()) == (2, {})
    messages.finish(one)
    assert messages.positions() == {at: 9}
    messages.committed({at: 9})
    assert messages.positions() == {}
    messages.finish(three)
    assert messages.positions() == {at: 10}
    messages.keep_only(frozenset())
    assert (messages.positions(), messages.has(three), messages.take(one)) == ({}, False, True)


def _key(name: object) -> WorkflowKey:
    return WorkflowKey("job", str(name))


def test_a_message_nobody_can_use_is_told_by_any_worker_though_its_shard_is_another_workers() -> None:
    """No state is needed to refuse it, so no owner is."""

    async def scenario(sim: Sim) -> None:
        tables, broker = Tables(shards=8), MemoryBroker(partitions=1)
        workers: list[tuple[Host, ReducerPatternEngine]] = []
        for name in ("a", "b"):
            host, its = sim.host(name), MemoryStore(tables, now_s=sim.clock.monotonic)
            engine = ReducerPatternEngine(its, its, registry(Worker()), host.clock, host.ids, ENV, check_all=True)
            await host.spawn(engine.share(WorkerOfStore(name, 1.0), its, its, its.watch()))
            workers.append((host, engine))
        await sim.clock.sleep(5.0)
        host, engine = next(
            one for one in workers if 0 not in one[1].service.fences
        )  # what has no key counts as of shard 0
        elsewhere = next(n for n in range(99) if shard_of(_key(f"{n}"), 8) not in engine.service.fences)
        wrong = BusMessage(TOPIC, f"job:{elsewhere}".encode(), add("job:1").value.replace(b'"amount"', b'"none"'))
        await MemoryBus(broker).publish([BusMessage(TOPIC, b"nonsense", b"{nope"), wrong, add(f"job:{elsewhere}")])
        service = EventBusService(MemoryBus(broker), host.clock, engine.service.events)
        intake = BusIntake(
            engine.service, engine.wire, service, GROUP, TopicRoutes([TOPIC]), others=engine.relay.others
        )
        await host.spawn(intake.start())
        await sim.clock.sleep(10.0)
        assert broker.groups[GROUP].committed == {TopicPartition(TOPIC, 0): 3}
        assert sorted(code for _, _, code in tables.rejections) == ["invalid_key", "invalid_payload"]
        assert len(broker.topic(f"{TOPIC}.dlq")[0].messages) == 2
        await host.spawn(intake.close())
        for one, its_engine in workers:
            await one.spawn(its_engine.close())

    simulated(scenario, 1).result()
