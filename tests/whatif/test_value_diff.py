"""What is said of code that is not the row's own: where it first differs, since when it may, and never a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from onex.adapters.memory.store import MemoryStore
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, WorkflowKey
from onex.kernel.step import Done, State
from onex.kernel.user_code import describe
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, ReplayResult, Segment, state_difference
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Job, Start, Worker, registry

K = WorkflowKey("job", "1")
Changing = Callable[[Done[State]], Done[State]]


class Changed:
    """The reducer of a job, with something done to each of its steps."""

    def __init__(self, change: Changing) -> None:
        self.inner = registry(Worker()).workflows[0].reducer
        self.change = change
        self.workflow_type, self.state_type = self.inner.workflow_type, self.inner.state_type
        self.payloads, self.intents, self.terminal = self.inner.payloads, self.inner.intents, self.inner.terminal

    def initial(self) -> State:
        return self.change(Done(self.inner.initial(), ())).state

    def accepts(self, state: State) -> tuple[str, ...]:
        return self.inner.accepts(state)

    def delta(self, state: State, action: Action[BaseModel]) -> Done[State]:
        return self.change(self.inner.delta(state, action))


async def recorded(one_store: OneStore, actions: int) -> MemoryStore:
    async with one_store.engine() as engine:
        await engine.submit_many([(K, "add", Add(amount=1)) for _ in range(actions)])
    return MemoryStore(one_store.tables)


async def replayed(store: MemoryStore, change: Changing, digest: bytes, redacted_since: int = 0) -> list[Segment]:
    code = registry(Worker(), digest).workflows[0].code

    async def since(key: WorkflowKey) -> int:
        return redacted_since

    replay = Replay(store, ReducerRegistry((Workflow(Changed(change), code),)), (), since)
    return [segment async for segment in replay.all()]


def from_count(first: int) -> Changing:
    """A state that differs from the ``first`` addition on, and an intent never."""

    def change(done: Done[State]) -> Done[State]:
        state = done.state
        return (
            Done(state.evolve(why="other"), done.intents) if isinstance(state, Job) and state.count >= first else done
        )

    return change


@pytest.fixture
def one_store(tmp_path: Path) -> OneStore:
    return OneStore("memory", tmp_path)


def test_a_state_that_differs_is_found_at_the_next_one_kept(one_store: OneStore) -> None:
    async def go() -> None:
        store = await recorded(one_store, 2600)
        kept = [one.version for one in [await store.snapshot(K, at) for at in (1500, 2600)] if one is not None]
        assert (len(kept), kept[0] < 1500 < kept[1]) == (2, True), "states are kept about every thousand versions"
        (segment,) = await replayed(store, from_count(1500), b"2")
        assert (segment.verdict, segment.differs_at, segment.since) == (
            EnumReplayVerdict.OTHER_CODE_DIFFERS, kept[1], kept[0] + 1
        )  # fmt: skip
        assert segment.reason == f'version {kept[1]}: why: folded "other", stored ""'
        (segment,) = await replayed(store, from_count(2600), b"2")
        assert (segment.differs_at, segment.since) == (2600, kept[1] + 1)
        # its own code is checked by the hash of each batch, so far more is known
        (segment,) = await replayed(store, from_count(1500), b"1")
        assert segment.verdict is EnumReplayVerdict.MISMATCH
        assert 1500 <= segment.differs_at < 1500 + 1000
        assert segment.since > kept[0]

    asyncio.run(go())


def test_a_status_or_intent_that_differs_is_known_to_the_version(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            await engine.submit(K, "start", Start(text="a"))
        (segment,) = await replayed(MemoryStore(one_store.tables), lambda done: Done(done.state, ()), b"2")
        assert (segment.differs_at, segment.since) == (2, 1)
        assert segment.reason.startswith("version 2 (start): intents none, stored [")

    asyncio.run(go())


def raising(error: BaseException) -> Changing:
    def change(done: Done[State]) -> Done[State]:
        if isinstance(done.state, Job) and done.state.count == 2:
            raise error
        return done

    return change


@pytest.mark.parametrize(
    "error", [ValueError("no"), RecursionError("deep"), SystemExit(0), KeyError("gone"), ZeroDivisionError()], ids=repr
)
def test_code_that_fails_on_what_is_recorded_is_a_verdict(one_store: OneStore, error: BaseException) -> None:
    async def go() -> None:
        store = await recorded(one_store, 3)
        for digest, verdict in ((b"1", EnumReplayVerdict.MISMATCH), (b"2", EnumReplayVerdict.OTHER_CODE_DIFFERS)):
            (segment,) = await replayed(store, raising(error), digest)
            assert (segment.verdict, segment.last, segment.differs_at) == (verdict, 3, 2)
            assert segment.reason == f"version 2 (add): {describe(error)}"

    asyncio.run(go())


def test_a_first_state_that_cannot_be_made_is_a_verdict(one_store: OneStore) -> None:
    def broken(done: Done[State]) -> Done[State]:
        raise TypeError("State() takes no arguments")

    async def go() -> None:
        (segment,) = await replayed(await recorded(one_store, 3), broken, b"2")
        assert (segment.verdict, segment.differs_at) == (EnumReplayVerdict.OTHER_CODE_DIFFERS, 1)

    asyncio.run(go())


def test_redacted_is_neither_equal_nor_a_mismatch_whatever_is_found(one_store: OneStore) -> None:
    async def go() -> None:
        store = await recorded(one_store, 3)
        for change in (lambda done: done, from_count(2), raising(ValueError("no"))):
            for digest in (b"1", b"2"):
                (segment,) = await replayed(store, change, digest, redacted_since=3)
                assert segment.verdict is EnumReplayVerdict.REDACTED
        (segment,) = await replayed(store, lambda done: done, b"1", redacted_since=4)
        assert segment.verdict is EnumReplayVerdict.EQUAL, "behind the last version nothing was redacted"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("folded", "stored", "told"),
    [
        (b'{"a":1}', b'{"a":2}', "a: folded 1, stored 2"),
        (b'{"a":{"b":[1]}}', b'{"a":{"b":[2]}}', "a.b: folded [1], stored [2]"),
        (b'{"a":1}', b"{}", "a: folded 1, stored nothing"),
        (b"{}", b'{"a":null}', "a: folded nothing, stored null"),
        (b'{"a":1}', b'{"a":1.0}', "a: folded 1, stored 1.0"),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', 'folded {"a":1,"b":2}, stored {"b":2,"a":1}'),
        (b'{"a":1}', b"damaged", 'folded {"a":1}, stored damaged'),
        (b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', b"{}", "; ".join(f"{n}: folded 1, stored nothing" for n in "abcde")
         + "; and more"),
    ],
)  # fmt: skip
def test_two_states_are_told_apart_by_their_fields(folded: bytes, stored: bytes, told: str) -> None:
    assert state_difference(folded, stored) == told


def test_what_several_processes_found_adds_up(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit_many([(f"job:{n}", "add", Add()) for n in range(7)])
        read = MemoryStore(one_store.tables)
        whole, parts = ReplayResult(), ReplayResult()
        for share in ((0, 1), (0, 3), (1, 3), (2, 3)):
            replay = Replay(read, registry(Worker(), b"2"))
            async for _ in replay.all(None, share):
                pass
            (whole if share == (0, 1) else parts).join(replay.result)
        assert parts == whole
        assert (whole.instances, [str(one.key) for one in whole.bad]) == (7, [f"job:{n}" for n in range(7)])

    asyncio.run(go())
