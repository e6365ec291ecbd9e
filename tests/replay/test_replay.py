"""The log proves the state: same code, same bytes; anything else is named."""

from __future__ import annotations

import asyncio
import sqlite3

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, Segment
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Start, Worker, registry

K = WorkflowKey("job", "1")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


async def verdicts(engine: ReducerPatternEngine, digest: bytes = b"1") -> list[Segment]:
    replay = Replay(engine.reader, registry(Worker(), digest))
    return [segment async for segment in replay.all()]


async def some_history(engine: ReducerPatternEngine) -> None:
    await engine.submit_many([(K, "add", Add(amount=n)) for n in range(1, 8)])
    await engine.submit(K, "start", Start(text="a"))
    await engine.wait(K)
    await engine.submit("job:2", "add", Add())


def test_a_history_replays_equal(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await some_history(engine)
            assert [s.verdict for s in await verdicts(engine)] == [EnumReplayVerdict.EQUAL] * 2

    run(go())


def test_each_code_is_a_segment_and_other_code_is_not_called_equal(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add(amount=1))
            await engine.submit(K, "add", Add(amount=2))
        async with one_store.engine(digest=b"2") as engine:
            await engine.submit(K, "add", Add(amount=3))
            segments = await verdicts(engine, b"2")
            assert [(s.first, s.last, s.verdict) for s in segments] == [
                (1, 2, EnumReplayVerdict.OTHER_CODE_EQUAL),
                (3, 3, EnumReplayVerdict.EQUAL),
            ]

    run(go())


def test_a_changed_byte_is_a_mismatch(one_store: OneStore) -> None:
    if one_store.kind == "memory":
        return

    async def go() -> None:
        async with one_store.engine() as engine:
            await some_history(engine)
        db = sqlite3.connect(one_store.folder / "store.db")
        changed = db.execute(
            "update log set payload = cast(replace(cast(payload as text), '5', '6') as blob)"
            " where kind = 'add' and cast(payload as text) like '%5%'"
        )
        assert changed.rowcount == 1
        db.commit()
        db.close()
        async with one_store.engine() as engine:
            segments = await verdicts(engine)
            assert [s.verdict for s in segments] == [EnumReplayVerdict.MISMATCH, EnumReplayVerdict.EQUAL]
            assert segments[0].reason

    run(go())


def test_an_impure_reducer_is_a_mismatch(one_store: OneStore) -> None:
    import itertools

    from onex.engine.registry import ReducerRegistry, Workflow
    from onex.kernel.action import Action
    from onex.kernel.machine import MachineReducer, reducer
    from onex.kernel.step import Step
    from onex.ports import Code
    from tests.engine.jobs import MACHINE, PAYLOADS, Job, intents

    ticks = itertools.count()
    handlers = reducer(Job)

    @handlers.on("add")
    def add(job: Job, action: Action[Add]) -> Step[Job]:
        return Step(job.evolve(count=next(ticks)))

    code = Code("job", "1.0.0", b"impure".ljust(32, b"\0"), 1)
    table = ReducerRegistry(
        (Workflow(MachineReducer("job", handlers, MACHINE, PAYLOADS, intents()), code, public=frozenset({"add"})),)
    )

    async def go() -> None:
        async with one_store.engine(reducers=table) as engine:
            await engine.submit_many([(K, "add", Add())] * 3)
            segments = [segment async for segment in Replay(engine.reader, table).all()]
            assert [s.verdict for s in segments] == [EnumReplayVerdict.MISMATCH]

    run(go())
