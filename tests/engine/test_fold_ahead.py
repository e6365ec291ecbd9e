"""The next batch is folded while the last one commits: what may be folded then, and what a failed commit takes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Committed
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import (
    ActionExpiredError,
    CommitUnknown,
    EngineClosed,
    OnexError,
    OwnershipLost,
    TemporaryDatabaseError,
)
from onex.ports import Applied, Commit, Conflict
from tests.engine.conftest import ENV
from tests.engine.jobs import Add, Job, Worker, registry

A, B, NEW = (WorkflowKey("job", name) for name in ("a", "b", "new"))


class GatedStore(MemoryStore):
    """A memory store whose commits wait at a gate. ``next_answer``: what the commit at the gate comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_gate = asyncio.Event()
        self.next_answer: OnexError | str | None = None
        self.commits: list[list[tuple[str, int, int]]] = []

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        self.at_gate.set()
        await self.gate.wait()
        self.at_gate.clear()
        answer, self.next_answer = self.next_answer, None
        self.commits.append([(change.key.instance_id, change.based_on, len(change.rows)) for change in commit.changes])
        if isinstance(answer, CommitUnknown):
            await super().commit(commit)
        if isinstance(answer, OnexError):
            raise answer
        if answer == "conflict":
            changed = commit._replace(changes=tuple(one._replace(based_on=one.based_on + 7) for one in commit.changes))
            return await super().commit(changed)
        return await super().commit(commit)


class Gated:
    """An engine over such a store. ``begin`` makes instances; ``hold`` leaves a commit at the gate."""

    def __init__(self, store: GatedStore, engine: ReducerPatternEngine) -> None:
        self.store, self.engine = store, engine
        self.sent: list[asyncio.Task[Committed]] = []

    def send(self, key: WorkflowKey, trigger: str = "add", amount: int = 1, expires_at: datetime | None = None) -> None:
        payload = Add(amount=amount) if trigger in ("add", "wake_me") else None
        submitted = self.engine.submit(key, trigger, payload, expires_at=expires_at)
        self.sent.append(asyncio.create_task(submitted))

    async def hold(self, key: WorkflowKey, trigger: str = "add", amount: int = 1) -> None:
        self.store.gate.clear()
        self.send(key, trigger, amount)
        await self.store.at_gate.wait()

    async def turns(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def folded(self) -> set[str]:
        """The ids of the instances that are folded ahead."""
        return {entry.key.instance_id for entry, _ in self.engine.service._ahead._batch.taken}

    async def let_go(self) -> list[Committed | BaseException]:
        self.store.gate.set()
        return await asyncio.gather(*self.sent, return_exceptions=True)

    async def count(self, key: WorkflowKey) -> int:
        state = await self.engine.state(key)
        assert isinstance(state, Job)
        return state.count


@asynccontextmanager
async def gated(limits: Limits | None = None) -> AsyncIterator[Gated]:
    store = GatedStore()
    engine = ReducerPatternEngine(
        store, store, registry(Worker()), SystemClock(), UuidV7(), ENV, limits=limits, check_all=True
    )
    async with asyncio.timeout(20):
        await engine.start("test")
        for key in (A, B):
            await engine.submit(key, "add", Add(amount=100))
        store.commits.clear()
        try:
            yield Gated(store, engine)
        finally:
            store.gate.set()
            await engine.close()


def test_an_instance_is_folded_on_the_state_that_is_being_committed_and_answered_only_when_it_is_durable() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            one.send(A)
            one.send(B)
            await one.turns()
            assert one.folded() == {"a", "b"}
            assert not any(task.done() for task in one.sent)
            await one.let_go()
            assert [task.result().version for task in one.sent] == [2, 3, 2]
            assert one.store.commits == [[("a", 1, 1)], [("a", 2, 1), ("b", 1, 1)]]

    asyncio.run(go())


def test_what_has_come_for_an_instance_that_is_folded_ahead_waits_for_the_batch_behind() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            for _ in range(3):
                one.send(A)
                await one.turns()
            await one.let_go()
            assert one.store.commits == [[("a", 1, 1)], [("a", 2, 1)], [("a", 3, 2)]]

    asyncio.run(go())


@pytest.mark.parametrize("trigger", ["wake_me", "watch"])
def test_one_whose_timer_has_no_pointer_yet_waits_for_the_end_of_the_commit(trigger: str) -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A, trigger, amount=1000)
            one.send(A, "unwatch" if trigger == "watch" else "add")
            one.send(B)
            await one.turns()
            assert one.folded() == {"b"}
            answers = await one.let_go()
            assert [type(answer) for answer in answers] == [Committed] * 3

    asyncio.run(go())


