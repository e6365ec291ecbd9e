"""Every committed intent ends in a way that can be named; what does not is lost, and the audit says which and why."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest

from onex.adapters.clock import SystemClock
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import WorkflowKey
from onex.replay.audit import Audit, SeenEffect, audit
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Finished, Start, Told, Worker, registry
from tests.engine.test_cancelling import Ask
from tests.engine.test_cancelling_at_the_end import Letters, reducers

K = WorkflowKey("job", "1")
ID = uuid5(NAMESPACE_OID, "an action")
HOUR = 3600


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # any coroutine will do


async def audited(
    engine: ReducerPatternEngine,
    *,
    seen: Collection[SeenEffect] | None = None,
    acknowledged: Collection[tuple[WorkflowKey, UUID]] = (),
) -> Audit:
    await engine.idle()
    now_us = SystemClock().now_us()
    table = registry(Worker())
    return await audit(engine.reader, table, now_us, seen=seen, acknowledged=acknowledged)


def test_each_intent_is_counted_by_how_it_ended(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit("job:effect", "start", Start(text="hello"))
            await engine.submit("job:refused_for_good", "start", Start(text="refuse"))
            await engine.submit("job:shout", "shout")
            await engine.submit("job:sender", "tell", Told(text="receiver"))
            await engine.submit("job:fires", "wake_me", Add(amount=0))
            await engine.submit("job:waits", "wake_me", Add(amount=HOUR))
            await engine.submit("job:replaces", "wake_me", Add(amount=HOUR))
            await engine.submit("job:replaces", "wake_me", Add(amount=2 * HOUR))
            await engine.submit("job:leaves", "watch")
            await engine.submit("job:leaves", "unwatch")
            done = await audited(engine)
            assert done.lost == []
            assert (done.ended, done.silent, done.waiting, done.removed) == (4, 1, 2, 2)
            assert done.intents == 9
            assert (done.refused, done.held, done.dead, done.unsettled, done.unreadable) == (0, 0, 0, 0, 0)
            assert done.actions == (await engine.reader.counts()).actions

    run(go())


def test_the_timers_of_a_finished_instance_are_removed(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "wake_me", Add(amount=HOUR))
            await engine.submit(K, "start", Start(text="hello"))
            done = await audited(engine)
            assert (done.ended, done.removed, done.lost) == (1, 1, [])

    run(go())


def test_an_outcome_that_came_too_late_is_refused_not_lost(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="slow"))
            await engine.submit(K, "finished", Finished(text="somebody else did it"))
            done = await audited(engine)
            assert (done.refused, done.lost) == (1, [])

    run(go())


def test_what_a_rejection_no_longer_says_is_past_and_not_lost(sqlite: OneStore) -> None:
    async def go() -> None:
        async with sqlite.engine() as engine:
            await engine.submit(K, "start", Start(text="slow"))
            await engine.submit(K, "finished", Finished(text="somebody else did it"))
            await engine.idle()
            damage(sqlite, "delete from rejections")
            now_us = SystemClock().now_us()
            table = registry(Worker())
            specs = table["job"].reducer.intents.by_name
            specs["do"] = replace(specs["do"], detached=True)  # else it may have been cancelled when the job ended
            young, old = [await audit(engine.reader, table, now_us + days * 24 * HOUR * 1_000_000) for days in (5, 7)]
            assert (len(young.lost), young.past) == (1, 0)
            assert (old.lost, old.past, old.intents) == ([], 1, 1)

    run(go())


def test_what_waited_when_its_instance_ended_is_removed_and_what_its_last_step_emitted_is_not(sqlite: OneStore) -> None:
    async def go() -> None:
        effect = Letters()
        async with sqlite.engine(reducers=reducers(effect)) as engine:
            await engine.submit("parcel:1", "ask", Ask(later_s=HOUR))
            await engine.submit("parcel:1", "finish")
            await effect.began.wait()
            damage(sqlite, "delete from outbox")
            done = await audit(engine.reader, reducers(effect), None)
            assert [str(lost.what) for lost in done.lost] == ["parcel:1 version 2 send/0"]
            assert (done.removed, done.intents) == (1, 2)
            effect.held.set()

    run(go())


def test_held_and_dead_rows_are_counted_as_such(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit("job:held", "start", Start(text="poison"))
            await engine.submit("job:gone", "start", Start(text="hello"))
            await engine.wait("job:gone", "done")
            await engine.submit("job:dead", "tell", Told(text="gone"))
            done = await audited(engine)
            assert (done.held, done.dead, done.lost) == (1, 1, [])

    run(go())


def test_an_effect_outside_without_a_committed_intent_is_a_stray(one_store: OneStore) -> None:
    stray = SeenEffect("job:9", 1, "do", 0)
    known = SeenEffect("job:1", 1, "do", 0)

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="hello"))
            done = await audited(engine, seen={known, stray})
            assert (done.strays, done.lost) == ([stray], [])

    run(go())


def test_what_calls_itself_done_and_was_not_seen_outside_is_lost(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="hello"))
            await engine.submit("job:2", "shout")
            await engine.submit("job:3", "start", Start(text="refuse"))
            done = await audited(engine, seen=())
            assert [(one.what.key, one.what.name) for one in done.lost] == [("job:1", "do"), ("job:2", "shout")]
            seen = {one.what for one in done.lost}
            assert (await audited(engine, seen=seen)).lost == []

    run(go())


def test_an_acknowledged_action_that_the_log_does_not_have_is_named(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add(), action_id=ID)
            other = (WorkflowKey("job", "2"), ID)
            assert (await audited(engine, acknowledged=[(K, ID), other])).forgotten == [other]

    run(go())


def test_without_its_contract_an_intent_is_unreadable_not_lost(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="hello"))
            await engine.idle()
            done = await audit(engine.reader, ReducerRegistry(), None)
            assert (done.intents, done.unreadable, done.lost) == (1, 1, [])

    run(go())


@pytest.fixture
def sqlite(tmp_path: Path) -> OneStore:
    return OneStore("sqlite", tmp_path)


def damage(one_store: OneStore, statement: str) -> None:
    with sqlite3.connect(one_store.folder / "store.db") as database:
        assert database.execute(statement).rowcount == 1
    database.close()


def test_a_dropped_outbox_row_makes_its_intent_lost(sqlite: OneStore) -> None:
    async def go() -> None:
        async with sqlite.engine() as engine:
            await engine.submit("job:waits", "wake_me", Add(amount=HOUR))
            await engine.submit("job:too", "wake_me", Add(amount=HOUR))
        damage(sqlite, "delete from outbox where n = 1")
        async with sqlite.engine() as engine:
            done = await audited(engine)
            assert [str(one) for one in done.lost] == [
                "job:waits version 1 alarm/0: it has neither an outcome nor an outbox row"
            ]
            assert done.waiting == 1

    run(go())


def test_a_row_that_is_due_and_still_waits_is_lost_once_all_has_drained(sqlite: OneStore) -> None:
    async def go() -> None:
        async with sqlite.engine() as engine:
            await engine.submit(K, "wake_me", Add(amount=HOUR))
            await engine.idle()
            late_us = SystemClock().now_us() + 2 * HOUR * 1_000_000
            assert len((await audit(engine.reader, registry(Worker()), late_us)).lost) == 1
            assert (await audit(engine.reader, registry(Worker()), None)).waiting == 1

    run(go())


def test_a_row_whose_intent_has_ended_is_unsettled(sqlite: OneStore) -> None:
    async def go() -> None:
        async with sqlite.engine() as engine:
            await engine.submit(K, "start", Start(text="hello"))
            await engine.idle()
            damage(
                sqlite,
                "insert into outbox(n, ordinal, instance, priority, due_us, timer) select 1, 0, instance, 2, 0, ''"
                " from workflow_state",
            )
            done = await audited(engine)
            assert (done.unsettled, done.ended, done.lost) == (1, 1, [])

    run(go())
