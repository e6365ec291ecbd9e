"""One run of an app: its clients act while faults happen; then faults stop, everything must come to rest, and is checked.

Theory of operation
    ``_phases``, in this order:
    1. Faults. The supervisor boots engines, the clients send, incidents happen. Each commit and each effect is checked at
       its instant, and so are the app's own invariants. It ends when all clients have their answers, or after ``FAULTS_S``.
    2. Peace (``peace_us``). From here on no fault hits, clocks are right, the disk works, replaced engines end.
    3. Every client that still waits must get its answer.
    4. Drained: within ``drained_s`` nothing may be due or in flight. An operator then releases and re-drives what stopped,
       once. Time passes to the next timer, and everything drains again, at most ``TURNS`` times.
    5. The invariants for the end, then the whole log against everything that was seen (``InvariantChecker.check_end``).
    What may go wrong: the first violation ends the run at once (``broken``), because what follows says nothing new. An error
    of the loop (nothing can happen any more, too many steps) is a violation as well, under its class name.

    What was drawn (acts, faults, ``peace_us``) is written into the script. A run by that script gives the same steps: a fault
    is read instead of drawn, a client does what is written, and no draw depends on which of both it is.
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
from ...engine.limits import Limits
from ...engine.registry import ReducerRegistry
from ...kernel.intent import EnumIntentType
from ...ports import EnumOutboxState, StepOverrun
from ..clock import EPOCH_US, stream
from ..disk import Disk, MemoryDisk, SqliteDisk
from ..engine_supervisor import LATE_US, EngineSetup, EngineSupervisor
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
"""A written script may have more."""
FAULTS_S: Final = 60.0
"""Faults go on until all clients are done, but no longer than this."""
ANSWERED_S: Final = 120.0
REST_S: Final = 35.0
SETTLE_S: Final = 2.0
"""What follows the last commit, such as a projection, has this time before everything is checked."""
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
    """The result of a run. ``script`` is what was drawn in it. No ``violations``: everything held."""

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
    """The folder for the stores of many runs, one after the other, and the watchdog that ends a step which never ends."""

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
    """One run. ``drawn``: only the script's seed and store are used; the rest is drawn and written into the result's script.

    Else everything is done as the script says. The script of a drawn run gives the same run, step for step.
    """
    result = AppRun(script)
    disks: list[Disk] = []

    async def main(sim: Sim) -> None:
        disks.append(workspace.disk(script.store))
        await _Simulation(
            sim, under_test, result, disks[0], workspace.watchdog, drawn=drawn, keep_story=keep_story
        ).whole()

    ended: SimResult[None] = run(main, script.seed, max_steps=MAX_STEPS)
    for disk in disks:
        disk.close()
    if ended.error is not None:
        rule = type(ended.error).__name__
        result.violations.append(Violation(rule, f"{rule}: {ended.error}"))
    result.trace_hash, result.steps = ended.trace_hash, ended.steps
    result.virtual_s += ended.virtual_s
    return result


class _StepGuard:
    """Ends a step by the real clock, and reports it: an app that needs that is broken under every seed."""

    def __init__(self, watchdog: Watchdog, violated: Callable[[str], None]) -> None:
        self._watchdog, self._violated = watchdog, violated
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
            self._violated(f"a step of the reducer did not end within {self._watchdog.budget_s:g} s of real time")
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
        self.sim, self.under_test, self.result = sim, under_test, result
        self.drawn, self.keep_story = drawn, keep_story
        script = result.script
        chance = stream(sim.seed, "plan")  # hashed: another word changes every run
        tiny = chance.random() < 0.5
        limits = Limits(batch=chance.randrange(1, 6), waiting=chance.randrange(8, 21), cached=2) if tiny else Limits()
        check_all = chance.random() < 0.5
        self.faults = FaultPlan(sim.seed, result.counted, self._loop_us, None if drawn else script.hits, self._add_line)
        self.observer = Observer(limits.batch, under_test, self._now_us, self._add_line)
        self.effects = FakeEffects(
            under_test, sim.seed, self.faults, self.observer, self.observer.world, self._add_line, plain=script.plain
        )
        self.instances = Instances(under_test)
        self.guard = _StepGuard(watchdog, self.observer.violated)
        self.guard.dies = lambda: self.faults.kills("reducer kills its process")
        self.observer.set_up(self.effects, under_test.registry(self.effects, self.guard))
        self.truth = self.effects.truth = SimStore(disk, sim.world)
        self.effects.words = [key.instance_id for key in self.instances.keys]
        self.effects.changed = self.observer.check_now
        setup = EngineSetup(self._boot, limits, check_all)
        self.supervisor = EngineSupervisor(sim, disk, self.faults, self.observer, setup)
        self.effects.owner = lambda: self.supervisor.host
        self.observer.times.latest_us = lambda: self.supervisor.latest_us
        self.incidents = AppIncidents(
            sim, self.supervisor, self.faults, self.effects, self.observer, self.truth, self._add_line
        )
        self.clients = [
            AppClient(
                n, sim.seed, under_test, self.supervisor, self.instances, self.observer, self.truth,
                None if drawn else _of(n, script), self._add_line,
            )
            for n in range(max((CLIENTS, *(act.client + 1 for act in script.acts))))
        ]  # fmt: skip
        self.drained_s = _patience_s(under_test)
        self.peace_us = 0

    # --- what is given to the others ----------------------------------------------------------------------------------

    def _loop_us(self) -> int:
        return int(self.sim.loop.time() * 1e6)

    def _now_us(self) -> int:
        """True time: the running time of the loop, and the weeks that were skipped."""
        return EPOCH_US + round((self.sim.loop.time() + self.incidents.passed_s) * 1e6)

    def _add_line(self, who: str, what: str) -> None:
        if self.keep_story and not self.observer.broken.is_set():
            self.result.story.append(StoryLine((self._now_us() - EPOCH_US) / 1e6, who, what))

    def _boot(self, generation: int) -> ReducerRegistry:
        self._add_line("engine", f"starts, boot {self.supervisor.boots}")
        return self.under_test.registry(self.effects, self.guard)

    # --- the run -----------------------------------------------------------------------------------------------------

    async def whole(self) -> None:
        """Until it is over, or something is violated: what follows a violation says nothing new."""
        world = self.sim.world
        acting = world.spawn(self._phases())
        broken = world.spawn(self.observer.broken.wait())
        await asyncio.wait((acting, broken), return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            acting.result()
        await self._write_down()

    async def _phases(self) -> None:
        world, clock = self.sim.world, self.sim.clock
        supervising = world.spawn(self.supervisor.run_for_ever())
        acting = [world.spawn(client.run()) for client in self.clients]
        disturbing = world.spawn(self.incidents.happen())
        await asyncio.wait(acting, timeout=FAULTS_S)
        # the run of the script may have broken before its clients were done: its faults went on until then
        if self._loop_us() < self.result.script.peace_us:
            await clock.sleep((self.result.script.peace_us - self._loop_us()) / 1e6)
        self.peace_us = self._loop_us()
        self._add_line("", "from here on nothing goes wrong any more")
        self.faults.stop()
        disturbing.cancel()
        self.supervisor.end_replaced()
        self.incidents.end()
        _, unanswered = await asyncio.wait(acting, timeout=ANSWERED_S + self.drained_s)
        if unanswered:
            self.observer.violated(f"{len(unanswered)} clients got no answer after the last fault")
            return
        for task in acting:
            task.result()
        for turn in range(TURNS):
            if not await self.supervisor.drained(self.truth, self.drained_s, self._now_us):
                self.observer.violated(
                    f"not drained: something is still due {self.drained_s:.0f} s after the last fault"
                )
                return
            attended = turn == 0 and await self.incidents.attend()
            if turn + 1 < TURNS and not await self.incidents.next_timer() and not attended:
                break
            await clock.sleep(REST_S)  # what is quiet now may have more to do in a moment, and a timer needs its turn
        await clock.sleep(SETTLE_S)
        if supervising.done():
            supervising.result()
        self.observer.check_at_end()
        self.result.log_hash = await self.observer.check_end(
            self.truth, self._now_us() - LATE_US, self.supervisor.tail_n
        )

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
    """How long it may take until nothing is due: three times what the slowest intent may spend on all its attempts."""
    specs = [spec for one in under_test.workflows.values() for spec in one.reducer.intents.by_name.values()]
    served = [spec for spec in specs if spec.kind != EnumIntentType.TIMER]
    longest = max((spec.retry.max_attempts * (spec.timeout_s + spec.retry.max_s) for spec in served), default=0.0)
    return ANSWERED_S + 3 * longest
