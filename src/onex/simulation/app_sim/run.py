"""One run of an app: its clients act, everything around it goes wrong, then nothing does any more, and it is judged.

safety (whatever happens)  ->  peace  ->  everybody is answered, nothing is due  ->  the timers' turn  ->  judgement
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ...adapters.sqlite.schema import create
from ...adapters.watchdog import Watchdog
from ...engine.dispatch import Limits
from ...engine.registry import ReducerRegistry
from ...kernel.intent import EnumIntentType
from ...ports import EnumOutboxState, StepOverrun
from ..clock import EPOCH_US, stream
from ..disk import Disk, MemoryDisk, SqliteDisk
from ..engine_supervisor import EngineSetup, EngineSupervisor
from ..raised_errors import running_engine
from ..seeded_run import Sim, SimResult, run
from ..sim_store import SimStore
from .app_under_test import AppUnderTest
from .client import AppClient, Instances
from .fake_effects import FakeEffects
from .fault_plan import FaultPlan
from .incidents import AppIncidents
from .observer import Coverage, Observer, Violation
from .schedule import Act, Script, StoreKind

CLIENTS: Final = 3
TROUBLE_S: Final = 60.0
ANSWERED_S: Final = 120.0
REST_S: Final = 35.0
SETTLE_S: Final = 2.0
"""What follows from a last commit, as a projection does, has its turn before anybody judges."""
LATE_US: Final = 2_000_000
TURNS: Final = 3
STEP_S: Final = 5.0
MAX_STEPS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One line of the story: when, in seconds of the app's time, who, what."""

    at_s: float
    who: str
    what: str


@dataclass
class AppRun:
    """What a run came to. ``script`` is what was drawn in it; without ``violations`` everything held."""

    script: Script
    violations: list[Violation] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    failures: dict[str, str] = field(default_factory=dict)
    story: list[StoryLine] = field(default_factory=list)
    log_hash: str = ""
    trace_hash: str = ""
    steps: int = 0
    virtual_s: float = 0.0


