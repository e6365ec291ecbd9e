"""Quotas of one instance: what goes beyond is refused, its neighbours are not, and nothing that was committed is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import pytest
from pydantic import BaseModel

from onex.engine.admission import FOR_OTHERS
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import NOTHING, Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import OnexError, Overloaded, QuotaExceeded, ValidationError
from onex.kernel.intent import EnumOutcome, Failure, IntentSpec, ModelIntent, cancel
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.quota import NO_LIMITS, ResourceLimits, admit, rate
from onex.kernel.step import State, Step
from onex.ports import Code, EnumOutboxState, Result
from tests.engine.conftest import OneStore
from tests.engine.test_events import heard

K, OTHER = WorkflowKey("tap", "1"), WorkflowKey("tap", "2")


class Tap(State):
    drops: int = 0
    water: str = ""


class Pour(Payload):
    drips: int = 0
    notes: int = 0
    water: str = ""
    again: int = 0


class Drip(Payload):
    again: int = 0


class Dripped(Payload):
    again: int = 0


taps = reducer(Tap)


@taps.on("pour", "close")
def pour(tap: Tap, action: Action[Pour]) -> Step[Tap]:
    asked = action.payload
    drips = [Drip(again=asked.again) for _ in range(asked.drips)]
    return Step(tap.evolve(water=asked.water), *drips, *[Note() for _ in range(asked.notes)])


@taps.on("dripped")
def dripped(tap: Tap, action: Action[Dripped]) -> Step[Tap]:
    return Step(tap.evolve(drops=tap.drops + 1), *[Drip() for _ in range(action.payload.again)])


@taps.on("lost")
def lost(tap: Tap, action: Action[Failure]) -> Step[Tap]:
    return Step(tap)


@taps.on("stop")
def stop(tap: Tap, action: Action[Nothing]) -> Step[Tap]:
    return Step(tap, cancel("drip"))


class Note(Payload):
    text: str = "noted"


ENDS = {EnumOutcome.SUCCEEDED: "dripped", EnumOutcome.FAILED: "lost", EnumOutcome.UNKNOWN: "lost"}
REDUCER = MachineReducer(
    "tap",
    taps,
    Machine(
        "open",
        (
            Transition("open", "open", "pour"),
            Transition("open", "open", "dripped"),
            Transition("open", "open", "lost"),
            Transition("open", "open", "stop"),
            Transition("open", "closed", "close"),
        ),
        frozenset({"closed"}),
    ),
    {"pour": Pour, "close": Pour, "dripped": Dripped, "lost": Failure, "stop": Nothing},
    {
        "drip": IntentSpec("drip", "api_call", "sink", Drip, ENDS, concurrency=64),
        "note": IntentSpec("note", "notification", "desk", Note),
    },
)


class Sink:
    """Serves a drip when it was let through."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        await self.gate.acquire()
        assert isinstance(intent.payload, Drip)
        return Result(Dripped(again=intent.payload.again))

    def let(self, drips: int) -> None:
        for _ in range(drips):
            self.gate.release()


class Desk:
    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        return Result(NOTHING)


def tap(sink: Sink, limits: ResourceLimits = NO_LIMITS, digest: bytes = b"1") -> ReducerRegistry:
    code = Code("tap", "1.0.0", digest.ljust(32, b"\0"), 1)
    return ReducerRegistry((Workflow(REDUCER, code, {"sink": sink, "desk": Desk()}, limits=limits),))


def names(answers: list[object]) -> list[str]:
    return [type(one).__name__ for one in answers]


def run(test: object) -> None:
    assert asyncio.iscoroutine(test)
    asyncio.run(test)


# --- bytes of the state ---------------------------------------------------------------------------------------------------


def test_a_state_over_its_quota_is_refused_and_recorded_and_its_neighbours_commit(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(state_bytes=1000))) as engine:
            answers: list[object] = [
                *await engine.submit_many(
                    [
                        (K, "pour", Pour(water="a")),
                        (K, "pour", Pour(water="a" * 2000)),
                        (OTHER, "pour", Pour(water="b" * 500)),
                        (K, "pour", Pour(water="c" * 10)),
                    ]
                )
            ]
            assert names(answers) == ["Committed", "QuotaExceeded", "Committed", "Committed"]
            refused = answers[1]
            assert isinstance(refused, QuotaExceeded)
            assert (refused.context["quota"], refused.context["limit"], refused.retryable) == (
                "state_bytes",
                1000,
                False,
            )
            assert await engine.state(K) == Tap(status="open", water="c" * 10)
            (row,) = await engine.reader.rejections(None, None, 0, 10)
            assert (row.key, row.code) == (str(K), "quota_exceeded")

    run(go())


