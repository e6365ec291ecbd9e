"""One run of the engine's own simulation: faults while clients work, then peace, then every check.

Theory of operation
    1. Faults: an engine is booted again and again (``EngineSupervisor``), clients send, incidents happen, a second process
       moves the projection. Each commit, attempt and answer is checked at its instant.
    2. Peace: nothing fails any more. Every client must get its answer, and everything due must be done, twice, since what is
       quiet once may have more to do.
    3. The fixed release is booted, and an operator ends each hold: no outcome may be held then. With misbehaving code the
       engine that is left must still work in each of its parts, and a release with a bad migration follows.
    4. The whole log is checked (``InvariantChecker.check_end``), and after that one flipped bit in it must be found by replay.
    A seed is a run: the same in every process. Even seeds run on the SQLite core, odd ones in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.engine.takeover import CRASHES_DEAD
from onex.kernel.action import WorkflowKey
from onex.ports import EnumOutboxState
from onex.simulation.clock import stream
from onex.simulation.disk import Disk, EnumDiskFault, MemoryDisk, SqliteDisk
from onex.simulation.engine_supervisor import LATE_US, EngineSetup, EngineSupervisor
from onex.simulation.faults import Faults
from onex.simulation.host import SimulationError
from onex.simulation.invariants import InvariantChecker
from onex.simulation.running_checks import OperatorChecks
from onex.simulation.seeded_run import Sim, SimResult, run
from onex.simulation.sim_store import SimStore
from tests.engine_sim.client import SampleClient
from tests.engine_sim.compute_worker import ComputeWorker
from tests.engine_sim.damage import undetected_damage
from tests.engine_sim.incidents import EngineIncidents
from tests.engine_sim.leases import Leases
from tests.engine_sim.misbehaving_client import MisbehavingClient
from tests.engine_sim.misbehaving_end import check_log, migrates, works
from tests.engine_sim.misbehaving_outside import MisbehavingComputeWorker, MisbehavingOutside, projecting
from tests.engine_sim.misbehaviour import Misbehaviour, use_misbehaviour
from tests.engine_sim.nth_call import ACTIONS as NTH_ACTIONS
from tests.engine_sim.nth_call import CLIENTS as NTH_CLIENTS
from tests.engine_sim.nth_call import SEED as NTH_SEED
from tests.engine_sim.nth_call import EnumFailure, Nth
from tests.engine_sim.outside import Outside
from tests.engine_sim.projector import Projector
from tests.engine_sim.sample_workflow import MIGRATES_AT, TYPE, registry, sample_workflow
from tests.engine_sim.seeded_faults import SeededFaults

CLIENTS: Final = 3
ACTIONS: Final = 14
TROUBLE_S: Final = 60.0
ANSWERED_S: Final = 120.0
DRAINED_S: Final = 120.0
REST_S: Final = 100.0
FEW: Final = 100
LATER_S: Final = (0.0, 0.0, 2.0, 90.0)
"""Where a run cancels intents, some are due so late that the store alone holds them."""
MAX_STEPS: Final = 30_000
"""A run takes about 4,500 steps, one in two hundred more than 9,000. One that takes so many repeats itself without end."""


class Violations(list[str]):
    """Calls ``tell`` with each violation as it comes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, text: str) -> None:
        super().append(text)
        self._tell(text)


@dataclass
class Report:
    """The result of a run. No ``violations``: no promise was broken."""

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
    """Half of all runs have small limits, so that queues are full and batches are cut."""
    tiny = chance.random() < 0.5
    kept = chance.randrange(2, 9) if chance.random() < 0.3 else 20_000
    if not tiny:
        return Limits(kept=kept)
    return Limits(
        batch=chance.randrange(1, 6), waiting=chance.randrange(3, 21), cached=chance.randrange(2, 6), kept=kept
    )


