"""A worker that is told to end lets what runs end first, and has its shards for as long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.shard_keeper import DRAIN_S
from onex.kernel.action import NOTHING, ModelAction, WorkflowKey
from onex.kernel.errors import OwnershipLost, TemporaryDatabaseError
from onex.kernel.intent import ModelIntent
from onex.kernel.membership import Membership, Worker
from onex.kernel.route import shard_of
from onex.ports import Applied, Commit, Conflict, Result
from onex.simulation.host import Host
from onex.simulation.seeded_run import Sim, run
from tests.engine.conftest import ENV
from tests.engine.jobs import Worker as WorkDone
from tests.engine.jobs import registry

LEASE_S = 1.0
KEY = WorkflowKey("job", "1")


class Horn:
    """``begun`` and ``ended``: by which worker."""

    def __init__(self, worker: str, takes_s: float, begun: list[str], ended: list[str]) -> None:
        self.worker, self.takes_s, self.begun, self.ended = worker, takes_s, begun, ended

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.begun.append(self.worker)
        await asyncio.sleep(self.takes_s)
        self.ended.append(self.worker)
        return Result(NOTHING)


def _told_to_end_while_the_horn_sounds(takes_s: float) -> tuple[list[str], list[str]]:
    """Two workers, and the one with the instance is told to end. ``(begun, ended)`` when all has come to rest."""
    begun: list[str] = []
    ended: list[str] = []

    async def scenario(sim: Sim) -> None:
        tables = Tables(shards=8)

        async def opened(name: str) -> tuple[Host, ReducerPatternEngine]:
            host, store = sim.host(name), MemoryStore(tables, now_s=sim.clock.monotonic)
            jobs = registry(Horn(name, takes_s, begun, ended))  # type: ignore[arg-type]  # an executor like any other
            engine = ReducerPatternEngine(store, store, jobs, host.clock, host.ids, ENV, check_all=True)
            await host.spawn(engine.share(Worker(name, LEASE_S), store, store, store.watch()))
            return host, engine

        workers = [await opened("a"), await opened("b")]
        await sim.clock.sleep(5.0)
        workers.sort(key=lambda one: shard_of(KEY, 8) in one[1].service.fences, reverse=True)
        (host, engine), (other_host, other) = workers
        await host.spawn(engine.submit(KEY, "shout"))
        await sim.clock.sleep(0.1)
        await host.spawn(engine.close())
        await sim.clock.sleep(60.0)
        assert len(other.service.fences) == 8
        assert not tables.outbox
        await other_host.spawn(other.close())

    run(scenario, 1).result()
    return begun, ended


def test_what_runs_longer_than_the_lease_ends_here_and_is_not_run_again() -> None:
    begun, ended = _told_to_end_while_the_horn_sounds(5 * LEASE_S)
    assert len(begun) == 1
    assert ended == begun


def test_what_runs_longer_than_a_drain_is_cut_off_and_run_by_the_next_owner() -> None:
    begun, ended = _told_to_end_while_the_horn_sounds(DRAIN_S + 1)
    assert len(set(begun)) == len(begun) == 2
    assert ended == begun[1:]


class SlowStore(MemoryStore):
    """``moved`` counts commits whose fences were others at their end."""

    moved = 0

    def __init__(self, sim: Sim, tables: Tables) -> None:
        super().__init__(tables, now_s=sim.clock.monotonic)
        self.sim = sim

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        fences = dict(commit.fences)
        await self.sim.clock.sleep(10 * LEASE_S)
        self.moved += commit.fences != fences
        return await super().commit(commit)


def test_a_shard_that_is_gained_during_a_commit_is_no_part_of_it() -> None:
    async def scenario(sim: Sim) -> None:
        tables = Tables(shards=2)
        host, store = sim.host("a"), SlowStore(sim, tables)
        engine = ReducerPatternEngine(store, store, registry(WorkDone()), host.clock, host.ids, ENV, check_all=True)
        await host.spawn(engine.share(Worker("a", LEASE_S), store, store, store.watch()))
        (other,) = engine.service.fences.keys() - {shard_of(KEY, 2)}
        await host.spawn(engine.service.give_shards({other}))
        committed = host.spawn(engine.submit(KEY, "add", {"amount": 1}))
        await sim.clock.sleep(5 * LEASE_S)
        assert len(engine.service.fences) == 2
        await committed
        assert store.moved == 0
        await host.spawn(engine.close())

    run(scenario, 1).result()


class CutOff(MemoryStore):
    """A store that takes no commits or no beats, while it is told so."""

    takes_commits = takes_beats = True

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        if not self.takes_commits:
            raise TemporaryDatabaseError("the store is cut off")
        return await super().commit(commit)

    async def beat(self) -> Membership:
        if not self.takes_beats:
            raise TemporaryDatabaseError("the store is cut off")
        return await super().beat()


def test_a_worker_whose_store_was_cut_off_takes_actions_of_shards_that_come_back() -> None:
    """What it could not write was another's when its store came back, so no commit of its own told it so."""

    async def scenario(sim: Sim) -> None:
        tables = Tables(shards=8)
        stores = {name: CutOff(tables, now_s=sim.clock.monotonic) for name in ("a", "b")}
        workers: dict[str, tuple[Host, ReducerPatternEngine]] = {}
        for name, store in stores.items():
            host = sim.host(name)
            engine = ReducerPatternEngine(store, store, registry(WorkDone()), host.clock, host.ids, ENV, check_all=True)
            await host.spawn(engine.share(Worker(name, LEASE_S), store, store, store.watch()))
            workers[name] = host, engine
        await sim.clock.sleep(5.0)
        name = next(one for one, (_, engine) in workers.items() if shard_of(KEY, 8) in engine.service.fences)
        store, (host, engine) = stores[name], workers[name]
        store.takes_commits = store.takes_beats = False
        lost = host.spawn(engine.submit(KEY, "add", {"amount": 1}))
        await sim.clock.sleep(3 * LEASE_S)
        store.takes_commits = True
        with pytest.raises(OwnershipLost):
            await lost
        store.takes_beats = True
        await sim.clock.sleep(10 * LEASE_S)
        assert shard_of(KEY, 8) in engine.service.fences
        sent = ModelAction(workflow_key=KEY, kind="add", command_payload={"amount": 2})
        ticket = await store.send(sent.model_dump_json(exclude_none=True).encode(), 0, shard_of(KEY, 8))
        await host.spawn(engine.submit(KEY, "add", {"amount": 1}))
        await sim.clock.sleep(1.0)
        assert await store.answer(ticket) is not None
        for one, its in workers.values():
            await one.spawn(its.close())

    run(scenario, 1).result()


