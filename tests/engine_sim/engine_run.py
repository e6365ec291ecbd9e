"""One seed, one life of a house: trouble, then rest, then judgement."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from onex.engine.dispatch import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.engine.takeover import CRASHES_DEAD
from onex.kernel.action import WorkflowKey
from onex.ports import EnumOutboxState
from onex.simulation.clock import stream
from onex.simulation.disk import Disk, EnumAilment, MemoryDisk, SqliteDisk
from onex.simulation.engine_supervisor import House, Plan
from onex.simulation.faults import Faults
from onex.simulation.host import SimulationError
from onex.simulation.invariants import Judge
from onex.simulation.misbehaviour import Unruly, misbehaving
from onex.simulation.operator_checks import Operated
from onex.simulation.projection_checks import Projector
from onex.simulation.seeded_run import Outcome, Sim, run
from onex.simulation.sim_store import SimStore
from tests.engine_sim.client import Client
from tests.engine_sim.compute_worker import Reckoner
from tests.engine_sim.damage import seen_damage
from tests.engine_sim.leases import Leases
from tests.engine_sim.misbehaving_client import UnrulyClient
from tests.engine_sim.misbehaving_end import judged, migrates, works
from tests.engine_sim.misbehaving_outside import UnrulyOutside, UnrulyReckoner, projecting
from tests.engine_sim.nth_call import ACTIONS as NTH_ACTIONS
from tests.engine_sim.nth_call import CLIENTS as NTH_CLIENTS
from tests.engine_sim.nth_call import SEED as NTH_SEED
from tests.engine_sim.nth_call import EnumFailure, Nth
from tests.engine_sim.outside import Outside
from tests.engine_sim.sample_workflow import MIGRATES_AT, TYPE, errand, registry
from tests.engine_sim.trouble import Trouble

CLIENTS: Final = 3
ACTIONS: Final = 14
TROUBLE_S: Final = 60.0
ANSWERED_S: Final = 120.0
DRAINED_S: Final = 120.0
REST_S: Final = 100.0
LATE_US: Final = 2_000_000
FEW: Final = 100
MAX_STEPS: Final = 30_000
"""A life takes about 4,500, one in two hundred more than 9,000. One that takes so many goes in a circle."""


class Violations(list[str]):
    """Tells of each as it comes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, text: str) -> None:
        super().append(text)
        self._tell(text)


@dataclass
class Report:
    """What a run came to. ``violations`` empty: nothing that was promised was broken."""

    seed: int
    violations: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    actions: int = 0
    """Applied or refused."""
    log_hash: str = ""
    trace_hash: str = ""
    steps: int = 0
    virtual_s: float = 0.0


def drawn_limits(chance: Random) -> Limits:
    """Half of all lives are short of everything: that is where full queues and half batches are met."""
    tiny = chance.random() < 0.5
    kept = chance.randrange(2, 9) if chance.random() < 0.3 else 20_000
    if not tiny:
        return Limits(kept=kept)
    return Limits(
        batch=chance.randrange(1, 6), waiting=chance.randrange(3, 21), cached=chance.randrange(2, 6), kept=kept
    )