async def run_engine(
    sim: Sim,
    disk: Disk,
    report: Report,
    faults: Faults,
    *,
    clients: int = CLIENTS,
    actions: int = ACTIONS,
    misbehaviour: Misbehaviour | None = None,
    cancelling: bool = False,
) -> None:
    """The whole run, on the host "world". ``misbehaviour``: the user's code misbehaves too."""
    chance = stream(sim.seed, "plan")
    limits, check_all = drawn_limits(chance), chance.random() < 0.5
    checker = InvariantChecker(limits.batch)
    checker.violations = report.violations
    checker.while_reading = lambda: use_misbehaviour(None)
    outside, compute_worker = _outside(faults, checker, misbehaviour)
    app = partial(registry, misbehaving=misbehaviour is not None, cancelling=cancelling)
    newest = MIGRATES_AT if misbehaviour is not None and misbehaviour.migrates else 1
    releases = (2,) if newest == 1 else (1, 2)
    misbehaving = misbehaviour is not None
    older = [sample_workflow(n, outside, misbehaving=misbehaving, cancelling=cancelling) for n in releases]
    checker.set_up(outside, app(newest, outside), older)
    if limits.kept > FEW:  # what memory had no room for at the start is read later, and then runs beside others
        outside.alone = checker.runs_alone
    checker.cancelling.is_running, checker.cancelling.reads_all = outside.is_running, not misbehaving
    truth = SimStore(disk, sim.world)

    def boot(generation: int) -> ReducerRegistry:
        if misbehaviour is not None:
            misbehaviour.generation = generation
        return app(generation, outside, compute_worker)

    setup = EngineSetup(boot, limits, check_all, projecting(misbehaviour))
    keys = [WorkflowKey(TYPE, name) for name in "abcd"]
    supervisor = EngineSupervisor(sim, disk, faults, checker, setup)
    outside.owner, outside.read = (lambda: supervisor.host), supervisor.blob
    checker.times.latest_us = lambda: supervisor.latest_us
    if misbehaviour is not None:
        checker.operator.on_refused = misbehaviour.refused
        supervisor.on_orderly_end = misbehaviour.orderly_end
    leases = Leases(disk, checker.violated)
    checker.check_lease = leases.check
    keeping = sim.world.spawn(supervisor.run_for_ever())
    if not isinstance(faults, Nth):  # calls of another process are not counted
        sim.world.start(Projector(sim, disk, faults, checker, setup.project).run_for_ever())
    kind = SampleClient if misbehaviour is None else partial(MisbehavingClient, misbehaviour=misbehaviour)
    everybody = [
        kind(supervisor, faults, checker, outside, truth, leases, keys, stream(sim.seed, f"client {n}"))
        for n in range(clients)
    ]
    for client in everybody if cancelling else ():
        client.after_s = LATER_S
    living = [sim.world.spawn(client.run(actions)) for client in everybody]
    troubling = sim.world.spawn(
        EngineIncidents(sim, supervisor, faults, outside, checker, truth, leases, keys).happen()
    )
    await asyncio.wait(living, timeout=TROUBLE_S)
    # peace: no fault happens any more, and every client gets its answer
    faults.stop()
    if misbehaviour is not None:
        misbehaviour.stop()
    troubling.cancel()
    supervisor.end_replaced()
    supervisor.set_clock(0.0)
    disk.set_fault(EnumDiskFault.NONE)
    leases.end_all()
    if (
        misbehaviour is not None and misbehaviour.unreadable
    ):  # rows that this release cannot read are read by the fixed one
        await supervisor.restart()
    _, unanswered = await asyncio.wait(living, timeout=ANSWERED_S)
    if unanswered:
        report.violations.append(f"{len(unanswered)} clients got no answer within {ANSWERED_S} s after the last fault")
        return
    for task in living:
        task.result()
    for look in range(2):  # what is quiet now may have more to do in a moment
        if look and misbehaviour is not None:
            await works(sim, supervisor, truth, checker.violated)
        if not await supervisor.drained(truth, DRAINED_S, sim.clock.now_us):
            report.violations.append(f"not drained within {DRAINED_S} s after the last fault")
            break
        await sim.clock.sleep(REST_S)
    # before a restart, which reads from where it was and so makes up for a signal that was not heard
    checker.require(
        supervisor.tail_n == checker.applied,
        f"a subscriber waits at {supervisor.tail_n} of {checker.applied} and is not woken",
    )
    if misbehaviour is not None and misbehaviour.migrates:
        await migrates(supervisor, truth, misbehaviour, checker.violated)
    await released(supervisor, truth, report, checker.operator, max(2, newest))
    if keeping.done():
        keeping.result()
    for _, _, error in checker.refused:
        report.counted[f"met: {error.code}"] += 1
    report.actions = checker.applied + len(checker.refused)
    report.log_hash = await checker.check_end(truth, sim.clock.now_us() - LATE_US, supervisor.tail_n)
    if misbehaviour is not None:
        await check_log(truth, misbehaviour, checker.violated)
    if isinstance(outside, MisbehavingOutside):
        outside.check_shared()
    undetected = await undetected_damage(disk, truth, app(newest, outside), older, chance)
    report.counted["met: bit turned"] += undetected is not None
    if undetected:
        report.violations.append(undetected)