def test_a_lowered_quota_changes_no_history_and_lets_a_state_shrink(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink())) as engine:
            await engine.submit(K, "pour", Pour(water="a" * 500))
            await engine.submit(K, "pour", Pour(water="a" * 900))
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(state_bytes=400))) as engine:
            with pytest.raises(QuotaExceeded):
                await engine.submit(K, "pour", Pour(water="a" * 901))
            assert (await engine.submit(K, "pour", Pour(water="a" * 600))).version == 3
            assert await engine.state_at(K, 2) == Tap(status="open", water="a" * 900)

    run(go())


# --- open intents -----------------------------------------------------------------------------------------------------------


def test_a_step_beyond_its_open_intents_is_refused_and_room_comes_back(one_store: OneStore) -> None:
    async def go() -> None:
        sink = Sink()
        async with one_store.engine(reducers=tap(sink, ResourceLimits(pending_intents=5))) as engine:
            answers: list[object] = [
                *await engine.submit_many(
                    [(one, "pour", Pour(drips=n)) for one, n in ((K, 3), (K, 3), (OTHER, 3), (K, 2))]
                )
            ]
            assert names(answers) == ["Committed", "QuotaExceeded", "Committed", "Committed"]
            with pytest.raises(QuotaExceeded, match="5 open intents, and 'pour' would leave 6"):
                await engine.submit(K, "pour", Pour(drips=1))
            await engine.submit(K, "pour", Pour(water="no intent"))
            sink.let(8)
            await engine.idle()
            await engine.submit(K, "pour", Pour(drips=5))
            await engine.submit(K, "stop")
            await engine.submit(K, "pour", Pour(drips=5))
            sink.let(5)
            await engine.idle()
            state = await engine.state(K)
            assert isinstance(state, Tap) and state.drops == 10

    run(go())


def test_what_ends_without_an_outcome_gives_its_room_back(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(pending_intents=4))) as engine:
            for _ in range(6):
                await engine.submit(K, "pour", Pour(notes=3))
                await engine.idle()

    run(go())


def test_the_next_owner_counts_what_the_last_one_left(one_store: OneStore) -> None:
    async def go() -> None:
        sink, limits = Sink(), ResourceLimits(pending_intents=5)
        async with one_store.engine(reducers=tap(sink, limits)) as engine:
            await engine.submit(K, "pour", Pour(drips=4))
        async with one_store.engine(reducers=tap(sink, limits)) as engine:
            with pytest.raises(QuotaExceeded):
                await engine.submit(K, "pour", Pour(drips=2))
            await engine.submit(K, "pour", Pour(drips=1))

    run(go())


def test_an_outcome_beyond_the_quota_is_held_and_delivered_after_a_release(one_store: OneStore) -> None:
    async def go() -> None:
        sink = Sink()
        async with one_store.engine(reducers=tap(sink, ResourceLimits(pending_intents=2))) as engine:
            await engine.submit(K, "pour", Pour(drips=1, again=3))
            sink.let(1)
            await engine.idle()
            (held,) = await engine.reader.outbox([EnumOutboxState.HELD], K, None, 10)
            assert "would leave 3" in held.error
            await engine.submit(K, "pour", Pour(drips=1))
            with pytest.raises(QuotaExceeded):  # the held one counts
                await engine.submit(K, "pour", Pour(drips=1))
        async with one_store.engine(reducers=tap(sink, ResourceLimits(pending_intents=4), b"2")) as engine:
            await engine.release(K)
            sink.let(4)
            await engine.idle()
            state = await engine.state(K)
            assert isinstance(state, Tap) and state.drops == 5
            assert not await engine.reader.outbox(list(EnumOutboxState), K, None, 10)

    run(go())


def test_a_step_that_ends_the_instance_is_not_refused(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(pending_intents=1))) as engine:
            await engine.submit(K, "pour", Pour(drips=1))
            assert (await engine.submit(K, "close", Pour(notes=3))).status == "closed"

    run(go())


# --- actions a second -------------------------------------------------------------------------------------------------------