async def live(
    sim: Sim,
    disk: Disk,
    report: Report,
    faults: Faults,
    *,
    clients: int = CLIENTS,
    actions: int = ACTIONS,
    unruly: Unruly | None = None,
) -> None:
    """The whole life, on the world's host. ``unruly``: the code of its user misbehaves too."""
    chance = stream(sim.seed, "plan")
    limits, check_all = drawn_limits(chance), chance.random() < 0.5
    judge = Judge(limits.batch)
    judge.violations = report.violations
    outside, reckoner = _outside(faults, judge, unruly)
    app = partial(registry, unruly=unruly is not None)
    newest = MIGRATES_AT if unruly is not None and unruly.migrates else 1
    older = [errand(n, outside, unruly=unruly is not None) for n in ((2,) if newest == 1 else (1, 2))]
    judge.judges(outside, app(newest, outside), older)
    outside.committed, outside.ended = judge.knows, judge.has_ended
    if limits.kept > FEW:  # what memory had no room for at the start is read later, and then runs beside others
        outside.alone = judge.runs_alone
    truth = SimStore(disk, sim.world)

    def boot(generation: int) -> ReducerRegistry:
        if unruly is not None:
            unruly.generation = generation
        return app(generation, outside, reckoner)

    plan = Plan(boot, limits, check_all, projecting(unruly))
    house = House(sim, disk, faults, judge.complain, judge, plan, [WorkflowKey(TYPE, name) for name in "abcd"])
    outside.owner, outside.read, outside.begins = (lambda: house.host), house.blob, judge.punctual.runs
    judge.punctual.latest_us = lambda: house.latest_us
    if unruly is not None:
        judge.operated.on_refused = unruly.hears_of
        house.on_orderly_end = unruly.orderly_end
    leases = judge.leases = Leases(disk, judge.complain)
    keeping = sim.world.spawn(house.keep())
    if not isinstance(faults, Nth):  # another process's calls are none of those that are counted
        sim.world.start(Projector(sim, disk, faults, judge, plan.project).keep())
    kind = Client if unruly is None else partial(UnrulyClient, unruly=unruly)
    everybody = [
        kind(house, faults, judge, outside, truth, leases, stream(sim.seed, f"client {n}")) for n in range(clients)
    ]
    living = [sim.world.spawn(client.live(actions)) for client in everybody]
    troubling = sim.world.spawn(Trouble(sim, house, faults, outside, truth, leases, judge.operated).happen())
    await asyncio.wait(living, timeout=TROUBLE_S)
    # rest: nothing hurts any more, and everybody gets an answer
    faults.heal()
    if unruly is not None:
        unruly.heal()
    troubling.cancel()
    house.bury()
    house.set_clock(0.0)
    disk.ail(EnumAilment.NONE)
    leases.end_all()
    if unruly is not None and unruly.sour:  # what could not be read is read by the code that can
        await house.restart()
    _, unanswered = await asyncio.wait(living, timeout=ANSWERED_S)
    if unanswered:
        report.violations.append(f"{len(unanswered)} clients got no answer within {ANSWERED_S} s of peace")
        return
    for task in living:
        task.result()
    for look in range(2):  # quiet once is not quiet
        if look and unruly is not None:
            await works(sim, house, truth, judge.complain)
        if not await drained(sim, house, truth):
            report.violations.append(f"not drained within {DRAINED_S} s of peace")
            break
        await sim.clock.sleep(REST_S)
    # before a restart, which reads from where it was and so makes up for a signal that was not heard
    judge.hold(
        house.tail_n == judge.taken, f"a subscriber waits at {house.tail_n} of {judge.taken}, and nobody wakes it"
    )
    if unruly is not None and unruly.migrates:
        await migrates(house, truth, unruly, judge.complain)
    await released(house, truth, report, judge.operated, max(2, newest))
    if keeping.done():
        keeping.result()
    for _, _, error in judge.refused:
        report.counted[f"met: {error.code}"] += 1
    report.actions = judge.taken + len(judge.refused)
    report.log_hash = await judge.close(truth, sim.clock.now_us() - LATE_US, house.tail_n)
    if unruly is not None:
        await judged(truth, unruly, judge.complain)
    if isinstance(outside, UnrulyOutside):
        outside.look()
    unseen = await seen_damage(disk, truth, app(newest, outside), older, chance)
    report.counted["met: bit turned"] += unseen is not None
    if unseen:
        report.violations.append(unseen)


def _outside(faults: Faults, judge: Judge, unruly: Unruly | None) -> tuple[Outside, Reckoner]:
    if unruly is None:
        return Outside(faults, judge.complain), Reckoner(faults)
    return UnrulyOutside(faults, judge.complain, unruly), UnrulyReckoner(faults, unruly)