def _outside(
    faults: Faults, checker: InvariantChecker, misbehaviour: Misbehaviour | None
) -> tuple[Outside, ComputeWorker]:
    if misbehaviour is None:
        return Outside(faults, checker), ComputeWorker(faults)
    return MisbehavingOutside(faults, checker, misbehaviour), MisbehavingComputeWorker(faults, misbehaviour)


async def released(
    supervisor: EngineSupervisor, truth: SimStore, report: Report, operator: OperatorChecks, generation: int
) -> None:
    """Boots the fixed code, and an operator ends each hold: then no outcome may be held any more."""
    for row in await truth.outbox((EnumOutboxState.HELD, EnumOutboxState.DEAD), None, None, 1000):
        report.counted[f"met: row {row.state}{' after three crashes' if row.crashes >= CRASHES_DEAD else ''}"] += 1
    supervisor.generation, boots = generation, supervisor.boots
    await supervisor.restart()
    while supervisor.boots == boots:
        await supervisor.sim.clock.sleep(1.0)
    for key in [stored.key for stored in await truth.instances(None, None, None, 1000)]:
        await operator.release(truth, key, partial(supervisor.ask, partial(_release, key)))
    await supervisor.drained(truth, DRAINED_S, supervisor.sim.clock.now_us)
    for row in await truth.outbox((EnumOutboxState.HELD,), None, None, 1000):
        report.violations.append(f"{row.key} {row.pointer} is held, and nothing is left to hold it")


async def _release(key: WorkflowKey, engine: ReducerPatternEngine) -> None:
    await engine.release(key)


class PromiseBroken(SimulationError):
    """A promise was broken, and the caller wants to stop at the first one."""

    code = "promise_broken"


def run_seed(
    seed: int,
    folder: Path,
    empty: Path,
    *,
    keep_trace: bool = False,
    to_the_end: bool = True,
    misbehaving: bool = False,
    cancelling: bool = False,
) -> tuple[Report, SimResult[None]]:
    """Even seeds run on the SQLite core, odd ones in memory. ``to_the_end``: or until a first promise is broken.

    ``misbehaving``: the same run with a user's code that misbehaves. ``cancelling``: with a workflow that cancels intents.
    """
    report = Report(seed)
    disk = MemoryDisk() if seed % 2 else SqliteDisk(folder, empty)

    async def main(sim: Sim) -> None:
        if not to_the_end:
            report.violations = Violations(lambda text: sim.loop.fail(PromiseBroken(text)))
        faults = SeededFaults(sim.faults, report.counted)
        await run_engine(sim, disk, report, faults, misbehaviour=user, cancelling=cancelling)

    user = Misbehaviour(stream(seed, "user code"), report.counted) if misbehaving else None
    most = MAX_STEPS if to_the_end else MAX_STEPS // 2
    with use_misbehaviour(user):
        return report, _run(main, disk, report, most, keep_trace=keep_trace)


def run_nth(nth: int, failure: EnumFailure, disk: Disk, seed: int = NTH_SEED) -> tuple[Report, Nth]:
    """The run of ``seed`` in which only call ``nth`` fails. With 0 none does, and all are counted."""
    report, faults = Report(seed), Nth(stream(seed, "nth"), Counter(), nth, failure)
    report.counted = faults.counted

    async def main(sim: Sim) -> None:
        await run_engine(sim, disk, report, faults, clients=NTH_CLIENTS, actions=NTH_ACTIONS)

    _run(main, disk, report, MAX_STEPS)
    return report, faults


def _run(
    main: Callable[[Sim], Awaitable[None]], disk: Disk, report: Report, most: int, *, keep_trace: bool = False
) -> SimResult[None]:
    outcome = run(main, report.seed, max_steps=most, keep_trace=keep_trace)
    disk.close()
    if outcome.error is not None and not isinstance(outcome.error, PromiseBroken):
        report.violations.append(f"{type(outcome.error).__name__}: {outcome.error}")
    report.trace_hash, report.steps, report.virtual_s = outcome.trace_hash, outcome.steps, outcome.virtual_s
    return outcome
