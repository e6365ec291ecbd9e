"""One reducer, one effect or one caller that misbehaves costs nobody else anything, and never the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.adapters.sqlite.store import SqliteStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, Payload
from onex.kernel.errors import InstanceHeld, InvalidPayload, ReducerFailed
from onex.kernel.intent import EnumIntentType, EnumOutcome, Failure, IntentSpec, ModelIntent, intent, send
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.ports import Code, EnumOutboxState, Result
from tests.engine.conftest import ENV, OneStore
from tests.engine.jobs import FAST

SURROGATE = "caf\udce9"


class Note(State):
    text: str = ""


class Write(Payload):
    text: str = ""


handlers = reducer(Note)


@handlers.on("write")
def write(note: Note, action: Action[Write]) -> Step[Note]:
    return Step(note.evolve(text=action.payload.text))


@handlers.on("break_state")
def break_state(note: Note, action: Action[Nothing]) -> Step[Note]:
    return Step(note.evolve(text=SURROGATE))


@handlers.on("break_key")
def break_key(note: Note, action: Action[Nothing]) -> Step[Note]:
    return Step(note, intent("copy", Write(), idempotency_key=SURROGATE))


@handlers.on("break_receiver")
def break_receiver(note: Note, action: Action[Nothing]) -> Step[Note]:
    return Step(note, send("pass_on", SURROGATE, Write()))


@handlers.on("complain")
def complain(note: Note, action: Action[Nothing]) -> Step[Note]:
    raise FileNotFoundError(f"no file {SURROGATE}")


@handlers.on("copy")
def copy(note: Note, action: Action[Write]) -> Step[Note]:
    return Step(note, intent("copy", Write(text=action.payload.text)))


@handlers.on("copy_later")
def copy_later(note: Note, action: Action[Nothing]) -> Step[Note]:
    return Step(note, intent("copy", Write(), not_before=action.issued_at + timedelta(days=365)))


@handlers.on("unclear")
def unclear(note: Note, action: Action[Failure]) -> Step[Note]:
    return Step(note.evolve(text=f"{action.payload.code}: {action.payload.message[:40]}"))


@handlers.on("begin_once")
def begin_once(note: Note, action: Action[Nothing]) -> Step[Note]:
    if note.text:
        raise ValueError("it has begun")
    return Step(note.evolve(text="begun"))


ENDS = {EnumOutcome.SUCCEEDED: "write", EnumOutcome.FAILED: "unclear", EnumOutcome.UNKNOWN: "unclear"}
SPECS = (
    IntentSpec("copy", "api_call", "copier", Write, ENDS, retry=FAST, timeout_s=1.0, concurrency=1),
    IntentSpec("pass_on", EnumIntentType.ACTION_SEND, "note", Write, trigger="write"),
)
PLAIN = ("break_state", "break_key", "break_receiver", "complain", "begin_once", "copy_later")
PAYLOADS: dict[str, type[BaseModel]] = {
    "write": Write,
    "copy": Write,
    "unclear": Failure,
    **dict.fromkeys(PLAIN, Nothing),
}
MACHINE = Machine("new", tuple(Transition("new", "new", trigger) for trigger in PAYLOADS))


class Copier:
    """An effect that answers, or raises, whatever the test wants."""

    def __init__(self, answer: Callable[[], Result]) -> None:
        self.answer = answer

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        text: str = intent.payload.text  # type: ignore[attr-defined]
        return Result(Write(text="fine")) if text == "well" else self.answer()


class Desk:
    """An engine as production runs it: states are not checked beside the fold."""

    def __init__(self, store: MemoryStore | SqliteStore, copier: Copier, limits: Limits) -> None:
        made = MachineReducer("note", handlers, MACHINE, PAYLOADS, {spec.name: spec for spec in SPECS})
        code = Code("note", "1.0.0", b"1" * 32, 1)
        table = ReducerRegistry((Workflow(made, code, {"copier": copier}, public=frozenset({"write"})),))
        self.engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV, limits=limits)


def run(
    one_store: OneStore,
    test: Callable[[ReducerPatternEngine], object],
    answer: Callable[[], Result] = lambda: Result(Write()),
    limits: Limits | None = None,
) -> None:
    async def go() -> None:
        desk = Desk(await one_store.store(), Copier(answer), limits or Limits())
        async with asyncio.timeout(10), await desk.engine.start("test") as engine:
            await test(engine)  # type: ignore[misc]  # a coroutine function without a name for its type

    asyncio.run(go())


@pytest.mark.parametrize("trigger", ["break_state", "break_key", "break_receiver", "complain"])
def test_what_cannot_be_written_fails_its_own_action_and_no_other(one_store: OneStore, trigger: str) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        told = await engine.submit_many(
            [
                ("note:1", "write", Write(text="before")),
                ("note:1", trigger, None),
                ("note:2", "write", Write(text="x")),
            ]
        )
        assert [type(one).__name__ for one in told] == ["Committed", "ReducerFailed", "Committed"]
        assert await engine.state("note:1") == Note(status="new", text="before")
        assert (await engine.submit("note:1", "write", Write(text="after"))).version == 2

    run(one_store, test)


def test_a_hold_whose_reason_is_hostile_text_is_kept_and_told(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit("note:1", "write", Write(text="before"))
        for _ in range(3):
            with pytest.raises(ReducerFailed):
                await engine.submit("note:1", "complain")
        with pytest.raises(InstanceHeld):
            await engine.submit("note:1", "write", Write())
        stored = await engine.stored("note:1")
        assert stored is not None and "\\udce9" in stored.held

    run(one_store, test)


def test_a_duplicate_on_which_the_reducer_would_fail_counts_as_no_failure(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        for _ in range(4):
            told = await engine.submit("note:1", "begin_once", action_id=UUID(int=7))
            assert told.version == 1
        stored = await engine.stored("note:1")
        assert stored is not None and (stored.failures, stored.held) == (0, "")
        assert (await engine.submit("note:1", "write", Write())).version == 2

    run(one_store, test)


@pytest.mark.parametrize("issuer", [SURROGATE, "nul\0", "x" * 2000])
def test_an_issuer_that_cannot_stand_in_a_log_is_refused(one_store: OneStore, issuer: str) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        with pytest.raises(InvalidPayload):
            await engine.submit("note:1", "write", Write(), issuer=issuer)
        assert (await engine.submit("note:1", "write", Write(), issuer="me")).version == 1
        (row,) = await engine.reader.rejections("note:1", None, 0, 10)
        assert row.code == "invalid_payload"

    run(one_store, test)


def _too_much() -> Result:
    return Result(Write(text="x" * 300_000))


def _hostile() -> Result:
    raise FileNotFoundError(f"no file {SURROGATE}")


def _endless() -> Result:
    raise OSError("x" * 300_000)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (_too_much, "payload_too_large: Write has"),
        (_hostile, "effect_raised: FileNotFoundError: no file caf\\udce9"),
        (_endless, "effect_raised: OSError: xxx"),
    ],
)
def test_an_end_that_cannot_be_written_is_unknown_and_its_lane_goes_on(
    one_store: OneStore, answer: Callable[[], Result], told: str
) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit_many([("note:1", "copy", Write()), ("note:2", "copy", Write(text="well"))])
        await engine.idle()
        first, second = await engine.state("note:1"), await engine.state("note:2")
        assert isinstance(first, Note) and first.text.startswith(told)
        assert second == Note(status="new", text="fine")
        assert await engine.reader.outbox(tuple(EnumOutboxState), None, None, 10) == []

    run(one_store, test, answer)


def test_a_cancellation_that_leaks_from_an_effect_is_a_try_without_knowledge(one_store: OneStore) -> None:
    def leak() -> Result:
        raise asyncio.CancelledError

    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit_many([("note:1", "copy", Write()), ("note:2", "copy", Write(text="well"))])
        await engine.idle()
        first = await engine.state("note:1")
        assert isinstance(first, Note) and "CancelledError" in first.text
        assert await engine.state("note:2") == Note(status="new", text="fine")

    run(one_store, test, leak)


def test_intents_of_next_year_leave_room_for_what_can_run_now(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        await engine.submit_many([(f"note:{n}", "copy_later", None) for n in range(10)])
        await engine.submit_many([(f"note:{n}", "copy", Write(text="well")) for n in range(10)])
        await engine.idle()
        for n in range(10):
            assert await engine.state(f"note:{n}") == Note(status="new", text="fine")

    run(one_store, test, limits=Limits(kept=4))


def test_a_refusal_whose_reason_is_hostile_text_is_answered_through_the_inbox(one_store: OneStore) -> None:
    async def test(engine: ReducerPatternEngine) -> None:
        sender = await one_store.store()
        ticket = await sender.send(b'{"workflow_key":["note","1"],"kind":"complain"}', 0)
        async with asyncio.timeout(5):
            while (answer := await sender.answer(ticket)) is None:
                await asyncio.sleep(0.01)
        assert b'"code": "reducer_failed"' in answer
        assert (await engine.submit("note:1", "write", Write())).version == 1
        await sender.close()

    run(one_store, test)