def test_a_new_instance_waits_for_its_number() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(NEW)
            one.send(NEW)
            await one.turns()
            assert one.folded() == set()
            await one.let_go()
            assert await one.count(NEW) == 2

    asyncio.run(go())


def test_another_new_instance_is_loaded_and_folded_meanwhile() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            one.send(NEW)
            await one.turns()
            assert one.folded() == {"new"}
            await one.let_go()
            assert await one.count(NEW) == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    "answer",
    ["conflict", TemporaryDatabaseError("refused"), CommitUnknown("the answer was lost")],
    ids=["conflict", "refused", "unknown"],
)
def test_what_was_folded_on_a_state_that_is_not_stored_is_folded_again_in_its_order(answer: OnexError | str) -> None:
    async def go() -> None:
        async with gated() as one:
            one.store.next_answer = answer
            await one.hold(A)
            for amount in (2, 3):
                one.send(A, amount=amount)
            one.send(B)
            await one.turns()
            assert one.folded() == {"a", "b"}
            answers = await one.let_go()
            assert [type(answer) for answer in answers] == [Committed] * 4
            amounts = [entry.row.payload for entry in await one.store.history(A, 1, 9)]
            assert amounts == [b'{"amount":1}', b'{"amount":2}', b'{"amount":3}']
            assert await one.count(A) == 106
            assert await one.count(B) == 101

    asyncio.run(go())


def test_what_was_folded_on_another_instance_stays_folded() -> None:
    async def go() -> None:
        async with gated() as one:
            one.store.next_answer = "conflict"
            await one.hold(A)
            one.send(A)
            one.send(B)
            await one.turns()
            one.store.gate.set()
            while len(one.store.commits) < 2:
                await asyncio.sleep(0)
            assert one.store.commits[1] == [("b", 1, 1)]
            await one.let_go()

    asyncio.run(go())


def test_an_engine_that_loses_its_store_answers_also_those_that_were_folded_ahead() -> None:
    async def go() -> None:
        async with gated() as one:
            one.store.next_answer = OwnershipLost("another process has it")
            await one.hold(A)
            one.send(A)
            one.send(B)
            await one.turns()
            answers = await one.let_go()
            assert [type(answer) for answer in answers] == [OwnershipLost] * 3

    asyncio.run(go())


def test_an_engine_that_is_closed_writes_what_was_folded_ahead() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            one.send(A)
            await one.turns()
            closing = asyncio.create_task(one.engine.close())
            await one.turns()
            answers = await one.let_go()
            await closing
            assert [type(answer) for answer in answers] == [Committed] * 2
            with pytest.raises(EngineClosed):
                await one.engine.submit(A, "add", Add())

    asyncio.run(go())


def test_an_action_that_expires_between_its_fold_and_its_commit_is_refused() -> None:
    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            soon = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 0.05, UTC)
            one.send(A, expires_at=soon)
            one.send(B)
            await one.turns()
            assert one.folded() == {"a", "b"}
            await asyncio.sleep(0.06)
            _, late, later = await one.let_go()
            assert isinstance(late, ActionExpiredError)
            assert isinstance(later, Committed)
            assert await one.count(A) == 101

    asyncio.run(go())


def test_where_only_one_instance_has_something_to_do_all_of_it_goes_along() -> None:
    """Else one key that everybody writes to would be committed 64 actions at a time."""

    async def go() -> None:
        async with gated() as one:
            await one.hold(A)
            many = asyncio.create_task(one.engine.submit_many([(A, "add", Add())] * 200))
            await one.turns()
            await one.let_go()
            assert not [answer for answer in await many if isinstance(answer, OnexError)]
            assert one.store.commits == [[("a", 1, 1)], [("a", 2, 200)]]

    asyncio.run(go())


def test_of_many_that_wait_half_is_folded_while_the_first_half_commits() -> None:
    async def go() -> None:
        async with gated() as one:
            many = [(WorkflowKey("job", str(n)), "add", Add()) for n in range(600)]
            answers = await one.engine.submit_many(many)
            assert not [answer for answer in answers if isinstance(answer, OnexError)]
            sizes = [len(commit) for commit in one.store.commits]
            assert sum(sizes) == 600
            assert sizes[0] == 300

    asyncio.run(go())
