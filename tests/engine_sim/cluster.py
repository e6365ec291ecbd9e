"""A cluster in virtual time: real engines that share one store, workers that die, hang, come and go, and what must hold.

Theory of operation
    The store is in memory, with several shards; each worker is a simulated host with an engine and a connection of its own
    (``Connection``). The seed draws, per run, how strong each trouble is: calls that fail, are slow or lose their answer; a worker
    that crashes, hangs or is cut off for longer than its lease, or leaves in order; clocks that are wrong by up to a minute.
    Clients send through the inbox and by a bus (``cluster_bus``), and send again under the same id. After a while the troubles
    end, and all must come to rest.

    What is checked: at each commit, that its fences are those of the store, and that no worker whose lease had ended and whose
    shard was taken commits; at the end, that every answered action stands in the log once and where the answer said, that
    versions and positions have no gap, that each message and each outcome was applied once, that the same effect never went out
    under two keys, and that nothing waits any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, JsonValue

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.bus.intake import BusIntake
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import NOTHING, ModelAction, WorkflowKey
from onex.kernel.errors import OnexError
from onex.kernel.intent import ModelIntent
from onex.kernel.membership import Worker
from onex.kernel.route import shard_of
from onex.ports import (
    Commit,
    EnumOutboxState,
    Env,
    LogEntry,
    OutboxRow,
    Result,
)
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.host import Host
from onex.simulation.seeded_run import Sim
from tests.engine.jobs import Finished, registry
from tests.engine_sim.cluster_bus import BUS_POINTS, ClusterBus
from tests.engine_sim.cluster_store import LEASE_S, Connection

R = TypeVar("R")
ENV = Env("0", "2", "3", "", "")
WORKERS = 3
KEYS = tuple(WorkflowKey("job", f"{n}") for n in range(12))
TROUBLED_S, PATIENCE_S = 40.0, 180.0
POINTS: Mapping[str, float] = {
    "call fails": 0.05,
    "call is slow": 0.10,
    "commit lost": 0.05,
    "commit answer lost": 0.10,
    "crash before commit": 0.01,
    "crash after commit": 0.01,
    "worker dies": 0.05,
    "worker hangs": 0.005,
    "worker leaves": 0.05,
    "action sent again": 0.30,
    "store is cut off": 0.002,
    **BUS_POINTS,
}


class Violation(AssertionError):
    """A promise was broken."""


class Cluster:
    """One run. ``counted`` is what went wrong, and how often."""

    def __init__(self, sim: Sim, shards: int) -> None:
        self.sim, self.chance = sim, sim.faults
        self.tables = Tables(shards=shards)
        self.outside = MemoryStore(self.tables, now_s=sim.clock.monotonic)
        self.strength = {point: p * self.chance.choice((0.0, 0.5, 1.0)) for point, p in POINTS.items()}
        self.skews = self.chance.choice((0.0, 60.0))
        self.counted: Counter[str] = Counter()
        self.keys_seen: dict[tuple[WorkflowKey, int, str, int], str] = {}
        self.committed_under: dict[int, int] = {}
        self.sent: dict[int, UUID] = {}
        self.violations: list[str] = []
        self.actions: dict[UUID, ModelAction] = {}
        self.bus = ClusterBus(sim, self.chance, self.hits)
        self._workers: dict[str, tuple[Host, ReducerPatternEngine]] = {}
        self._intakes: dict[ReducerPatternEngine, BusIntake] = {}

    def hits(self, point: str) -> bool:
        hit = bool(self.strength[point]) and self.chance.random() < self.strength[point]
        self.counted[point] += hit
        return hit

    # --- workers ------------------------------------------------------------------------------------------------------

    async def keep_workers(self) -> None:
        """Boots what is missing, and troubles one now and then, until it is cancelled."""
        while True:
            for name in [f"worker {n}" for n in range(WORKERS)]:
                known = self._workers.get(name)
                if known is None or not known[0].alive or known[1].service.closed is not None:
                    await self._boot(name)
            await self.sim.clock.sleep(0.5)
            host, engine = self._workers[self.chance.choice(sorted(self._workers))]
            if self.hits("worker dies"):
                host.crash()
            elif host.alive and self.hits("worker leaves"):
                host.start(self._leave(engine))
                await self.sim.clock.sleep(0.5)

    async def _boot(self, name: str) -> None:
        known = self._workers.get(name)
        if known is not None and known[0].alive:
            known[0].crash()
        host = self.sim.host(name, skew_s=self.chance.uniform(-self.skews, self.skews))
        store = Connection(self, host)
        jobs = registry(Effects(self))  # type: ignore[arg-type]  # an executor like any other
        engine = ReducerPatternEngine(store, store, jobs, host.clock, host.ids, ENV, check_all=True)
        self._workers[name] = host, engine
        host.start(self._live(engine, store, Worker(host.label, LEASE_S)))

    async def _live(self, engine: ReducerPatternEngine, store: Connection, worker: Worker) -> None:
        try:
            await engine.share(worker, store, store, store.watch())
        except OnexError:
            await engine.close()
            return
        self._intakes[engine] = await self.bus.connect(engine, store.host)

    async def _leave(self, engine: ReducerPatternEngine) -> None:
        if engine in self._intakes:
            await self._intakes[engine].close()
        await engine.close()

    # --- clients ------------------------------------------------------------------------------------------------------

    async def send_some(self, chance: Random, until_s: float) -> None:
        while self.sim.clock.monotonic() < until_s:
            key = chance.choice(KEYS)
            choices: list[tuple[str, dict[str, JsonValue]]] = [
                ("add", {"amount": 1}),
                ("add", {"amount": 2}),
                ("tell", {"text": chance.choice(KEYS).instance_id}),
                ("shout", {}),
            ]
            if chance.random() < 0.1:
                choices.append(("start", {"text": chance.choice(("fine", "slow", "flaky"))}))
            kind, payload = chance.choice(choices)
            action_id = UUID(int=chance.getrandbits(128), version=4)
            if chance.random() < 0.5:
                await self.bus.send(key, kind, payload, action_id)
                await self.sim.clock.sleep(chance.random() ** 2)
                continue
            self.actions[action_id] = ModelAction(
                workflow_key=key, kind=kind, command_payload=payload, action_id=action_id
            )
            await self._write(action_id)
            await self.sim.clock.sleep(chance.random() ** 2)
            if self.hits("action sent again"):
                await self._write(action_id)

    async def _write(self, action_id: UUID) -> None:
        action = self.actions[action_id]
        shard = shard_of(action.workflow_key, self.tables.shards)
        body = action.model_dump_json(exclude_none=True).encode()
        ticket = await self.outside.send(body, int(self.sim.clock.now_us()), shard)
        self.sent[ticket] = action_id

    def violated(self, what: str) -> None:
        """Said in the code of an engine, which may handle what is raised: so it is kept, and raised at the end."""
        self.violations.append(what)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def committed(self, commit: Commit) -> None:
        for shard, fence in commit.fences.items():
            if fence < self.committed_under.get(shard, 0):
                self.violated(f"a commit of shard {shard} came under fence {fence}, after a later one")
            self.committed_under[shard] = fence
        for change in commit.changes:
            if change.shard != shard_of(change.key, self.tables.shards) or change.shard not in commit.fences:
                self.violated(f"{change.key} was written as of shard {change.shard}")

    def ran(self, intent: ModelIntent[BaseModel]) -> None:
        assert intent.workflow_key is not None, "the engine names the instance"
        what = (intent.workflow_key, intent.version, intent.name, intent.n)
        if self.keys_seen.setdefault(what, intent.idempotency_key) != intent.idempotency_key:
            self.violated(f"{what} went out under two keys")
        self.counted["effects"] += 1

    def waiting(self) -> list[OutboxRow]:
        return [row for row in self.tables.outbox.values() if row.state is EnumOutboxState.WAITING]

    def at_rest(self) -> bool:
        return (
            not self.waiting()
            and all(row.answer is not None for row in self.tables.inbox.values())
            and not self.bus.left()
        )

    def check_end(self) -> None:
        tables = self.tables
        entries = [entry for shard in range(tables.shards) for entry in tables.log_of(shard)]
        for shard in range(tables.shards):
            if [entry.position.n for entry in tables.log_of(shard)] != list(range(1, len(tables.log_of(shard)) + 1)):
                raise Violation(f"the positions of shard {shard} have a gap")
        by_key: dict[WorkflowKey, list[LogEntry]] = defaultdict(list)
        for entry in entries:
            by_key[entry.key].append(entry)
        for key, rows in by_key.items():
            if [one.version for one in rows] != list(range(1, len(rows) + 1)):
                raise Violation(f"the versions of {key} have a gap")
            ids = Counter(one.row.action_id for one in rows)
            if max(ids.values()) > 1:
                raise Violation(f"an action of {key} was applied twice")
            self._check_state(key, rows)
        log = {(one.key, one.row.action_id): one for one in entries}
        self._check_answers(log)
        for wrong in self.bus.wrong(log, {(name, made) for name, made, _ in tables.rejections}):
            raise Violation(wrong)
        self.counted["by bus"] += sum(map(len, self.bus.sent.values()))
        self._check_intents(entries)

    async def check_replay(self) -> None:
        """Each log folds to what was stored, hash by hash."""
        replay = Replay(self.outside, registry(Effects(self)))  # type: ignore[arg-type]  # an executor like any other
        bad = [segment async for segment in replay.all() if segment.verdict is not EnumReplayVerdict.EQUAL]
        if bad:
            raise Violation(f"the log does not fold to what was stored: {bad}")
        self.counted["folded"] += replay.result.actions

    def _check_state(self, key: WorkflowKey, rows: Sequence[LogEntry]) -> None:
        added = sum(orjson.loads(one.row.payload)["amount"] for one in rows if one.row.kind == "add")
        state = orjson.loads(self.tables.stored[key].state)
        if state["count"] != added:
            raise Violation(f"{key} counts {state['count']}, and its log adds up to {added}")

    def _check_answers(self, log: Mapping[tuple[WorkflowKey, bytes], LogEntry]) -> None:
        for ticket, action_id in self.sent.items():
            row = self.tables.inbox.get(ticket)
            if row is None or row.answer is None:
                continue
            answer, key = orjson.loads(row.answer), self.actions[action_id].workflow_key
            entry = log.get((key, action_id.bytes))
            if "error" in answer:
                self.counted["refused"] += 1
                if answer["error"]["retryable"]:
                    raise Violation(
                        f"{key} {action_id} was answered {answer['error']}: it is for the next owner to answer"
                    )
            elif entry is None or entry.version != answer["version"]:
                raise Violation(f"{key} {action_id} was answered {answer}, and the log has {entry}")
            else:
                self.counted["applied"] += 1

    def _check_intents(self, entries: Sequence[LogEntry]) -> None:
        """Every message arrived once, as far as its receiver took it, and every effect has one outcome.

        A sender that has ended may have withdrawn one: its end cancels what still waits.
        """
        told, withdrawable = Counter[WorkflowKey](), Counter[WorkflowKey]()
        begun, ended = Counter[WorkflowKey](), Counter[WorkflowKey]()
        for entry in entries:
            if entry.row.kind == "tell":
                to = WorkflowKey("job", orjson.loads(entry.row.payload)["text"])
                told[to] += 1
                withdrawable[to] += self.tables.stored[entry.key].terminal
            if entry.row.kind == "start":
                begun[entry.key] += 1
            if entry.row.kind in ("finished", "refused", "unclear"):
                ended[entry.key] += 1
        stopped = [row for row in self.tables.outbox.values() if row.state is not EnumOutboxState.WAITING]
        # of one whose process died while it ran, three times, there is no outcome (promise 29)
        killing = Counter(row.key for row in stopped if row.crashes and b'"do"' in row.intents)
        if begun != ended + killing:
            raise Violation(f"effects begun and not ended {begun - ended}, ended too often {ended - begun}; {stopped}")
        arrived = Counter(entry.key for entry in entries if entry.row.issuer.startswith("job:"))
        refused = Counter[WorkflowKey]()
        for name, _, _ in self.tables.rejections:
            refused[WorkflowKey.parse(name)] += 1
        for key, messages in told.items():
            if not messages - refused[key] - withdrawable[key] <= arrived[key] <= messages:
                raise Violation(
                    f"{messages} messages were sent to {key}, {arrived[key]} arrived, {refused[key]} were refused"
                )
        self.counted["messages"] += sum(arrived.values())


class Effects:
    """The outside of one worker."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        text: str = intent.payload.text  # type: ignore[attr-defined]
        self.cluster.ran(intent)
        await asyncio.sleep(0.15 if text == "slow" else 0.01)
        if text == "flaky" and self.cluster.chance.random() < 0.5:
            raise OSError("the line dropped")
        return Result(Finished(text=text) if intent.name == "do" else NOTHING)


