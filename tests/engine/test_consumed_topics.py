"""Events of a topic become actions of the workflows that read it: once each, in order, or dead letters that say why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.bus import BusMessage, BusRefused, Headers, ReceivedMessage, TopicPartition
from onex.engine.bus.consumed_topics import TopicRoutes
from onex.engine.bus.intake import BusIntake
from onex.engine.bus.service import EventBusService
from onex.engine.bus.topics import BusTopics, ConsumedTopic
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import ModelAction, WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.membership import Worker as WorkerOfStore
from onex.kernel.message_signature import SharedKeys
from onex.kernel.route import shard_of
from onex.simulation.host import Host
from onex.simulation.seeded_run import Sim
from onex.simulation.seeded_run import run as simulated
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import Worker, registry
from tests.engine.test_bus_intake import TOPIC, Line, run

EVENTS = "shop.events.v1"
ROWS = (ConsumedTopic("job", EVENTS, "add", "counted", "of.job"),)
BY_FIELD: Mapping[str, JsonValue] = {"of": {"job": "1"}}


def event(
    payload: Mapping[str, JsonValue],
    *,
    key: str = "k",
    event_type: str = "counted",
    of: UUID | None = None,
    cause: UUID | None = None,
    correlation: UUID | None = None,
    headers: Headers = (),
) -> BusMessage:
    envelope = OnexEnvelopeV1(
        envelope_id=of or uuid4(),
        event_type=event_type,
        correlation_id=correlation,
        causation_id=cause,
        source_service="counter",
        payload=dict(payload),
    )
    return BusMessage(EVENTS, key.encode(), envelope.to_bytes(), headers)


def received(message: BusMessage, offset: int = 0) -> ReceivedMessage:
    return ReceivedMessage(message.topic, 0, offset, *message[1:])


def asked(row: ConsumedTopic, message: BusMessage) -> ModelAction | str:
    """The action, or why there is none; '' for an event that nobody wants."""
    routes = TopicRoutes([TOPIC], [row], BusTopics())
    found = [one.action for one in routes.asks(received(message), None)]
    return next((one if isinstance(one, ModelAction) else one.message for one in found), "")


@pytest.mark.parametrize(
    ("key", "message", "instance"),
    [
        ("of.job", event(BY_FIELD), "1"),
        ("n", event({"n": 7}), "7"),
        ("", event({}, key="ada"), "ada"),
        ("header:job", event({}, headers=(("job", b"a"), ("job", b"b"))), "b"),
        ("@id", event({}, of=UUID(int=5)), str(UUID(int=5))),
    ],
)
def test_the_instance_is_named_by_a_field_a_header_or_the_key(key: str, message: BusMessage, instance: str) -> None:
    action = asked(ConsumedTopic("job", EVENTS, "add", key=key), message)
    assert isinstance(action, ModelAction)
    assert action.workflow_key == ("job", instance)


@pytest.mark.parametrize(
    ("key", "message", "reason"),
    [
        ("of.job", event({}), "the field 'of.job' of the payload is missing"),
        ("of", event(BY_FIELD), "the field 'of' of the payload is missing, empty or no plain value"),
        ("n", event({"n": True}), "no plain value"),
        ("header:job", event({}), "the header 'job' of the message is missing"),
        ("", event({}, key="\n"), "control character"),
        ("n", event({"n": "x" * 201}), "201 bytes"),
    ],
)
def test_a_message_that_names_no_instance_is_an_error_that_says_where_it_was_looked_for(
    key: str, message: BusMessage, reason: str
) -> None:
    said = asked(ConsumedTopic("job", EVENTS, "add", key=key), message)
    assert isinstance(said, str) and reason in said


def test_an_event_carries_its_id_its_cause_its_correlation_and_who_sent_it() -> None:
    ids = [uuid4() for _ in range(3)]
    message = event(BY_FIELD, of=ids[0], cause=ids[1], correlation=ids[2])
    action = asked(ROWS[0], message)
    assert isinstance(action, ModelAction)
    assert [action.action_id, action.parent_action_id, action.correlation_id] == ids
    assert (action.issuer, action.kind, action.command_payload) == ("counter", "add", BY_FIELD)


def test_an_event_is_read_only_when_it_is_signed() -> None:
    keys = SharedKeys.of("a shared key of at least 16")
    message = event(BY_FIELD)
    routes = TopicRoutes([], ROWS, BusTopics())
    (refused,) = routes.asks(received(message), keys)
    assert not isinstance(refused.action, ModelAction) and refused.action.code == "invalid_signature"
    signed = message._replace(headers=(keys.header(message.topic, message.key, message.value),))
    (taken,) = routes.asks(received(signed), keys)
    assert isinstance(taken.action, ModelAction)


def test_each_workflow_that_reads_a_topic_is_asked_and_an_event_nobody_wants_asks_nobody() -> None:
    rows = (
        *ROWS,
        ConsumedTopic("nobody", EVENTS, "owe", "", "of.job"),
        ConsumedTopic("job", EVENTS, "stop", "stopped"),
    )
    routes = TopicRoutes([TOPIC], rows, BusTopics())
    assert routes.topics == (TOPIC, EVENTS)
    assert [ask.lane for ask in routes.asks(received(event(BY_FIELD)), None)] == [b"job:1", b"nobody:1"]
    stopped = routes.asks(received(event({"of": {"job": "2"}}, event_type="stopped")), None)
    assert [ask.lane for ask in stopped] == [b"nobody:2", b"job:k"]
    assert not TopicRoutes([], ROWS, BusTopics()).asks(received(event({}, event_type="other")), None)


def test_a_topic_by_event_has_the_name_of_the_scheme_and_one_of_actions_cannot_be_read() -> None:
    row = ROWS[0]._replace(topic="node_heartbeat", by_scheme=True)
    topics = BusTopics.of("onex.{kind}.shop.{name}.v2")
    assert TopicRoutes([], [row], topics).topics == ("onex.evt.shop.node-heartbeat.v2",)
    with pytest.raises(BusRefused, match="where this engine takes actions"):
        TopicRoutes([EVENTS], ROWS, topics)


# --- with an engine ---------------------------------------------------------------------------------------------------


class EventLine(Line):
    """The engines read events beside actions. ``nobody`` has no reducer here: what is asked of it is refused."""

    rows: tuple[ConsumedTopic, ...] = (ConsumedTopic("job", EVENTS, "add", "counted"),)
    topic = EVENTS


@pytest.fixture
def line(one_store: OneStore) -> EventLine:
    return EventLine(one_store)


def test_events_are_applied_once_and_in_order(line: EventLine) -> None:
    async def go() -> None:
        same = uuid4()
        amounts = [*range(100, 120)]
        sent = [event({"amount": n}, key=str(n % 3)) for n in amounts]
        await line.send(*sent, event({"amount": 7}, key="1", of=same), event({"amount": 7}, key="1", of=same))
        async with line.engine() as engine:
            await line.all_read()
            for key in range(3):
                rows = await engine.reader.history(_job(key), 0, 100)
                read = [json.loads(one.row.payload)["amount"] for one in rows]
                assert read == [n for n in amounts if n % 3 == key] + [7] * (key == 1)
            assert engine.counters.duplicates == 1
        line.broker.groups["engines"].committed.clear()  # as a crash leaves it
        async with line.engine() as engine:
            await line.all_read()
            assert engine.counters.duplicates == 22
        assert not await line.dead_letters()

    run(go())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (event({"amount": "many"}), "invalid_payload"),
        (event({"amount": 1, "more": 2}), "invalid_payload"),
        (BusMessage(EVENTS, b"k", b"no json"), "invalid_payload"),
        (BusMessage(EVENTS, b"k", b'{"amount": 1}'), "invalid_payload"),
        (event({"amount": 1}, key="\x07"), "invalid_key"),
    ],
)
def test_a_bad_event_is_a_dead_letter_and_a_rejection_and_the_next_one_is_applied(
    line: EventLine, message: BusMessage, code: str
) -> None:
    async def go() -> None:
        await line.send(message, event({"amount": 3}))
        async with line.engine() as engine:
            await line.all_read()
            state = await engine.state("job:k")
            assert state is not None and state.count == 3  # type: ignore[attr-defined]  # it is a Job
            (row,) = await engine.reader.rejections(None, None, 0, 10)
            assert row.code == code
        (letter,) = await line.dead_letters()
        reasons = dict(letter.headers)
        assert (letter.value, reasons["onex-reason-code"]) == (message.value, code.encode())
        assert reasons["onex-source"].startswith(EVENTS.encode())

    run(go())


def test_a_message_is_finished_when_all_who_read_it_have_answered(line: EventLine) -> None:
    async def go() -> None:
        line.rows = (*line.rows, ConsumedTopic("nobody", EVENTS, "owe", "counted"))
        await line.send(event({"amount": 1}))
        async with line.engine() as engine:
            await line.all_read()
            assert (await engine.stored("job:k")) is not None
            (row,) = await engine.reader.rejections(None, None, 0, 10)
            assert row.code == "unknown_workflow"
        (letter,) = await line.dead_letters()
        assert dict(letter.headers)["onex-reason-code"] == b"unknown_workflow"

    run(go())


def _job(key: int) -> WorkflowKey:
    return WorkflowKey("job", str(key))


def test_an_event_of_an_instance_that_another_worker_has_is_judged_there() -> None:
    async def scenario(sim: Sim) -> None:
        tables, broker = Tables(shards=8), MemoryBroker(partitions=1)
        workers: list[tuple[Host, ReducerPatternEngine]] = []
        for name in ("a", "b"):
            host, its = sim.host(name), MemoryStore(tables, now_s=sim.clock.monotonic)
            engine = ReducerPatternEngine(its, its, registry(Worker()), host.clock, host.ids, ENV, check_all=True)
            await host.spawn(engine.share(WorkerOfStore(name, 1.0), its, its, its.watch()))
            workers.append((host, engine))
        await sim.clock.sleep(5.0)
        (host, engine), (_, other) = workers
        elsewhere = next(n for n in range(99) if shard_of(_job(n), 8) in other.service.fences)
        same = event({"amount": 5}, key=str(elsewhere))
        wrong = event({"amount": "x"}, key=str(elsewhere))
        await MemoryBus(broker).publish([same, same, wrong])
        service = EventBusService(MemoryBus(broker), host.clock, engine.service.events)
        rows = [ConsumedTopic("job", EVENTS, "add", "counted")]
        routes = TopicRoutes([TOPIC], rows)
        intake = BusIntake(engine.service, engine.wire, service, "engines", routes, others=engine.relay.others)
        await host.spawn(intake.start())
        await sim.clock.sleep(10.0)
        assert broker.groups["engines"].committed == {TopicPartition(EVENTS, 0): 3}
        history = await engine.reader.history(_job(elsewhere), 0, 10)
        assert [(one.version, one.row.issuer) for one in history] == [(1, "counter")]
        assert len(broker.topic(f"{EVENTS}.dlq")[0].messages) == 1
        await host.spawn(intake.close())
        for one, its_engine in workers:
            await one.spawn(its_engine.close())

    simulated(scenario, 1).result()