async def released(house: House, truth: SimStore, report: Report, operated: Operated, generation: int) -> None:
    """The mended code comes, and an operator ends each hold: then no outcome waits any more."""
    for row in await truth.outbox((EnumOutboxState.HELD, EnumOutboxState.DEAD), None, None, 1000):
        report.counted[f"met: row {row.state}{' after three crashes' if row.crashes >= CRASHES_DEAD else ''}"] += 1
    house.generation, boots = generation, house.boots
    await house.restart()
    while house.boots == boots:
        await house.sim.clock.sleep(1.0)
    for key in [stored.key for stored in await truth.instances(None, None, None, 1000)]:
        await operated.release(truth, key, partial(house.ask, partial(_release, key)))
    await drained(house.sim, house, truth)
    for row in await truth.outbox((EnumOutboxState.HELD,), None, None, 1000):
        report.violations.append(f"{row.key} {row.pointer} is held, and nothing holds it any more")


async def _release(key: WorkflowKey, engine: ReducerPatternEngine) -> None:
    await engine.release(key)


async def drained(sim: Sim, house: House, truth: SimStore) -> bool:
    """Whether within its time nothing is in flight and nothing waits that is due. A clock that was wrong leaves some
    that are due in an hour."""
    end_s = sim.loop.time() + DRAINED_S
    while sim.loop.time() < end_s:
        await sim.clock.sleep(1.0)
        due = [
            row
            for row in await truth.outbox((EnumOutboxState.WAITING,), None, None, 1000)
            if row.due_us <= sim.clock.now_us() - LATE_US
        ]
        if not due and house.engine is not None and house.engine.service.is_quiet:
            return True
    return False


class Broken(SimulationError):
    """A promise was broken, and nobody wants to know what else will be."""

    code = "promise_broken"


def run_seed(
    seed: int, folder: Path, empty: Path, *, keep_trace: bool = False, to_the_end: bool = True, unruly: bool = False
) -> tuple[Report, Outcome[None]]:
    """Even seeds run on the SQLite core, odd ones in memory. ``to_the_end``: or until a first promise is broken.

    ``unruly``: the same life with a user's code that misbehaves.
    """
    report = Report(seed)
    disk = MemoryDisk() if seed % 2 else SqliteDisk(folder, empty)

    async def main(sim: Sim) -> None:
        if not to_the_end:
            report.violations = Violations(lambda text: sim.loop.fail(Broken(text)))
        await live(sim, disk, report, Faults(sim.faults, report.counted), unruly=user)

    user = Unruly(stream(seed, "user code"), report.counted) if unruly else None
    most = MAX_STEPS if to_the_end else MAX_STEPS // 2
    with misbehaving(user):
        return report, _run(main, disk, report, most, keep_trace=keep_trace)


def run_nth(nth: int, failure: EnumFailure, disk: Disk, seed: int = NTH_SEED) -> tuple[Report, Nth]:
    """The life of ``seed`` in which only call ``nth`` fails. With 0 none does, and all are counted."""
    report, faults = Report(seed), Nth(stream(seed, "nth"), Counter(), nth, failure)
    report.counted = faults.counted

    async def main(sim: Sim) -> None:
        await live(sim, disk, report, faults, clients=NTH_CLIENTS, actions=NTH_ACTIONS)

    _run(main, disk, report, MAX_STEPS)
    return report, faults


def _run(
    main: Callable[[Sim], Awaitable[None]], disk: Disk, report: Report, most: int, *, keep_trace: bool = False
) -> Outcome[None]:
    outcome = run(main, report.seed, max_steps=most, keep_trace=keep_trace)
    disk.close()
    if outcome.error is not None and not isinstance(outcome.error, Broken):
        report.violations.append(f"{type(outcome.error).__name__}: {outcome.error}")
    report.trace_hash, report.steps, report.virtual_s = outcome.trace_hash, outcome.steps, outcome.virtual_s
    return outcome
