"""What a step makes is judged at that step, whatever its version: kept as it is, or refused by name, and its neighbours commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue, field_serializer, field_validator

from onex.adapters.clock import SystemClock, UuidV7
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, Payload
from onex.kernel.errors import InstanceHeld, InvalidPayload, OnexError, ReducerFailed
from onex.kernel.intent import EnumIntentType, EnumOutcome, Failure, IntentSpec, ModelIntent, intent
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.ports import Code, Result
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import FAST

BEYOND = 2**53 + 1
Test = Callable[[ReducerPatternEngine], Awaitable[None]]


class Till(State):
    number: int = 0
    text: str = ""
    open: JsonValue = None


class Put(Payload):
    number: int = 0
    text: str = ""
    open: JsonValue = None


class Basket(Payload):
    items: list[int] = Field(default_factory=list)


class Tidy(Payload):
    text: str = ""

    @field_validator("text", mode="before")
    @classmethod
    def tidy(cls, value: Any) -> Any:
        if value == "exit":
            raise SystemExit(3)
        if value == "mute":
            raise Mute
        return value.strip()


class Mute(ValueError):
    def __str__(self) -> str:
        raise KeyError("nothing to say")


class Euros(Payload):
    cents: int = 0

    @field_validator("cents", mode="before")
    @classmethod
    def from_euros(cls, value: int) -> int:
        return value * 100


class Unwritable(Payload):
    text: str = ""

    @field_serializer("text")
    def refuse(self, value: str) -> str:
        if value:
            raise GeneratorExit
        return value


BASKET = Basket(items=[1, 2, 3])
tills = reducer(Till)


@tills.on("put")
def put(till: Till, action: Action[Put]) -> Step[Till]:
    sent = action.payload
    if sent.text == "add one":
        return Step(till.evolve(number=sent.number + 1))
    if sent.text == "deep":
        deep: JsonValue = 0
        for _ in range(40):
            deep = [deep]
        return Step(till.evolve(open=deep))
    if sent.text == "nul":
        return Step(till.evolve(text="a\0b"))
    if sent.text == "key":
        return Step(till.evolve(open={"a\0": 1}))
    if sent.text == "surrogate":
        return Step(till.evolve(text="\ud800"))
    if sent.text == "forged":
        return Step(till.model_copy(update={"number": "many"}))
    return Step(till.evolve(number=sent.number, text=sent.text, open=sent.open))


@tills.on("ask")
def ask(till: Till, action: Action[Put]) -> Step[Till]:
    drafts: dict[str, Any] = {
        "beyond": lambda: Put(number=action.payload.number + 1),
        "euros": lambda: Euros(cents=5),
        "basket": lambda: BASKET,
        "unwritable": lambda: Unwritable(text="x"),
        "priority": lambda: intent("put", Put(), priority="urgent"),
    }
    return Step(till, drafts[action.payload.text]() if action.payload.text in drafts else Put(text="fine"))


@tills.on("answered", "tidied", "euros")
def answered(till: Till, action: Action[BaseModel]) -> Step[Till]:
    return Step(till.evolve(text=type(action.payload).__name__))


@tills.on("unclear")
def unclear(till: Till, action: Action[Failure]) -> Step[Till]:
    return Step(till.evolve(text=action.payload.code))


OUTCOMES = {EnumOutcome.SUCCEEDED: "euros", EnumOutcome.FAILED: "unclear", EnumOutcome.UNKNOWN: "unclear"}
SPECS = (
    IntentSpec("put", EnumIntentType.API_CALL, "desk", Put, OUTCOMES),
    IntentSpec("euros", EnumIntentType.API_CALL, "desk", Euros),
    IntentSpec("basket", EnumIntentType.API_CALL, "desk", Basket, retry=FAST),
    IntentSpec("unwritable", EnumIntentType.API_CALL, "desk", Unwritable),
)
PAYLOADS: dict[str, type[BaseModel]] = {
    "put": Put,
    "ask": Put,
    "answered": Nothing,
    "tidied": Tidy,
    "euros": Euros,
    "unclear": Failure,
}
MACHINE = Machine("new", tuple(Transition("new", "new", trigger) for trigger in PAYLOADS))


class Desk:
    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        if isinstance(intent.payload, Basket):
            self.seen.append(list(intent.payload.items))
            while intent.payload.items:
                intent.payload.items.pop()
            BASKET.items.append(4)
            if len(self.seen) < 3:
                raise OSError("the line dropped")
        return Result(Euros(cents=5))


def run(one_store: OneStore, test: Test, desk: Desk | None = None) -> None:
    async def go() -> None:
        store = await one_store.store()
        made = MachineReducer("till", tills, MACHINE, PAYLOADS, {spec.name: spec for spec in SPECS})
        table = ReducerRegistry((Workflow(made, Code("till", "1.0.0", b"1" * 32, 1), {"desk": desk or Desk()}),))
        engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV)
        async with asyncio.timeout(20), await engine.start("test"):
            await test(engine)

    asyncio.run(go())


@pytest.mark.parametrize("text", ["add one", "deep", "nul", "key", "surrogate", "forged"])
def test_a_state_that_cannot_be_kept_fails_the_action_that_makes_it_and_no_other(
    one_store: OneStore, text: str
) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        told = await engine.submit_many(
            [
                ("till:1", "put", Put(text="before")),
                ("till:1", "put", Put(number=2**53, text=text)),
                ("till:1", "put", Put(text="after")),
                ("till:2", "put", Put(text="neighbour")),
            ]
        )
        assert [type(one).__name__ for one in told] == ["Committed", "ReducerFailed", "Committed", "Committed"]
        assert await engine.state("till:1") == Till(status="new", text="after")

    run(one_store, test)


def test_the_field_that_cannot_be_kept_is_named_with_its_mend(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        with pytest.raises(ReducerFailed, match=r"Till.number is 9007199254740993, an integer beyond .* as text"):
            await engine.submit("till:1", "put", Put(number=2**53, text="add one"))
        assert (await engine.submit("till:1", "put", Put(number=2**53))).version == 1

    run(one_store, test)


def test_no_verdict_depends_on_the_version(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        verdicts = []
        for version in range(1, 104):
            assert (await engine.submit("till:1", "put", Put(number=2**53))).version == version
            if version in (1, 97, 98, 99, 100, 101):
                with pytest.raises(ReducerFailed) as refused:
                    await engine.submit("till:1", "put", Put(number=2**53, text="add one"))
                verdicts.append(refused.value.message)
        assert len(set(verdicts)) == 1

    run(one_store, test)


@pytest.mark.parametrize("text", ["beyond", "euros", "unwritable", "priority"])
def test_what_cannot_be_sent_twice_the_same_is_refused_when_emitted_and_holds_at_the_third(
    one_store: OneStore, text: str
) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit("till:1", "put", Put())
        for _ in range(3):
            with pytest.raises(ReducerFailed):
                await engine.submit("till:1", "ask", Put(number=2**53, text=text))
        with pytest.raises(InstanceHeld):
            await engine.submit("till:1", "put", Put())
        await engine.release(("till", "1"))  # type: ignore[arg-type]  # a key as a pair
        assert (await engine.submit("till:1", "put", Put())).version == 2

    run(one_store, test)


def test_a_result_that_would_be_read_back_as_another_is_no_outcome(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit("till:1", "ask", Put())
        while (state := await engine.state("till:1")) == Till(status="new"):
            await asyncio.sleep(0.001)
        assert state == Till(status="new", text="invalid_payload")  # it was done, and what it gave back cannot be kept

    run(one_store, test)


@pytest.mark.parametrize(
    ("trigger", "payload"),
    [
        ("tidied", {"text": 5}),
        ("tidied", {"text": "exit"}),
        ("tidied", {"text": "mute"}),
        ("euros", {"cents": 5}),
        ("euros", Euros(cents=5)),
        ("put", Put(number=BEYOND)),
        ("put", {"number": BEYOND}),
        ("put", Put(text="a\0")),
        ("put", Put.model_construct(number="many")),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_a_payload_that_its_class_cannot_take_is_refused_and_its_neighbours_go_on(
    one_store: OneStore, trigger: str, payload: Any
) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        told = await engine.submit_many(
            [("till:1", trigger, payload), ("till:1", "put", None), ("till:2", "put", None)]
        )
        assert isinstance(told[0], InvalidPayload)
        assert [isinstance(one, OnexError) for one in told[1:]] == [False, False]
        (row,) = await engine.reader.rejections("till:1", None, 0, 10)
        assert row.code == "invalid_payload"

    run(one_store, test)


def test_each_try_of_an_effect_sees_what_was_emitted_whatever_the_one_before_did_to_it(one_store: OneStore) -> None:
    desk = Desk()

    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit("till:1", "ask", Put(text="basket"))
        await engine.idle()
        assert desk.seen == [[1, 2, 3]] * 3

    BASKET.items[:] = [1, 2, 3]
    run(one_store, test, desk)
