"""The answer to a commit that cancels is lost: what waited never runs, and what ran is told, as soon as the store can say it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import CommitUnknown
from onex.kernel.intent import ModelIntent
from onex.ports import Applied, Commit, Conflict, EnumOutboxState
from tests.engine.conftest import ENV
from tests.engine.test_cancelling import Ask, K, Parcel, Post, Which, ends, proven, reducers


class Forgetful(MemoryStore):
    """Its next answer is lost when ``loses``; ``arrives`` says whether the commit was made all the same."""

    loses = False
    arrives = True

    async def commit(self, commit: Commit) -> tuple[Applied | Conflict, ...]:
        if not self.loses:
            return tuple(await super().commit(commit))
        self.loses = False
        if self.arrives:
            await super().commit(commit)
        raise CommitUnknown("the answer was lost")


@asynccontextmanager
async def parcels(post: Post, *, arrives: bool) -> AsyncIterator[tuple[ReducerPatternEngine, Forgetful]]:
    store = Forgetful()
    store.arrives = arrives
    engine = ReducerPatternEngine(store, store, reducers(post), SystemClock(), UuidV7(), ENV)
    await engine.start("test")
    try:
        yield engine, store
    finally:
        await engine.close()


both = pytest.mark.parametrize("arrives", [True, False])


@both
def test_one_that_waits_never_runs(arrives: bool) -> None:
    """Two intents, and the target takes one at a time: the second waits in memory when it is cancelled."""
    first_may_end = asyncio.Event()

    async def send(intent: ModelIntent[BaseModel]) -> None:
        await first_may_end.wait()

    async def go() -> None:
        post = Post(send)
        async with parcels(post, arrives=arrives) as (engine, store):
            await engine.submit(K, "ask", Ask(times=2))
            await post.began.wait()
            state = await engine.state(K)
            assert isinstance(state, Parcel)
            store.loses = True
            await engine.submit(K, "stop", Which(id=state.last))
            first_may_end.set()
            await engine.idle()
            assert (post.runs, await ends(engine)) == (1, ("send/0 sent ok",))
            assert await engine.reader.outbox(tuple(EnumOutboxState), K, None, 10) == []
            await proven(engine)

    asyncio.run(go())


@both
def test_one_that_runs_is_told(arrives: bool) -> None:
    async def send(intent: ModelIntent[BaseModel]) -> None:
        await asyncio.sleep(60)

    async def go() -> None:
        post = Post(send)
        async with parcels(post, arrives=arrives) as (engine, store):
            await engine.submit(K, "ask", Ask())
            await post.began.wait()
            store.loses = True
            await engine.submit(K, "stop", Which(name="send"))
            await engine.idle()
            assert (post.runs, await ends(engine)) == (1, ("send/0 unsent cancelled",))
            await proven(engine)

    asyncio.run(go())
