"""Cancelling an intent (promise 44): one that waits never runs, one that runs is told, and a crash changes neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import wraps
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import NOTHING, Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import EffectFailed, ReducerFailed
from onex.kernel.intent import EnumOutcome, Failure, IntentSpec, ModelIntent, cancel, intent
from onex.kernel.machine import Machine, MachineReducer, Transition, reducer
from onex.kernel.retry import RetryPolicy
from onex.kernel.step import State, Step
from onex.nodes.effect import ContainedExecutor, FunctionExecutor
from onex.ports import Blobs, Code, EnumOutboxState, Executor, OutboxRow, Result
from onex.replay.audit import audit
from onex.replay.replay import Replay
from tests.engine.conftest import ENV, OneStore

K = WorkflowKey("parcel", "1")


class Parcel(State):
    ends: tuple[str, ...] = ()
    last: str = ""


class Send(Payload):
    text: str = ""


class Ask(Payload):
    """``times`` intents of one name, not before ``later_s`` from now."""

    times: int = 1
    later_s: int = 0


class Which(Payload):
    name: str = ""
    id: str = ""


handlers = reducer(Parcel)


@handlers.on("ask")
def ask(parcel: Parcel, action: Action[Ask]) -> Step[Parcel]:
    wanted = action.payload
    at = action.issued_at + timedelta(seconds=wanted.later_s) if wanted.later_s else None
    last = str(action.intent_id_of("send", wanted.times - 1))
    drafts = [intent("send", Send(text=str(n)), not_before=at) for n in range(wanted.times)]
    return Step(parcel.evolve(last=last), *drafts)


@handlers.on("stop")
def stop(parcel: Parcel, action: Action[Which]) -> Step[Parcel]:
    which = action.payload
    return Step(parcel, cancel(UUID(which.id) if which.id else which.name))


@handlers.on("replace")
def replace(parcel: Parcel, action: Action[Nothing]) -> Step[Parcel]:
    return Step(parcel, intent("send", Send(text="old")), cancel("send"), intent("send", Send(text="new")))


@handlers.on("tell")
def tell(parcel: Parcel, action: Action[Nothing]) -> Step[Parcel]:
    return Step(parcel, intent("shout", Send()))


@handlers.on("sent", "unsent", "unclear")
def ended(parcel: Parcel, action: Action[Any]) -> Step[Parcel]:
    of = action.outcome_of
    code = action.payload.code if isinstance(action.payload, Failure) else "ok"
    assert of is not None
    return Step(parcel.evolve(ends=(*parcel.ends, f"{of.name}/{of.n} {action.kind} {code}")))


ENDS = {EnumOutcome.SUCCEEDED: "sent", EnumOutcome.FAILED: "unsent", EnumOutcome.UNKNOWN: "unclear"}
SLOWLY = RetryPolicy(max_attempts=5, initial_s=60.0, max_s=60.0)
PAYLOADS: Mapping[str, type[BaseModel]] = {
    "ask": Ask, "stop": Which, "replace": Nothing, "tell": Nothing, "leave": Nothing, "sent": Nothing, "unsent": Failure,
    "unclear": Failure,
}  # fmt: skip
MACHINE = Machine(
    "open",
    (
        *(Transition("open", "open", trigger) for trigger in PAYLOADS if trigger != "leave"),
        *(Transition("left", "left", trigger) for trigger in PAYLOADS if trigger != "leave"),
        Transition("open", "left", "leave"),
    ),
)

Effect = Callable[[ModelIntent[BaseModel]], Any]


class Post:
    """An effect as the test wants it. ``runs`` counts its tries, and waits until one has begun."""

    def __init__(self, effect: Effect | None = None) -> None:
        self.effect, self.runs, self.began = effect, 0, asyncio.Event()

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.runs += 1
        self.began.set()
        if self.effect is not None:
            await self.effect(intent)
        return Result(NOTHING)


def until_set(event: asyncio.Event) -> Effect:
    async def waits(intent: ModelIntent[BaseModel]) -> None:
        await event.wait()

    return waits


def reducers(post: Executor, *, on_exit: bool = False) -> ReducerRegistry:
    specs = (
        IntentSpec("send", "api_call", "post", Send, ENDS, retry=SLOWLY, concurrency=1, cancel_on_exit=on_exit),
        IntentSpec("shout", "notification", "post", Send, retry=SLOWLY, concurrency=1),
    )
    made = MachineReducer("parcel", handlers, MACHINE, PAYLOADS, {spec.name: spec for spec in specs})
    contained = ContainedExecutor(post, "post", 1) if isinstance(post, Post) else post
    return ReducerRegistry((Workflow(made, Code("parcel", "1", b"1" * 32, 1), {"post": contained}),))


async def ends(engine: ReducerPatternEngine) -> tuple[str, ...]:
    state = await engine.state(K)
    assert isinstance(state, Parcel)
    return state.ends


async def until(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    while not await holds():
        await asyncio.sleep(0.005)


async def proven(engine: ReducerPatternEngine) -> None:
    """Nothing of it is lost, and it replays."""
    found = await audit(engine.reader, engine.registry, None)
    assert (found.lost, found.unsettled) == ([], 0)
    replay = Replay(engine.reader, engine.registry)
    assert {str(one.verdict) async for one in replay.all()} == {"equal"}


async def rows(engine: ReducerPatternEngine) -> Sequence[OutboxRow]:
    return await engine.reader.outbox(tuple(EnumOutboxState), K, None, 10)


async def ask_and_stop(engine: ReducerPatternEngine, began: asyncio.Event) -> None:
    """An intent that is cancelled while it runs, and all that comes of it."""
    await engine.submit(K, "ask", Ask())
    await began.wait()
    await engine.submit(K, "stop", Which(name="send"))
    await engine.idle()


async def all_done(engine: ReducerPatternEngine, post: Post) -> tuple[int, tuple[str, ...]]:
    """How often ``post`` ran, and the outcomes, when nothing is due any more; nothing is lost, and all of it replays."""
    await engine.idle()
    await proven(engine)
    return post.runs, await ends(engine)


def run(script: Coroutine[Any, Any, None]) -> None:
    asyncio.run(script)


def in_loop(test: Callable[[OneStore], Coroutine[Any, Any, None]]) -> Callable[[OneStore], None]:
    @wraps(test)
    def in_its_own(one_store: OneStore) -> None:
        run(test(one_store))

    return in_its_own


# --- one that waits ---------------------------------------------------------------------------------------------------


@in_loop
async def test_one_that_waits_for_its_time_never_runs_and_has_no_outcome(one_store: OneStore) -> None:
    post = Post()
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "ask", Ask(later_s=3600))
        await engine.submit(K, "stop", Which(name="send"))
        assert await all_done(engine, post) == (0, ())
        assert await rows(engine) == []


@in_loop
async def test_one_that_waits_for_a_retry_is_not_tried_again(one_store: OneStore) -> None:
    async def refuse(intent: ModelIntent[BaseModel]) -> None:
        raise EffectFailed("come back", retryable=True)

    post = Post(refuse)
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "ask", Ask())
        await post.began.wait()

        async def waits() -> bool:
            rows = await engine.reader.outbox((EnumOutboxState.WAITING,), K, None, 10)
            return bool(rows and rows[0].attempt == 2)

        await until(waits)
        await engine.submit(K, "stop", Which(name="send"))
        assert await all_done(engine, post) == (1, ())
        assert await rows(engine) == []


@in_loop
async def test_those_behind_the_one_that_runs_never_run(one_store: OneStore) -> None:
    """The target takes one at a time: two of three wait in memory."""
    post = Post(until_set(asyncio.Event()))
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "ask", Ask(times=3))
        await post.began.wait()
        await engine.submit(K, "stop", Which(name="send"))
        assert await all_done(engine, post) == (1, ("send/0 unsent cancelled",))


@in_loop
async def test_by_id_it_is_one_and_its_neighbours_run(one_store: OneStore) -> None:
    post = Post()
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "ask", Ask(times=2, later_s=1))
        state = await engine.state(K)
        assert isinstance(state, Parcel)
        await engine.submit(K, "stop", Which(id=state.last))

        async def ended() -> bool:
            return bool(await ends(engine))

        await until(ended)
        assert await all_done(engine, post) == (1, ("send/0 sent ok",))


@in_loop
async def test_one_step_may_replace_what_it_emitted_itself(one_store: OneStore) -> None:
    post = Post()
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "replace")
        assert await all_done(engine, post) == (1, ("send/1 sent ok",))


@in_loop
async def test_emitted_and_cancelled_within_one_batch_it_gets_no_row(one_store: OneStore) -> None:
    post = Post()
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit_many([(K, "ask", Ask(times=2)), (K, "stop", Which(name="send")), (K, "ask", Ask())])
        assert await all_done(engine, post) == (1, ("send/0 sent ok",))


@in_loop
async def test_what_memory_has_no_room_for_is_cancelled_in_the_store(one_store: OneStore) -> None:
    release = asyncio.Event()
    post = Post(until_set(release))
    async with one_store.engine(reducers=reducers(post), limits=Limits(kept=2)) as engine:
        await engine.submit("parcel:other", "ask", Ask(times=2))
        await post.began.wait()
        await engine.submit(K, "ask", Ask(times=3))
        await engine.submit(K, "stop", Which(name="send"))
        release.set()
        await engine.idle()
        assert post.runs == 2
        assert await ends(engine) == ()
        await proven(engine)


@in_loop
async def test_what_nobody_waits_for_can_be_cancelled_and_a_name_without_intents_does_nothing(
    one_store: OneStore,
) -> None:
    post = Post(until_set(asyncio.Event()))
    async with one_store.engine(reducers=reducers(post)) as engine:
        await engine.submit(K, "tell")
        await post.began.wait()
        await engine.submit(K, "stop", Which(name="send"))
        await engine.submit(K, "stop", Which(name="shout"))
        await engine.idle()
        assert await rows(engine) == []
        with pytest.raises(ReducerFailed, match="'letter' is not in the contract"):
            await engine.submit(K, "stop", Which(name="letter"))


# --- one that runs ----------------------------------------------------------------------------------------------------


def test_one_whose_last_try_failed_in_the_moment_it_was_cancelled_is_dead_as_if_it_had_failed_before(
    one_store: OneStore,
) -> None:
    """Its end and the cancelling are written in one commit. Noted as cancelled and forgotten, its row would stay for ever."""

    async def go() -> None:
        stops: list[asyncio.Task[Any]] = []

        async def fails(intent: ModelIntent[BaseModel]) -> None:
            stops.append(asyncio.create_task(engine.submit(K, "stop", Which(name="shout"))))
            raise EffectFailed("nobody listens")

        async with one_store.engine(reducers=reducers(Post(fails))) as engine:
            await engine.submit(K, "tell")
            await engine.idle()
            assert (await stops[0]).version == 2
            rows = await engine.reader.outbox(tuple(EnumOutboxState), K, None, 10)
            assert [row.state for row in rows] == [EnumOutboxState.DEAD]

    run(go())


class NoBlobs:
    async def read(self, digest: bytes) -> bytes:
        raise AssertionError("no effect here reads one")


def served(function: Any) -> Executor:
    blobs: Blobs = NoBlobs()
    return FunctionExecutor(function, blobs, target="post", concurrency=1)


@in_loop
async def test_an_async_effect_is_stopped_and_the_outcome_says_cancelled(one_store: OneStore) -> None:
    began = asyncio.Event()
    seen: list[str] = []

    async def send(intent: ModelIntent[Send]) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(f"told {intent.cancelled.is_set()}")
            raise

    async with one_store.engine(reducers=reducers(served(send))) as engine:
        await ask_and_stop(engine, began)
        assert (seen, await ends(engine)) == (["told True"], ("send/0 unsent cancelled",))
        assert await rows(engine) == []
        await proven(engine)


@in_loop
async def test_one_that_goes_on_all_the_same_has_the_outcome_it_comes_to(one_store: OneStore) -> None:
    began = asyncio.Event()

    async def send(intent: ModelIntent[Send]) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # it was too late to stop: the letter is in the box

    async with one_store.engine(reducers=reducers(served(send))) as engine:
        await ask_and_stop(engine, began)
        assert await ends(engine) == ("send/0 sent ok",)


@in_loop
async def test_a_function_in_a_thread_asks_whether_it_was_cancelled(one_store: OneStore) -> None:
    began = asyncio.Event()

    loop = asyncio.get_running_loop()

    def send(intent: ModelIntent[Send]) -> None:
        loop.call_soon_threadsafe(began.set)
        while not intent.cancelled.is_set():
            pass
        raise EffectFailed("stopped before anything was done", code="cancelled")

    async with one_store.engine(reducers=reducers(served(send))) as engine:
        await ask_and_stop(engine, began)
        assert await ends(engine) == ("send/0 unsent cancelled",)


@in_loop
async def test_told_and_failing_otherwise_it_is_not_tried_again(one_store: OneStore) -> None:
    began = asyncio.Event()

    async def send(intent: ModelIntent[Send]) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("the line dropped") from None

    async with one_store.engine(reducers=reducers(served(send))) as engine:
        await ask_and_stop(engine, began)
        assert await ends(engine) == ("send/0 unclear effect_raised",)


# --- a crash between ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def crashed(one_store: OneStore, table: ReducerRegistry) -> AsyncIterator[ReducerPatternEngine]:
    """An engine that is closed while its effect runs: for the next owner that is as after a crash."""
    store = await one_store.store()
    engine = ReducerPatternEngine(store, store, table, SystemClock(), UuidV7(), ENV)
    await engine.start("first")
    try:
        yield engine
    finally:
        await engine.close()


@in_loop
async def test_the_next_owner_does_not_run_one_that_was_cancelled_while_it_ran(one_store: OneStore) -> None:
    async def deaf(intent: ModelIntent[BaseModel]) -> None:
        for _ in range(1000):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling() > 1:  # type: ignore[union-attr]
                    raise

    first, second = Post(deaf), Post()
    async with crashed(one_store, reducers(first)) as engine:
        await engine.submit(K, "ask", Ask())
        await first.began.wait()
        await engine.submit(K, "stop", Which(name="send"))
        (row,) = await rows(engine)
        assert row.state is EnumOutboxState.CANCELLED
    async with one_store.engine(reducers=reducers(second)) as engine:
        await engine.idle()
        assert (second.runs, await ends(engine)) == (0, ("send/0 unclear cancelled",))
        assert await rows(engine) == []
        await proven(engine)


# --- on exit ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_leaving_a_status_cancels_what_was_emitted_in_it(one_store: OneStore) -> None:
    post = Post()
    async with one_store.engine(reducers=reducers(post, on_exit=True)) as engine:
        await engine.submit(K, "ask", Ask(later_s=3600))
        await engine.submit(K, "stop", Which(name="shout"))  # the status stays, and so does the intent
        assert len(await rows(engine)) == 1
        await engine.submit(K, "leave")
        assert await rows(engine) == []
        await engine.submit(K, "ask", Ask())
        assert await all_done(engine, post) == (1, ("send/0 sent ok",))


@in_loop
async def test_without_on_exit_it_stays(one_store: OneStore) -> None:
    async with one_store.engine(reducers=reducers(Post())) as engine:
        await engine.submit(K, "ask", Ask(later_s=3600))
        await engine.submit(K, "leave")
        assert len(await rows(engine)) == 1
