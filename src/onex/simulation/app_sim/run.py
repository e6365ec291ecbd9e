"""One life of an app: its clients act, everything around it goes wrong, then nothing does any more, and it is judged.

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
from ..engine_supervisor import House, Plan
from ..misbehaviour import running
from ..seeded_run import Outcome, Sim, run
from ..sim_store import SimStore
from .client import Client, Instances
from .fake_effects import Double
from .fault_plan import Fate
from .observer import Seen, Violation, Witness
from .schedule import Act, Script, StoreKind
from .stage import Stage
from .trouble import Trouble

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
class Line:
    """One line of the story: when, in seconds of the app's time, who, what."""

    at_s: float
    who: str
    what: str


@dataclass
class Life:
    """What a life came to. ``script`` is what was drawn in it; without ``violations`` everything held."""

    script: Script
    violations: list[Violation] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)
    failures: dict[str, str] = field(default_factory=dict)
    story: list[Line] = field(default_factory=list)
    log_hash: str = ""
    trace_hash: str = ""
    steps: int = 0
    virtual_s: float = 0.0


class Place:
    """Where the stores of many lives lie, one after the other, and who ends a step that does not end by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watchdog = Watchdog(STEP_S)
        self.empty = folder / "empty.db"
        create(self.empty)

    def disk(self, store: StoreKind) -> Disk:
        return MemoryDisk() if store == "memory" else SqliteDisk(self.folder, self.empty)


def live(stage: Stage, script: Script, place: Place, *, drawn: bool, told: bool = False) -> Life:
    """A life by ``script``; with ``drawn`` only its seed and store are taken, and the rest is drawn and written down.

    ``told`` keeps the story. Play the script of a drawn life and it is the same life, step for step.
    """
    life = Life(script)
    disks: list[Disk] = []

    async def main(sim: Sim) -> None:
        disks.append(place.disk(script.store))
        await _Living(sim, stage, life, disks[0], place.watchdog, drawn=drawn, told=told).whole()

    outcome: Outcome[None] = run(main, script.seed, max_steps=MAX_STEPS)
    for disk in disks:
        disk.close()
    if outcome.error is not None:
        rule = type(outcome.error).__name__
        life.violations.append(Violation(rule, f"{rule}: {outcome.error}"))
    life.trace_hash, life.steps = outcome.trace_hash, outcome.steps
    life.virtual_s += outcome.virtual_s
    return life


class _Guard:
    """Ends a step by the real clock, and says so: an app that needs that is broken, whatever its seed."""

    def __init__(self, watchdog: Watchdog, complain: Callable[[str], None]) -> None:
        self._watchdog, self._complain = watchdog, complain
        self.dies: Callable[[], bool] = lambda: False

    def enter(self) -> None:
        """Raises HostCrashed where the step ends its process, as a crash in C code would."""
        host = running()
        if host is not None and self.dies():
            host.crash()
        self._watchdog.enter()

    def leave(self) -> None:
        try:
            self._watchdog.leave()
        except StepOverrun:
            self._complain(f"a step of the reducer did not end within {self._watchdog.budget_s:g} s of real time")
            raise


class _Living:
    def __init__(
        self, sim: Sim, stage: Stage, life: Life, disk: Disk, watchdog: Watchdog, *, drawn: bool, told: bool
    ) -> None:
        self.sim, self.stage, self.life, self.disk, self.drawn, self.told = sim, stage, life, disk, drawn, told
        script = life.script
        chance = stream(sim.seed, "plan")
        tiny = chance.random() < 0.5
        limits = Limits(batch=chance.randrange(1, 6), waiting=chance.randrange(8, 21), cached=2) if tiny else Limits()
        check_all = chance.random() < 0.5
        self.fate = Fate(sim.seed, life.counted, self._loop_us, None if drawn else script.hits, self._tell)
        self.witness = Witness(limits.batch, stage, self._now_us, self._tell)
        self.double = Double(
            stage, sim.seed, self.fate, self.witness, self.witness.world, self._tell, plain=script.plain
        )
        self.instances = Instances(stage)
        self.guard = _Guard(watchdog, self.witness.complain)
        self.guard.dies = lambda: self.fate.kills("reducer kills its process")
        self.witness.judges(self.double, stage.registry(self.double, self.guard))
        self.truth = self.double.truth = SimStore(disk, sim.world)
        self.double.words = [key.instance_id for key in self.instances.keys]
        self.double.changed = self.witness.look
        plan = Plan(self._boot, limits, check_all)
        self.house = House(sim, disk, self.fate, self.witness.complain, self.witness, plan, self.instances.keys)
        self.double.owner = lambda: self.house.host
        self.witness.punctual.latest_us = lambda: self.house.latest_us
        self.trouble = Trouble(sim, self.house, self.fate, self.double, self.witness, self.truth, self._tell)
        self.clients = [
            Client(
                n, sim.seed, stage, self.house, self.instances, self.witness, self.truth,
                None if drawn else _of(n, script), self._tell,
            )
            for n in range(CLIENTS)
        ]  # fmt: skip
        self.drained_s = _patience_s(stage)
        self.peace_us = 0

    # --- what is given to the others ----------------------------------------------------------------------------------

    def _loop_us(self) -> int:
        return int(self.sim.loop.time() * 1e6)

    def _now_us(self) -> int:
        """True time: what ran, and what passed while nothing did."""
        return EPOCH_US + round((self.sim.loop.time() + self.trouble.passed_s) * 1e6)

    def _tell(self, who: str, what: str) -> None:
        if self.told and not self.witness.broken.is_set():
            self.life.story.append(Line((self._now_us() - EPOCH_US) / 1e6, who, what))

    def _boot(self, generation: int) -> ReducerRegistry:
        self._tell("engine", f"starts, boot {self.house.boots}")
        return self.stage.registry(self.double, self.guard)

    # --- the life -----------------------------------------------------------------------------------------------------

    async def whole(self) -> None:
        """Until it is over, or something is broken."""
        world = self.sim.world
        living = world.spawn(self._phases())
        broken = world.spawn(self.witness.broken.wait())
        await asyncio.wait((living, broken), return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
        await self._write_down()

    async def _phases(self) -> None:
        world, clock = self.sim.world, self.sim.clock
        keeping = world.spawn(self.house.keep())
        living = [world.spawn(client.live()) for client in self.clients]
        troubling = world.spawn(self.trouble.happen())
        await asyncio.wait(living, timeout=TROUBLE_S)
        if self._loop_us() < self.life.script.peace_us:  # the life it was taken from broke before its clients were done
            await clock.sleep((self.life.script.peace_us - self._loop_us()) / 1e6)
        self.peace_us = self._loop_us()
        self._tell("", "from here on nothing goes wrong any more")
        self.fate.heal()
        troubling.cancel()
        self.house.bury()
        self.trouble.set_right()
        _, unanswered = await asyncio.wait(living, timeout=ANSWERED_S + self.drained_s)
        if unanswered:
            self.witness.complain(f"{len(unanswered)} clients got no answer in peace")
            return
        for task in living:
            task.result()
        for turn in range(TURNS):
            if not await self._drained():
                self.witness.complain(f"not drained: something is still due after {self.drained_s:.0f} s of peace")
                return
            attended = turn == 0 and await self.trouble.attend()
            if turn + 1 < TURNS and not await self.trouble.next_timer() and not attended:
                break
            await clock.sleep(REST_S)  # quiet once is not quiet, and a timer needs its turn
        await clock.sleep(SETTLE_S)
        if keeping.done():
            keeping.result()
        self.witness.look_at_the_end()
        self.life.log_hash = await self.witness.close(self.truth, self._now_us() - LATE_US, self.house.tail_n)

    async def _drained(self) -> bool:
        """Whether within its time nothing is in flight and nothing waits that is due."""
        end_s = self.sim.loop.time() + self.drained_s
        while self.sim.loop.time() < end_s:
            await self.sim.clock.sleep(1.0)
            waiting = await self.truth.outbox((EnumOutboxState.WAITING,), None, None, 1000)
            due = [row for row in waiting if row.due_us <= self._now_us() - LATE_US]
            if not due and self.house.engine is not None and self.house.engine.service.is_quiet:
                return True
        return False

    async def _write_down(self) -> None:
        life, witness = self.life, self.witness
        acts = sorted((act for client in self.clients for act in client.did), key=lambda act: (act.at_us, act.client))
        if self.drawn:
            peace_us = self.peace_us or self._loop_us() + 1
            life.script = replace(life.script, acts=tuple(acts), hits=tuple(self.fate.happened), peace_us=peace_us)
        life.counted.update(f"action {act.manner}" for act in life.script.acts if act.manner)
        life.violations = list(witness.found)
        life.seen = witness.seen
        life.seen.effects = len(witness.world.effects)
        life.virtual_s = self.trouble.passed_s
        if life.violations:
            return
        for row in await self.truth.rejections(None, None, 0, 1_000_000):
            name = row.key.partition(":")[0]
            life.seen.refused[f"{name}: {row.code}"] += row.times
            if row.code == "reducer_failed":
                life.failures.setdefault(name, row.message)
        for stopped in await self.truth.outbox((EnumOutboxState.HELD, EnumOutboxState.DEAD), None, None, 1000):
            life.seen.refused[f"{stopped.key.workflow_type}: an intent is {stopped.state.value}"] += 1


def _of(client: int, script: Script) -> tuple[Act, ...]:
    return tuple(act for act in script.acts if act.client == client)


def _patience_s(stage: Stage) -> float:
    """How long peace may take: three times what the slowest intent of the app may spend on all its tries."""
    specs = [spec for one in stage.workflows.values() for spec in one.reducer.intents.by_name.values()]
    served = [spec for spec in specs if spec.kind != EnumIntentType.TIMER]
    longest = max((spec.retry.max_attempts * (spec.timeout_s + spec.retry.max_s) for spec in served), default=0.0)
    return ANSWERED_S + 3 * longest
