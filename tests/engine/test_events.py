"""What an engine reports: one event per transition, refusal, attempt, failure and hold; nothing of it costs who does not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import OnexError, ReducerFailed
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.secret import Secret
from onex.kernel.step import State, Step
from onex.ports import Code, EnumOutboxState
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Start, Worker, registry

K = WorkflowKey("job", "1")
Event = tuple[str, dict[str, object]]


class Listener:
    def __init__(self, *, details: bool) -> None:
        self.details = details
        self.events: list[Event] = []

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        self.events.append((name, dict(fields)))

    def named(self, *names: str) -> list[Event]:
        return [event for event in self.events if event[0] in names]


def heard(
    story: Callable[[ReducerPatternEngine], Awaitable[None]],
    *,
    details: bool = True,
    reducers: ReducerRegistry | None = None,
) -> Listener:
    """What a listener hears while ``story`` runs on an engine of its own."""
    listener = Listener(details=details)

    async def go() -> None:
        store = MemoryStore()
        table = reducers or registry(Worker())
        engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, telemetry=listener)
        async with asyncio.timeout(20):
            await engine.start("test")
            try:
                await story(engine)
            finally:
                await engine.close()

    asyncio.run(go())
    return listener


async def fail(engine: ReducerPatternEngine) -> None:
    with pytest.raises(ReducerFailed):
        await engine.submit(K, "add", Add(amount=13))


def without_ids(events: Sequence[Event], *left_out: str) -> list[Event]:
    hidden = {"correlation", "ms", "trace", "where", "next_s", *left_out}
    return [(name, {field: value for field, value in fields.items() if field not in hidden}) for name, fields in events]


def test_a_transition_tells_from_which_status_to_which_and_at_which_version() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit(K, "start", Start(text="hello"))
        await engine.idle()

    common = {"key": "job:1", "intent": "do", "attempt": 1}
    told = heard(story).named("transition", "attempt_began", "attempt_succeeded")
    assert without_ids(told) == [
        ("transition", {
            "key": "job:1", "trigger": "start", "from_status": "new", "to_status": "working", "version": 1, "intents": 1,
        }),
        ("attempt_began", common),
        ("attempt_succeeded", common),
        ("transition", {
            "key": "job:1", "trigger": "finished", "from_status": "working", "to_status": "done", "version": 2, "intents": 0,
        }),
    ]  # fmt: skip
    assert len({fields["correlation"] for _, fields in told}) == 1, "they belong together"


def test_who_does_not_ask_for_details_hears_of_failures_only() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit(K, "start", Start(text="flaky"))
        await engine.idle()
        with pytest.raises(OnexError):
            await engine.submit(K, "shout")

    names = [name for name, _ in heard(story, details=False).events]
    assert names == ["engine_started", "attempt_failed", "attempt_failed", "engine_closed"]


def test_a_failed_attempt_tells_why_where_and_when_it_is_tried_again() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit(K, "start", Start(text="broken"))
        await engine.idle()

    failed = heard(story).named("attempt_failed")
    assert without_ids(failed, "key", "intent") == [
        ("attempt_failed", {"attempt": n, "code": "effect_raised", "error": "OSError: the line dropped"}) for n in (1, 2, 3)
    ]  # fmt: skip
    assert [fields["next_s"] is not None for _, fields in failed] == [True, True, False]
    for _, fields in failed:
        where, trace = fields["where"], fields["trace"]
        assert isinstance(where, str) and isinstance(trace, str)
        assert where.rpartition("/")[2].startswith("jobs.py:") and where in trace


def test_a_refusal_and_a_reducer_that_raises_are_told_apart() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        with pytest.raises(OnexError):
            await engine.submit(K, "finished", {"text": "x"})
        await fail(engine)

    told = heard(story).named("refused", "reducer_failed")
    assert [(name, fields["trigger"], fields.get("code")) for name, fields in told] == [
        ("refused", "finished", "illegal_transition"),
        ("reducer_failed", "add", None),
    ]
    assert str(told[1][1]["error"]).endswith("RuntimeError: thirteen")
    assert "jobs.py:" in str(told[1][1]["where"])


def test_the_third_failure_tells_that_the_instance_is_held_and_a_later_one_does_not() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit(K, "add", Add(amount=1))
        for _ in range(3):
            await fail(engine)
        with pytest.raises(OnexError):
            await engine.submit(K, "add", Add(amount=1))

    told = heard(story).named("instance_held")
    assert [fields["key"] for _, fields in told] == ["job:1"]


def test_an_outcome_that_is_held_and_an_intent_that_is_dead_tell_how_to_go_on() -> None:
    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit(K, "start", Start(text="poison"))
        await engine.submit("job:2", "tell", {"text": "3"})
        await engine.submit("job:3", "watch")
        await engine.idle()
        (held,) = await engine.reader.outbox((EnumOutboxState.HELD,), None, None, 10)
        assert ":".join(map(str, held.pointer)) in pointers

    pointers = ["0:1:0"]
    told = heard(story).named("outcome_held")
    assert [fields["redrive"] for _, fields in told] == pointers


class Card(Payload):
    number: Annotated[str, Secret]


class Paid(State):
    pass


cards = reducer(Paid)


@cards.on("pay")
def pay(paid: Paid, action: Action[Card]) -> Step[Paid]:
    try:
        raise LookupError(f"no account of {action.payload.number}")
    except LookupError as error:
        raise ValueError(f"{action.payload.number} cannot pay") from error


def test_what_a_secret_field_holds_is_in_no_event_and_in_no_trace_that_is_kept() -> None:
    machine = Machine("open", (Transition("open", "paid", "pay"),), frozenset({"paid"}))
    code = Code("card", "1.0.0", b"c" * 32, 1)
    table = ReducerRegistry((Workflow(MachineReducer("card", cards, machine, {"pay": Card}, {}), code, {}),))

    async def story(engine: ReducerPatternEngine) -> None:
        with pytest.raises(ReducerFailed):
            await engine.submit("card:1", "pay", Card(number="4111-1111"))
        (refused,) = await engine.reader.rejections("card:1", None, 0, 10)
        assert refused.message.endswith("ValueError: *** cannot pay")
        assert "caused by LookupError: no account of ***" in refused.trace
        assert "test_events.py:" in refused.trace and "4111" not in refused.trace

    listener = heard(story, reducers=table)
    assert [name for name, _ in listener.named("reducer_failed")] == ["reducer_failed"]
    assert "4111" not in str(listener.events)


def test_an_instance_that_is_held_names_no_secret_in_its_reason() -> None:
    machine = Machine(
        "open", (Transition("open", "paid", "pay"), Transition("open", "open", "wait")), frozenset({"paid"})
    )
    code = Code("card", "1.0.0", b"c" * 32, 1)
    payloads: dict[str, type[BaseModel]] = {"pay": Card, "wait": Nothing}
    table = ReducerRegistry((Workflow(MachineReducer("card", cards, machine, payloads, {}), code, {}),))

    async def story(engine: ReducerPatternEngine) -> None:
        await engine.submit("card:1", "wait")
        for _ in range(3):
            with pytest.raises(ReducerFailed):
                await engine.submit("card:1", "pay", Card(number="4111-1111"))
        stored = await engine.stored("card:1")
        assert stored is not None and stored.held.endswith("ValueError: *** cannot pay")

    assert "4111" not in str(heard(story, reducers=table).events)


def test_a_new_owner_tells_how_many_intents_it_has_taken_over() -> None:
    tables, listener = Tables(), Listener(details=False)

    def engine_on(telemetry: Listener | None) -> ReducerPatternEngine:
        store = MemoryStore(tables)
        return ReducerPatternEngine(store, store, registry(Worker()), SystemClock(), UuidV7(), ENV, telemetry=telemetry)

    async def go() -> None:
        first = engine_on(None)
        await first.start("first")
        await first.submit(K, "start", Start(text="slow"))
        await first.close()
        second = engine_on(listener)
        await second.start("second")
        await second.close()

    asyncio.run(go())
    assert without_ids(listener.named("intents_taken_over")) == [("intents_taken_over", {"intents": 1})]


def test_a_listener_whose_details_cannot_be_asked_gets_none() -> None:
    class Odd(Listener):
        @property
        def details(self) -> bool:
            raise SystemExit(3)

        @details.setter
        def details(self, value: bool) -> None:
            """Thrown away."""

    store = MemoryStore()
    engine = ReducerPatternEngine(
        store, store, registry(Worker()), SystemClock(), UuidV7(), ENV, telemetry=Odd(details=True)
    )
    assert engine.service.events.details is False
