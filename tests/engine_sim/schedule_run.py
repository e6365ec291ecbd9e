"""Schedules over 400 virtual days: engines that die or are taken over, clocks that are set, and every firing exactly once.

Theory of operation
    One engine at a time owns a store in memory. Every few days it dies, in the middle of a commit or between two, or a second one
    takes the store while the first still runs. Clocks of hosts are up to three days wrong, and are set while the host runs.
    Sometimes nobody runs for days. Virtual time goes from one due row to the next, so 400 days are some thousand steps.

    What must hold, at the end: each run was begun by one action, under the id of its schedule and due time; its due time is one
    that an independent reading of cron line and zone names; where ``catch_up`` is all, no due time is left out; and where it is
    not, those that began, were missed, were skipped or wait are all there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.app import App, LoadedWorkflow, load_app
from onex.contracts.due_times import firing_id, schedule_id
from onex.contracts.model.schedule import SCHEDULE, EnumCatchUp, ModelSchedule
from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import EPOCH
from onex.kernel.errors import CommitUnknown, OnexError
from onex.kernel.intent import EnumOutcome, ModelIntent
from onex.nodes.given import given_executor
from onex.ports import Applied, Commit, Conflict, Env
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.host import Host
from onex.simulation.seeded_run import Sim
from onex.wiring.schedules import Schedules, key_of
from onex.wiring.store_access import StoreBlobs
from onex.workflows.schedule.payloads import Schedule
from tests.contracts.shown_times import first_shown

T = TypeVar("T")
APP: Final = load_app(Path(__file__).parent / "scheduled_app")
DAYS: Final = 400
DAY_S: Final = 86_400.0
LIMITS: Final = Limits(horizon_s=2 * DAY_S)
ENV: Final = Env("0", "2", "3", "", "")
POINTS: Final = {"crash before commit": 0.004, "crash after commit": 0.004, "commit answer lost": 0.004}


async def _at_once(call: Callable[[], T]) -> T:
    return call()


def _answer(one: LoadedWorkflow, intent: ModelIntent[BaseModel]) -> type[BaseModel]:
    return one.reducer.payloads[one.reducer.intents.by_name[intent.name].outcomes[EnumOutcome.SUCCEEDED]]


class TroubledStore(MemoryStore):
    """The store as one host reaches it."""

    def __init__(self, of: ScheduleRun, host: Host) -> None:
        super().__init__(of.tables, now_s=of.sim.clock.monotonic)
        self._of, self._host = of, host

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        if self._of.hits("crash before commit"):
            await self._host.die()
        answers = await super().commit(commit)
        if self._of.hits("crash after commit"):
            await self._host.die()
        if self._of.hits("commit answer lost"):
            raise CommitUnknown("the answer was lost, as the simulation had it")
        return answers


class ScheduleRun:
    def __init__(self, sim: Sim, app: App) -> None:
        self.sim, self.app, self.chance = sim, app, sim.faults
        self.tables = Tables(shards=1)
        self.counted: Counter[str] = Counter()
        self._is_troubled = True
        self._names = 0

    def hits(self, point: str) -> bool:
        hit = self._is_troubled and self.chance.random() < POINTS[point]
        self.counted[point] += hit
        return hit

    async def go(self) -> Counter[str]:
        end_s = DAYS * DAY_S
        host, engine = await self._boot()
        while self.sim.clock.monotonic() < end_s:
            await self.sim.clock.sleep(self.chance.uniform(0.1, 8) * DAY_S)
            what = self.chance.choice(("dies", "is set", "is taken over", "nobody runs", "goes on"))
            if not host.alive or engine.service.closed is not None:
                host, engine = await self._boot()
                self.counted["dead"] += 1
            elif what == "is set":
                host.clock.set(self.chance.uniform(-3, 3) * DAY_S)
            elif what == "is taken over":
                host, engine = await self._boot()
            elif what in ("dies", "nobody runs"):
                host.crash()
                await self.sim.clock.sleep((1 if what == "dies" else 10 * DAY_S) * self.chance.random())
                host, engine = await self._boot()
            self.counted[what] += 1
        self._is_troubled = False
        if host.alive:
            host.crash()
        host, engine = await self._boot(skew_s=3 * DAY_S)
        await self.sim.clock.sleep(3 * DAY_S)
        await self._check(engine)
        return self.counted

    async def _boot(self, skew_s: float | None = None) -> tuple[Host, ReducerPatternEngine]:
        """A new engine on the store; one that runs is fenced off."""
        self.tables.owner = None
        self._names += 1
        skew = self.chance.uniform(-3, 3) * DAY_S if skew_s is None else skew_s
        host = self.sim.host(f"engine {self._names}", skew_s=skew)
        store, schedules = TroubledStore(self, host), Schedules(self.app)
        workflows = []
        for one in self.app.workflows.values():
            served = {
                target: given_executor(effect, target, 100, StoreBlobs(store), _at_once, partial(_answer, one))
                for target, effect in schedules.effects.items()
            }
            asks = {spec.target for spec in one.reducer.intents.by_name.values()}
            served = {target: effect for target, effect in served.items() if target in asks}
            workflows.append(Workflow(one.reducer, one.code, served))
        engine = ReducerPatternEngine(
            store, store, ReducerRegistry(tuple(workflows)), host.clock, host.ids, ENV, limits=LIMITS
        )
        schedules.connected(engine)
        host.start(self._live(engine, schedules))
        return host, engine

    async def _live(self, engine: ReducerPatternEngine, schedules: Schedules) -> None:
        try:
            await engine.start("a simulated host")
            if SCHEDULE in self.app.workflows:
                await schedules.keep_declared()
        except OnexError:
            await engine.close()

    # --- what must hold --------------------------------------------------------------------------------------------------

    async def _check(self, engine: ReducerPatternEngine) -> None:
        begun: dict[str, set[datetime]] = {}
        rows = await engine.reader.instances("round", None, None, 10_000)
        assert len(rows) < 10_000, "all were read"
        for row in rows:
            name, _, due_text = row.key.instance_id.partition("-")
            due = datetime.fromisoformat(due_text)
            history = await engine.reader.history(row.key, 0, 10)
            begins = [entry.row.action_id for entry in history if entry.row.kind == "begin"]
            assert begins == [firing_id(schedule_id("round", name), due).bytes], row.key
            begun.setdefault(name, set()).add(due)
        for one in self.app.written["round"].contract.schedules:
            await self._check_one(engine, one, begun[one.name])
        replay = Replay(engine.reader, engine.registry)
        bad = [one async for one in replay.all(SCHEDULE) if one.verdict is not EnumReplayVerdict.EQUAL]
        assert not bad and replay.result.actions, bad
        self.counted["begun"] = sum(map(len, begun.values()))

    async def _check_one(self, engine: ReducerPatternEngine, one: ModelSchedule, begun: set[datetime]) -> None:
        stored = await engine.stored(key_of("round", one.name))
        assert stored is not None and not stored.held, stored
        state = Schedule.model_validate_json(stored.state)
        history = await engine.reader.history(key_of("round", one.name), 0, 1)
        declared = EPOCH + timedelta(microseconds=history[0].row.issued_us)
        due = due_times(one, declared, state.next_due)
        assert begun <= set(due), sorted(begun - set(due))
        assert state.fired == len(begun) and state.refused == 0 and state.firing is None, state
        waits = state.queued is not None
        assert state.fired + state.missed + state.skipped + waits == len(due), (state, len(due))
        if one.catch_up is EnumCatchUp.ALL:
            assert len(due) >= (DAYS - 14) * 0.96, len(due)
            assert begun == set(due) and not state.missed and not state.skipped, state
        self.counted["missed"] += state.missed
        self.counted["skipped"] += state.skipped


def due_times(one: ModelSchedule, after: datetime, before: datetime | None) -> list[datetime]:
    """What stands in the contract above, read without the code that is under test."""
    assert before is not None, "it fires for ever"
    if one.every_ms is not None:
        thursday = datetime(2025, 12, 25, tzinfo=UTC)  # 1970-01-01 was one
        weeks = (thursday + timedelta(weeks=n) for n in range(DAYS))
        return [week for week in weeks if after < week < before]
    assert one.cron is not None, "a schedule has one of them"
    minute, hour, days, _, weekdays = one.cron.split()
    zone, found = ZoneInfo(one.zone), set()
    for n in range(2 * DAYS):
        day = after.date() + timedelta(days=n - 2)
        if (weekdays != "*" and day.weekday() > 1) or (days != "*" and day.day > 5):
            continue
        if one.not_on and ((day.month, day.day) == (12, 25) or date(2026, 6, 1) <= day <= date(2026, 6, 10)):
            continue
        found.add(first_shown(datetime.combine(day, time(int(hour), int(minute))), zone))
    return sorted(due for due in found if after < due < before)


async def schedule_run(sim: Sim) -> Counter[str]:
    return await ScheduleRun(sim, APP).go()