class Heard:
    details = False

    def __init__(self) -> None:
        self.lost: list[dict[str, object]] = []

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        if name == "worker_lost":
            self.lost.append(dict(fields))


def test_a_worker_that_dies_is_named_by_the_one_that_takes_its_shards() -> None:
    heard = Heard()

    async def scenario(sim: Sim) -> None:
        tables = Tables(shards=8)
        engines = {}
        for name in ("first", "second"):
            host, store = sim.host(name), MemoryStore(tables, now_s=sim.clock.monotonic)
            engine = ReducerPatternEngine(
                store, store, registry(WorkDone()), host.clock, host.ids, ENV, check_all=True, telemetry=heard
            )
            await host.spawn(engine.share(Worker(name, LEASE_S), store, store, store.watch()))
            engines[name] = host, engine
        await sim.clock.sleep(5.0)
        shares = {name: len(engine.service.fences) for name, (_, engine) in engines.items()}
        assert heard.lost == [], "what is given in order is no loss"
        engines["first"][0].crash()
        await sim.clock.sleep(5.0)
        assert heard.lost == [{"worker": "first", "shards": shares["first"]}]
        await engines["second"][0].spawn(engines["second"][1].close())

    run(scenario, 1).result()


@pytest.mark.parametrize("shared", [False, True], ids=["one engine", "workers"])
def test_an_answer_stored_while_nobody_ran_comes_before_a_deadline_that_passed_meanwhile(shared: bool) -> None:
    async def scenario(sim: Sim) -> None:
        tables = Tables(shards=8 if shared else 1)

        async def opened(name: str) -> tuple[Host, ReducerPatternEngine]:
            host, store = sim.host(name), MemoryStore(tables, now_s=sim.clock.monotonic)
            engine = ReducerPatternEngine(store, store, registry(WorkDone()), host.clock, host.ids, ENV, check_all=True)
            if shared:
                await host.spawn(engine.share(Worker(name, LEASE_S), store, store, store.watch()))
            else:
                await host.spawn(engine.start(name))
            return host, engine

        host, engine = await opened("first")
        await host.spawn(engine.submit(KEY, "watch"))  # "too_late" is due in one second
        await host.spawn(engine.close())
        sent = ModelAction(workflow_key=KEY, kind="unwatch")
        body = sent.model_dump_json(exclude_none=True).encode()
        await MemoryStore(tables, now_s=sim.clock.monotonic).send(body, 0, shard_of(KEY, 8) if shared else 0)
        await sim.clock.sleep(60.0)
        host, engine = await opened("second")
        await sim.clock.sleep(5.0)
        found = await host.spawn(engine.stored(KEY))
        assert found is not None
        assert (found.status, found.version) == ("new", 2)
        await host.spawn(engine.close())

    run(scenario, 1).result()