async def cluster_run(sim: Sim, shards: int = 8) -> Counter[str]:
    """One seed: trouble, then rest, then the checks. Raises Violation."""
    cluster = Cluster(sim, shards)
    keeping = sim.world.spawn(cluster.keep_workers())
    troubling = sim.world.spawn(cluster.bus.keep_troubles())
    await cluster.send_some(sim.faults, sim.clock.monotonic() + TROUBLED_S)
    cluster.strength = dict.fromkeys(POINTS, 0.0)
    waited_s = 0.0
    while not cluster.at_rest() and not cluster.violations:
        if waited_s > PATIENCE_S:
            rows = [(row.pointer, row.timer) for row in cluster.waiting()]
            asked = [row.ticket for row in cluster.tables.inbox.values() if row.answer is None]
            left = cluster.bus.left()
            raise Violation(
                f"after {PATIENCE_S} s there wait still: {rows} {asked} {left}, owners {cluster.tables.owners}"
            )
        await sim.clock.sleep(1.0)
        waited_s += 1.0
    await sim.clock.sleep(10.0)
    if cluster.violations:
        raise Violation(cluster.violations[0])
    cluster.check_end()
    await cluster.check_replay()
    for task in (keeping, troubling):
        if task.done():
            await task
        task.cancel()
    return cluster.counted