class Workspace:
    """Where the stores of many runs lie, one after the other, and who ends a step that does not end by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watchdog = Watchdog(STEP_S)
        self.empty = folder / "empty.db"
        create(self.empty)

    def disk(self, store: StoreKind) -> Disk:
        return MemoryDisk() if store == "memory" else SqliteDisk(self.folder, self.empty)


def run_app(
    under_test: AppUnderTest, script: Script, workspace: Workspace, *, drawn: bool, keep_story: bool = False
) -> AppRun:
    """A run by ``script``; with ``drawn`` only its seed and store are taken, and the rest is drawn and written down.

    ``told`` keeps the story. Play the script of a drawn run and it is the same run, step for step.
    """
    result = AppRun(script)
    disks: list[Disk] = []

    async def main(sim: Sim) -> None:
        disks.append(workspace.disk(script.store))
        await _Simulation(
            sim, under_test, result, disks[0], workspace.watchdog, drawn=drawn, keep_story=keep_story
        ).whole()

    outcome: SimResult[None] = run(main, script.seed, max_steps=MAX_STEPS)
    for disk in disks:
        disk.close()
    if outcome.error is not None:
        rule = type(outcome.error).__name__
        result.violations.append(Violation(rule, f"{rule}: {outcome.error}"))
    result.trace_hash, result.steps = outcome.trace_hash, outcome.steps
    result.virtual_s += outcome.virtual_s
    return result


class _Guard:
    """Ends a step by the real clock, and says so: an app that needs that is broken, whatever its seed."""

    def __init__(self, watchdog: Watchdog, violated: Callable[[str], None]) -> None:
        self._watchdog, self._complain = watchdog, violated
        self.dies: Callable[[], bool] = lambda: False

    def enter(self) -> None:
        """Raises HostCrashed where the step ends its process, as a crash in C code would."""
        host = running_engine()
        if host is not None and self.dies():
            host.crash()
        self._watchdog.enter()

    def leave(self) -> None:
        try:
            self._watchdog.leave()
        except StepOverrun:
            self._complain(f"a step of the reducer did not end within {self._watchdog.budget_s:g} s of real time")
            raise


class _Simulation:
    def __init__(
        self,
        sim: Sim,
        under_test: AppUnderTest,
        result: AppRun,
        disk: Disk,
        watchdog: Watchdog,
        *,
        drawn: bool,
        keep_story: bool,
    ) -> None:
        self.sim, self.under_test, self.result, self.disk, self.drawn, self.keep_story = (
            sim,
            under_test,
            result,
            disk,
            drawn,
            keep_story,
        )
        script = result.script
        chance = stream(sim.seed, "plan")
        tiny = chance.random() < 0.5
        limits = Limits(batch=chance.randrange(1, 6), waiting=chance.randrange(8, 21), cached=2) if tiny else Limits()
        check_all = chance.random() < 0.5
        self.faults = FaultPlan(sim.seed, result.counted, self._loop_us, None if drawn else script.hits, self._add_line)
        self.observer = Observer(limits.batch, under_test, self._now_us, self._add_line)
        self.fake_effects = FakeEffects(
            under_test, sim.seed, self.faults, self.observer, self.observer.world, self._add_line, plain=script.plain
        )
        self.instances = Instances(under_test)
        self.guard = _Guard(watchdog, self.observer.violated)
        self.guard.dies = lambda: self.faults.kills("reducer kills its process")
        self.observer.set_up(self.fake_effects, under_test.registry(self.fake_effects, self.guard))
        self.truth = self.fake_effects.truth = SimStore(disk, sim.world)
        self.fake_effects.words = [key.instance_id for key in self.instances.keys]
        self.fake_effects.changed = self.observer.look
        setup = EngineSetup(self._boot, limits, check_all)
        self.supervisor = EngineSupervisor(sim, disk, self.faults, self.observer, setup)
        self.fake_effects.owner = lambda: self.supervisor.host
        self.observer.times.latest_us = lambda: self.supervisor.latest_us
        self.incidents = AppIncidents(
            sim, self.supervisor, self.faults, self.fake_effects, self.observer, self.truth, self._add_line
        )
        self.clients = [
            AppClient(
                n, sim.seed, under_test, self.supervisor, self.instances, self.observer, self.truth,
                None if drawn else _of(n, script), self._add_line,
            )
            for n in range(CLIENTS)
        ]  # fmt: skip
        self.drained_s = _patience_s(under_test)
        self.peace_us = 0

    # --- what is given to the others ----------------------------------------------------------------------------------

    def _loop_us(self) -> int:
        return int(self.sim.loop.time() * 1e6)

    def _now_us(self) -> int:
        """True time: what ran, and what passed while nothing did."""
        return EPOCH_US + round((self.sim.loop.time() + self.incidents.passed_s) * 1e6)

    def _add_line(self, who: str, what: str) -> None:
        if self.keep_story and not self.observer.broken.is_set():
            self.result.story.append(StoryLine((self._now_us() - EPOCH_US) / 1e6, who, what))

    def _boot(self, generation: int) -> ReducerRegistry:
        self._add_line("engine", f"starts, boot {self.supervisor.boots}")
        return self.under_test.registry(self.fake_effects, self.guard)

    # --- the run -----------------------------------------------------------------------------------------------------

    async def whole(self) -> None:
        """Until it is over, or something is broken."""
        world = self.sim.world
        living = world.spawn(self._phases())
        broken = world.spawn(self.observer.broken.wait())
        await asyncio.wait((living, broken), return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
        await self._write_down()

    async def _phases(self) -> None:
        world, clock = self.sim.world, self.sim.clock
        keeping = world.spawn(self.supervisor.run_for_ever())
        living = [world.spawn(client.run()) for client in self.clients]
        troubling = world.spawn(self.incidents.happen())
        await asyncio.wait(living, timeout=TROUBLE_S)
        if (
            self._loop_us() < self.result.script.peace_us
        ):  # the run it was taken from broke before its clients were done
            await clock.sleep((self.result.script.peace_us - self._loop_us()) / 1e6)
        self.peace_us = self._loop_us()
        self._add_line("", "from here on nothing goes wrong any more")
        self.faults.stop()
        troubling.cancel()
        self.supervisor.end_replaced()
        self.incidents.end()
        _, unanswered = await asyncio.wait(living, timeout=ANSWERED_S + self.drained_s)
        if unanswered:
            self.observer.violated(f"{len(unanswered)} clients got no answer in peace")
            return
        for task in living:
            task.result()
        for turn in range(TURNS):
            if not await self._drained():
                self.observer.violated(f"not drained: something is still due after {self.drained_s:.0f} s of peace")
                return
            attended = turn == 0 and await self.incidents.attend()
            if turn + 1 < TURNS and not await self.incidents.next_timer() and not attended:
                break
            await clock.sleep(REST_S)  # quiet once is not quiet, and a timer needs its turn
        await clock.sleep(SETTLE_S)
        if keeping.done():
            keeping.result()
        self.observer.look_at_the_end()
        self.result.log_hash = await self.observer.close(self.truth, self._now_us() - LATE_US, self.supervisor.tail_n)

    async def _drained(self) -> bool:
        """Whether within its time nothing is in flight and nothing waits that is due."""
        end_s = self.sim.loop.time() + self.drained_s
        while self.sim.loop.time() < end_s:
            await self.sim.clock.sleep(1.0)
            waiting = await self.truth.outbox((EnumOutboxState.WAITING,), None, None, 1000)
            due = [row for row in waiting if row.due_us <= self._now_us() - LATE_US]
            if not due and self.supervisor.engine is not None and self.supervisor.engine.service.is_quiet:
                return True
        return False

    async def _write_down(self) -> None:
        result, observer = self.result, self.observer
        acts = sorted((act for client in self.clients for act in client.did), key=lambda act: (act.at_us, act.client))
        if self.drawn:
            peace_us = self.peace_us or self._loop_us() + 1
            result.script = replace(
                result.script, acts=tuple(acts), hits=tuple(self.faults.happened), peace_us=peace_us
            )
        result.counted.update(f"action {act.manner}" for act in result.script.acts if act.manner)
        result.violations = list(observer.found)
        result.coverage = observer.coverage
        result.coverage.effects = len(observer.world.effects)
        result.virtual_s = self.incidents.passed_s
        if result.violations:
            return
        for row in await self.truth.rejections(None, None, 0, 1_000_000):
            name = row.key.partition(":")[0]
            result.coverage.refused[f"{name}: {row.code}"] += row.times
            if row.code == "reducer_failed":
                result.failures.setdefault(name, row.message)
        for stopped in await self.truth.outbox((EnumOutboxState.HELD, EnumOutboxState.DEAD), None, None, 1000):
            result.coverage.refused[f"{stopped.key.workflow_type}: an intent is {stopped.state.value}"] += 1


def _of(client: int, script: Script) -> tuple[Act, ...]:
    return tuple(act for act in script.acts if act.client == client)


def _patience_s(under_test: AppUnderTest) -> float:
    """How long peace may take: three times what the slowest intent of the app may spend on all its tries."""
    specs = [spec for one in under_test.workflows.values() for spec in one.reducer.intents.by_name.values()]
    served = [spec for spec in specs if spec.kind != EnumIntentType.TIMER]
    longest = max((spec.retry.max_attempts * (spec.timeout_s + spec.retry.max_s) for spec in served), default=0.0)
    return ANSWERED_S + 3 * longest
