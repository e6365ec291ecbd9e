"""Incidents of the engine's own simulation: what every engine meets, and releases, leases, and operators who act at once."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final
from uuid import UUID

from onex.kernel.action import WorkflowKey
from onex.simulation.disk import EnumDiskFault
from onex.simulation.effect_attempts import seen_of_row
from onex.simulation.engine_supervisor import EngineSupervisor
from onex.simulation.faults import Faults
from onex.simulation.incidents import DISK_FAULTS, STOPPED, Incidents
from onex.simulation.invariants import InvariantChecker
from onex.simulation.seeded_run import Sim
from onex.simulation.sim_store import SimStore
from tests.engine_sim.leases import LONGEST_S, Lease, Leases
from tests.engine_sim.outside import Outside

DISK_FAULT_S: Final = 6.0


class EngineIncidents(Incidents):
    patience_s: ClassVar = 30.0

    def __init__(
        self,
        sim: Sim,
        supervisor: EngineSupervisor,
        faults: Faults,
        outside: Outside,
        checker: InvariantChecker,
        truth: SimStore,
        leases: Leases,
        keys: list[WorkflowKey],
    ) -> None:
        super().__init__(sim, supervisor, faults, checker, truth, faults.chance)
        self.outside, self.leases, self.keys = outside, leases, keys

    async def _something(self) -> None:
        faults, supervisor = self.faults, self.supervisor
        await self._disturb_engine()
        if faults.hits("clock jumps"):
            supervisor.set_clock(faults.chance.choice((-7200.0, -60.0, -1.0, 0.0, 0.0, 1.0, 60.0, 3600.0)))
        if faults.hits("clock drifts"):
            supervisor.set_clock(supervisor.skew_s, faults.chance.choice((-0.5, -0.01, 0.01, 2.0)))
        if faults.hits("clock stands still"):
            supervisor.set_clock(supervisor.skew_s, -1.0)
        for fault in DISK_FAULTS:
            if faults.hits(fault.value):
                self.sim.world.start(self._break_disk_for_some_time(fault))
        for point, lasts_s in (("lease taken", faults.some_s(LONGEST_S)), ("lease run out", -1.0)):
            if faults.hits(point):
                self._grant(lasts_s)
        if faults.hits("release"):
            await self._release()
        if faults.hits("redrive"):
            await self._redrive()

    async def _new_code(self) -> None:
        if self.faults.hits("new code"):
            self.supervisor.generation = 3 - self.supervisor.generation
            await self.supervisor.restart()

    async def _break_disk_for_some_time(self, fault: EnumDiskFault) -> None:
        await self._break_disk(fault, self.faults.some_s(DISK_FAULT_S))

    def _grant(self, lasts_s: float) -> None:
        """Somebody leads an instance from now on, by the engine's clock; or has led it until a second ago."""
        host = self.supervisor.host
        key = self.faults.chance.choice(self.keys)
        clock = self.sim.clock if host is None else host.clock
        lease = Lease(UUID(bytes=self.sim.world.ids.new()), clock.now_us() + int(lasts_s * 1e6))
        if self.leases.grant(key, lease):
            self.sim.world.start(self._end_lease(key, lease))

    async def _end_lease(self, key: WorkflowKey, lease: Lease) -> None:
        """By true time: the engine's clock may have stopped meanwhile, and then nobody would get the instance again."""
        await self.sim.clock.sleep(LONGEST_S)
        if self.leases.current.get(key) == lease:
            self.leases.end(key)

    async def _release(self) -> None:
        key = self.faults.chance.choice(self.keys)
        checks = self.checker.operator
        release = checks.release(self.truth, key, lambda: self._ask(lambda engine: engine.release(key)))
        await self._order(f"release of {key}", release)

    async def _redrive(self) -> None:
        rows = await self.truth.outbox(STOPPED, None, None, 1000)
        if not rows:
            return
        row = self.faults.chance.choice(rows)
        operators = self.faults.chance.choice((1, 2))
        for _ in range(operators):
            self.outside.allow_again(seen_of_row(row))
        orders = [
            self._order(f"re-driving {row.pointer}", self._ask(lambda engine: engine.redrive(row.pointer)))
            for _ in range(operators)
        ]
        await asyncio.gather(*orders)
