"""A terminal status cancels what waits (promise 44): of earlier steps, unless it is detached; what runs is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.fold import FAILURES_TO_HOLD
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, WorkflowKey
from onex.kernel.errors import EffectFailed, InstanceFinished, ReducerFailed
from onex.kernel.intent import EnumDelivery, EnumIntentType, IntentSpec, ModelIntent, cancel, intent, send
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.nodes.effect import ContainedExecutor
from onex.ports import Code, EnumOutboxState, Note, OutboxRow, Pointer
from tests.engine.conftest import ENV, OneStore
from tests.engine.test_cancel_doubts import Forgetful, both
from tests.engine.test_cancelling import ENDS, PAYLOADS, SLOWLY, Ask, K, Post, Send, crashed, proven, run, until

handlers = reducer(State)


@handlers.on("ask")
def ask(parcel: State, action: Action[Ask]) -> Step[State]:
    wanted = action.payload
    at = action.issued_at + timedelta(seconds=wanted.later_s) if wanted.later_s else None
    return Step(parcel, *[intent("send", Send(text=f"{n}"), not_before=at) for n in range(wanted.times)])


@handlers.on("tell")
def tell(parcel: State, action: Action[Nothing]) -> Step[State]:
    return Step(parcel, intent("shout", Send(text="told"), not_before=action.issued_at + timedelta(seconds=0.2)))


@handlers.on("post")
def post(parcel: State, action: Action[Nothing]) -> Step[State]:
    drafts = [intent("send", Send(text=text), not_before=action.issued_at + timedelta(seconds=1)) for text in "ab"]
    return Step(parcel, intent("once", Send()), *drafts)


@handlers.on("pass_on")
def pass_on(parcel: State, action: Action[Nothing]) -> Step[State]:
    return Step(parcel, send("relay", "2"))


@handlers.on("hear")
def hear(parcel: State, action: Action[Nothing]) -> Step[State]:
    raise ValueError("deaf")


@handlers.on("finish")
def finish(parcel: State, action: Action[Nothing]) -> Step[State]:
    return Step(parcel, intent("send", Send(text="farewell")))


@handlers.on("stop")
def stop(parcel: State, action: Action[Nothing]) -> Step[State]:
    return Step(parcel, cancel("send"))


STAYS = ("ask", "tell", "post", "pass_on", "hear", "sent", "unsent")
MACHINE = Machine(
    "open",
    (
        *(Transition("open", "open", trigger) for trigger in STAYS),
        *(Transition("open", "done", trigger) for trigger in ("finish", "quit", "stop", "unclear")),
    ),
    frozenset({"done"}),
)
SPECS = (
    IntentSpec("send", "api_call", "post", Send, ENDS, retry=SLOWLY, concurrency=1),
    IntentSpec("once", "api_call", "crier", Send, ENDS, retry=SLOWLY, delivery=EnumDelivery.AT_MOST_ONCE),
    IntentSpec("shout", "notification", "post", Send, retry=SLOWLY, concurrency=1, detached=True),
    IntentSpec("relay", EnumIntentType.ACTION_SEND, "parcel", retry=SLOWLY, trigger="hear"),
)
DONE = dict.fromkeys(("finish", "quit", "stop", "post", "pass_on", "hear"), Nothing)


def reducers(effect: Post, crier: Post | None = None, *, detached: bool = False) -> ReducerRegistry:
    """``detached``: "send" is detached too."""
    specs = {spec.name: replace(spec, detached=spec.detached or detached) for spec in SPECS}
    payloads: dict[str, type[BaseModel]] = {**PAYLOADS, **DONE}
    made = MachineReducer("parcel", handlers, MACHINE, payloads, specs)
    served = {"post": ContainedExecutor(effect, "post", 1), "crier": ContainedExecutor(crier or Post(), "crier", 2)}
    return ReducerRegistry((Workflow(made, Code("parcel", "1", b"1" * 32, 1), served, public=frozenset({"hear"})),))


class Letters(Post):
    """Keeps the texts it sent; while ``held`` is not set, its first try does not end."""

    def __init__(self) -> None:
        super().__init__(self._send)
        self.sent: list[str] = []
        self.told = False
        self.held = asyncio.Event()

    async def _send(self, intent: ModelIntent[BaseModel]) -> None:
        try:
            await self.held.wait()
        finally:
            self.told = self.told or intent.cancelled.is_set()
        self.sent.append(str(intent.serialize_payload()["text"]))


async def rows(engine: ReducerPatternEngine) -> list[OutboxRow]:
    return list(await engine.reader.outbox(tuple(EnumOutboxState), K, None, 10))


async def refusals(engine: ReducerPatternEngine) -> list[str]:
    return [row.code for row in await engine.reader.rejections(str(K), None, 0, 10)]


# --- one that waits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later_s", [30, 3600], ids=["in memory", "in the store alone"])
def test_one_that_waits_for_its_time_never_runs_and_has_no_outcome(one_store: OneStore, later_s: int) -> None:
    async def go() -> None:
        effect = Post()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "ask", Ask(later_s=later_s))
            await engine.submit(K, "quit")
            assert await rows(engine) == []
            await engine.idle()
            assert (effect.runs, await refusals(engine)) == (0, [])
            await proven(engine)

    run(go())


def test_one_that_waits_for_a_retry_is_not_tried_again(one_store: OneStore) -> None:
    async def refuse(intent: ModelIntent[BaseModel]) -> None:
        raise EffectFailed("come back", retryable=True)

    async def go() -> None:
        effect = Post(refuse)
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "ask", Ask())

            async def waits() -> bool:
                return [row.attempt for row in await rows(engine)] == [2]

            await until(waits)
            await engine.submit(K, "quit")
            assert await rows(engine) == []
            await engine.idle()
            assert effect.runs == 1
            await proven(engine)

    run(go())


def test_a_message_that_its_receiver_does_not_take_yet_is_not_sent_again(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=reducers(Post())) as engine:
            await engine.submit("parcel:2", "ask", Ask(times=0))
            for _ in range(FAILURES_TO_HOLD):
                with pytest.raises(ReducerFailed):
                    await engine.submit("parcel:2", "hear")
            await engine.submit(K, "pass_on")

            async def waits() -> bool:
                return [row.attempt for row in await rows(engine)] == [2]

            await until(waits)
            await engine.submit(K, "quit")
            assert await rows(engine) == []
            await engine.idle()
            await proven(engine)

    run(go())


def test_what_the_step_that_ends_it_emits_runs(one_store: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        effect.held.set()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "ask", Ask(later_s=3600))
            await engine.submit(K, "finish")
            await engine.idle()
            assert effect.sent == ["farewell"]
            await proven(engine)

    run(go())


def test_within_one_batch_it_gets_no_row_and_a_detached_one_does(one_store: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        effect.held.set()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit_many([(K, "ask", Ask(times=2)), (K, "tell", None), (K, "finish", None)])
            assert [row.pointer.ordinal for row in await rows(engine) if row.version == 1] == []
            await engine.idle()
            assert sorted(effect.sent) == ["farewell", "told"]
            await proven(engine)

    run(go())


def test_a_detached_one_still_runs(one_store: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        effect.held.set()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "tell")
            await engine.submit(K, "quit")
            await engine.idle()
            assert effect.sent == ["told"]
            await proven(engine)

    run(go())


def test_the_contract_of_today_says_what_is_detached(one_store: OneStore) -> None:
    """The row was written by a release in which the intent was not."""

    async def go() -> None:
        async with one_store.engine(reducers=reducers(Post())) as engine:
            await engine.submit(K, "ask", Ask(later_s=3600))
        async with one_store.engine(reducers=reducers(Post(), detached=True)) as engine:
            await engine.submit(K, "quit")
            assert len(await rows(engine)) == 1

    run(go())


# --- one that runs ----------------------------------------------------------------------------------------------------


def test_one_that_runs_is_not_told_and_those_behind_it_never_run(one_store: OneStore) -> None:
    """The target takes one at a time: two of three wait in memory."""

    async def go() -> None:
        effect = Letters()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "ask", Ask(times=3))
            await effect.began.wait()
            await engine.submit(K, "quit")
            assert [row.state for row in await rows(engine)] == [EnumOutboxState.WAITING]
            effect.held.set()
            await engine.idle()
            assert (effect.sent, effect.told) == (["0"], False)
            assert await refusals(engine) == [InstanceFinished.code]
            assert await rows(engine) == []
            await proven(engine)

    run(go())


def test_one_that_the_last_step_cancels_by_name_is_told(one_store: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        async with one_store.engine(reducers=reducers(effect)) as engine:
            await engine.submit(K, "ask", Ask(times=2))
            await effect.began.wait()
            await engine.submit(K, "stop")
            await engine.idle()
            assert (effect.sent, effect.told) == ([], True)
            assert await rows(engine) == []

    run(go())


def test_after_a_crash_one_that_ran_runs_again_and_no_other(one_store: OneStore) -> None:
    async def go() -> None:
        first, second = Letters(), Letters()
        async with crashed(one_store, reducers(first)) as engine:
            await engine.submit(K, "ask", Ask(times=3))
            await first.began.wait()
            await engine.submit(K, "quit")
        second.held.set()
        async with one_store.engine(reducers=reducers(second)) as engine:
            await engine.idle()
            assert second.sent == ["0"]
            assert await rows(engine) == []
            await proven(engine)

    run(go())


# --- what memory does not hold ----------------------------------------------------------------------------------------


def test_what_memory_has_no_room_for_is_cancelled_in_the_store(one_store: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        async with one_store.engine(reducers=reducers(effect), limits=Limits(kept=2)) as engine:
            await engine.submit("parcel:other", "ask", Ask(times=2))
            await effect.began.wait()
            await engine.submit(K, "ask", Ask(times=3))
            await engine.submit(K, "quit")
            assert await rows(engine) == []
            effect.held.set()
            await engine.idle()
            assert effect.runs == 2
            await proven(engine)

    run(go())


def test_what_an_owner_has_not_read_yet_is_cancelled_too(one_store: OneStore) -> None:
    """It finds three intents. The first must not run twice, and its outcome ends the instance. The second may have run when
    its process ended; while that is written down, the instance ends. The third is not read by then."""

    async def go() -> None:
        crier, effect = Letters(), Post()
        async with crashed(one_store, reducers(Post(), crier)) as engine:
            await engine.submit(K, "post")
            await crier.began.wait()
            _, second, _ = await rows(engine)
            await engine.service.note_durably(Note(second.pointer, attempt=1, due_us=second.due_us, started=True))
        async with one_store.engine(reducers=reducers(effect)) as engine:
            stored = await engine.wait(K)
            assert stored.status == "done"
            assert await rows(engine) == []
            await asyncio.sleep(1.1)  # until they would be due
            await engine.idle()
            assert effect.runs == 0
            await proven(engine)

    run(go())


class Counting(MemoryStore):
    reads = 0

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        self.reads += 1
        return await super().outbox(states, key, after, limit)


def test_an_end_reads_the_store_only_where_the_instance_has_intents_that_memory_does_not_hold() -> None:
    async def go() -> None:
        store = Counting()
        engine = ReducerPatternEngine(store, store, reducers(Post()), SystemClock(), UuidV7(), ENV)
        await engine.start("test")
        try:
            await engine.submit("parcel:later", "ask", Ask(later_s=3600))
            at_first = store.reads
            for number in range(5):
                await engine.submit(f"parcel:{number}", "ask", Ask(later_s=10))
                await engine.submit(f"parcel:{number}", "finish")
            await engine.idle()
            assert store.reads == at_first
            await engine.submit("parcel:later", "quit")
            assert store.reads > at_first
        finally:
            await engine.close()

    run(go())


# --- a lost answer ----------------------------------------------------------------------------------------------------


@both
def test_after_a_lost_answer_one_that_waits_never_runs_and_one_that_runs_goes_on(arrives: bool) -> None:
    async def go() -> None:
        store, effect = Forgetful(), Letters()
        store.arrives = arrives
        engine = ReducerPatternEngine(store, store, reducers(effect), SystemClock(), UuidV7(), ENV)
        await engine.start("test")
        try:
            await engine.submit(K, "ask", Ask(times=2))
            await effect.began.wait()
            store.loses = True
            await engine.submit(K, "finish")
            effect.held.set()
            await engine.idle()
            assert effect.sent == ["0", "farewell"]
            assert await rows(engine) == []
            await proven(engine)
        finally:
            await engine.close()

    run(go())


# --- one that is dead -------------------------------------------------------------------------------------------------


def test_one_that_is_dead_is_not_driven_again_for_an_instance_that_takes_no_outcome_of_it(one_store: OneStore) -> None:
    """It was withdrawn, and the re-drive paid it."""

    async def go() -> None:
        effect = Letters()
        effect.held.set()
        served = reducers(effect)
        unserved = ReducerRegistry(tuple(replace(one, executors={}) for one in served.workflows))
        async with one_store.engine(reducers=unserved) as engine:
            await engine.submit(K, "ask", Ask())
            await engine.submit(K, "tell")
            await asyncio.sleep(0.3)  # "tell" is due after 0.2 s
            await engine.idle()
            await engine.submit(K, "quit")
        async with one_store.engine(reducers=served) as engine:
            with_outcomes, without = await rows(engine)
            assert (with_outcomes.state, without.state) == (EnumOutboxState.DEAD, EnumOutboxState.DEAD)
            with pytest.raises(InstanceFinished, match="'send' of parcel:1 is not run again: parcel:1 is 'done'"):
                await engine.redrive(with_outcomes.pointer)
            await engine.redrive(without.pointer)
            await engine.idle()
            assert effect.sent == ["told"]
            assert [row.state for row in await rows(engine)] == [EnumOutboxState.DEAD], "nothing is lost"

    run(go())