class Watch:
    """The monotonic clock of an engine, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s = 1000.0
        monkeypatch.setattr("onex.adapters.clock.SystemClock.monotonic", lambda _: self.at_s)


def test_an_instance_over_its_rate_is_told_when_to_come_again(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)

    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(actions_per_s=4))) as engine:
            sent = [(K, "pour", None)] * 6 + [(OTHER, "pour", None)] * 4
            answers: list[object] = [*await engine.submit_many(sent)]
            assert names(answers) == ["Committed"] * 4 + ["Overloaded"] * 2 + ["Committed"] * 4
            told = [one.retry_after_s for one in answers if isinstance(one, Overloaded)]
            assert told == pytest.approx([0.25, 0.5])  # each has a moment of its own
            watch.at_s += told[0]
            await engine.submit(K, "pour")
            with pytest.raises(Overloaded):
                await engine.submit(K, "pour")
            assert await engine.reader.rejections(None, None, 0, 10) == []
            assert (engine.counters.over_rate, engine.counters.overloaded) == (3, 0)
            watch.at_s += told[1] - told[0]
            await engine.submit(K, "pour")
            await engine.submit(K, "pour", operator="anna")

    run(go())


def test_an_action_that_was_applied_before_takes_nothing_from_the_rate(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)

    async def go() -> None:
        async with one_store.engine(reducers=tap(Sink(), ResourceLimits(actions_per_s=2))) as engine:
            first = uuid4()
            await engine.submit(K, "pour", action_id=first)
            watch.at_s += 10
            for _ in range(5):
                assert (await engine.submit(K, "pour", action_id=first)).duplicate
            assert [await engine.submit(K, "pour") for _ in range(2)]
            with pytest.raises(Overloaded):
                await engine.submit(K, "pour")

    run(go())


def test_who_floods_is_named_once_a_minute(one_store: OneStore, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)

    async def flood(engine: ReducerPatternEngine) -> None:
        for at_s in (0.0, 0.5, 59.0, 60.5):
            watch.at_s = 1000.0 + at_s
            await engine.submit_many([(K, "pour", None)] * 3)

    told = heard(flood, details=False, reducers=tap(Sink(), ResourceLimits(actions_per_s=1))).named("over_rate")
    # of three one passes where a second has gone by; the others are told with the first that comes a minute later
    assert [fields["refused"] for _, fields in told] == [1, 7]
    assert told[0][1] == {"key": str(K), "limit": 1.0, "refused": 1}


def test_outcomes_pass_an_instance_that_is_over_its_rate(one_store: OneStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Watch(monkeypatch)

    async def go() -> None:
        sink = Sink()
        async with one_store.engine(reducers=tap(sink, ResourceLimits(actions_per_s=1))) as engine:
            await engine.submit(K, "pour", Pour(drips=20))
            sink.let(20)
            await engine.idle()
            state = await engine.state(K)
            assert isinstance(state, Tap) and state.drops == 20
            with pytest.raises(Overloaded):
                await engine.submit(K, "pour")

    run(go())


def test_a_refusal_for_its_rate_crosses_processes_as_itself() -> None:
    error = OnexError.from_json(Overloaded("too early", retry_after_s=0.25, quota="actions_per_s").as_json())
    assert isinstance(error, Overloaded)
    assert (error.retry_after_s, error.retryable) == (0.25, True)


@pytest.mark.parametrize("per_s", [0.1, 1, 3, 30, 400])
def test_a_rate_is_kept_over_any_span(per_s: float) -> None:
    """Whoever comes as soon as told passes, and never sooner: after the first second's worth, one per 1/rate."""
    full_at_s, now_s, passed = 0.0, 50.0, list[float]()
    for _ in range(200):
        full_at_s, wait_s = admit(full_at_s, now_s, rate(per_s))
        if wait_s:
            now_s += wait_s
        else:
            passed.append(now_s)
    at_once = sum(one == 50.0 for one in passed)
    assert at_once == {0.1: 1, 1: 1, 3: 3, 30: 10, 400: 100}[per_s]
    assert all(later - sooner >= 0.999 / per_s for sooner, later in pairwise(passed[at_once:]))


# --- the queue --------------------------------------------------------------------------------------------------------------


def test_an_instance_that_floods_the_queue_leaves_room_for_others(one_store: OneStore) -> None:
    async def go() -> None:
        room = 2 * FOR_OTHERS
        async with one_store.engine(reducers=tap(Sink()), limits=Limits(waiting=room)) as engine:
            flood = asyncio.ensure_future(engine.submit_many([(K, "pour", None)] * room))
            await asyncio.sleep(0)
            neighbour = await engine.submit(OTHER, "pour")
            assert neighbour.version == 1
            answers: list[object] = [*await flood]
            assert answers.count(None) == 0
            assert names(answers).count("Overloaded") == room - FOR_OTHERS

    run(go())


@pytest.mark.parametrize(
    "wrong",
    [
        {"state_bytes": 0},
        {"state_bytes": 1 << 21},
        {"pending_intents": True},
        {"actions_per_s": 0},
        {"step_budget_ms": 1.5},
    ],
)
def test_a_quota_that_is_none_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        replace(NO_LIMITS, **wrong)  # type: ignore[arg-type]  # that is what is tested
