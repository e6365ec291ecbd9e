"""EngineIncidents: what happens to a supervisor of its own accord, and an operator who means well."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.ports import EnumOutboxState
from onex.simulation.disk import EnumDiskFault
from onex.simulation.engine_supervisor import EngineSupervisor
from onex.simulation.faults import Faults
from onex.simulation.host import HostCrashed
from onex.simulation.operator_checks import OperatorChecks
from onex.simulation.seeded_run import Sim
from onex.simulation.sim_store import SimStore
from tests.engine_sim.leases import LONGEST_S, Lease, Leases
from tests.engine_sim.outside import Outside, seen_of

STEP_S: Final = 0.5
DISK_FAULT_S: Final = 6.0
DISK_FAULTS: Final = (EnumDiskFault.FULL, EnumDiskFault.BUSY, EnumDiskFault.READ_ONLY)


class EngineIncidents:
    def __init__(
        self,
        sim: Sim,
        supervisor: EngineSupervisor,
        faults: Faults,
        outside: Outside,
        truth: SimStore,
        leases: Leases,
        operator: OperatorChecks,
    ) -> None:
        self.sim, self.supervisor, self.faults, self.outside, self.truth = sim, supervisor, faults, outside, truth
        self.leases, self.operator = leases, operator

    async def happen(self) -> None:
        """Something, every now and then, for ever."""
        while True:
            await self.sim.clock.sleep(2 * STEP_S * self.faults.chance.random())
            await self._something()

    async def _something(self) -> None:
        faults, supervisor = self.faults, self.supervisor
        if faults.kills("crash at any time"):
            supervisor.crash()
        if faults.hits("new code"):
            supervisor.generation = 3 - supervisor.generation
            await supervisor.restart()
        if faults.hits("restart"):
            await supervisor.restart()
        if supervisor.disk.networked and supervisor.engine is not None and faults.hits("ownership stolen"):
            supervisor.steal()
            await self.sim.clock.sleep(faults.some_s(10))
            supervisor.end_replaced()
        if faults.hits("clock jumps"):
            supervisor.set_clock(faults.chance.choice((-7200.0, -60.0, -1.0, 0.0, 0.0, 1.0, 60.0, 3600.0)))
        if faults.hits("clock drifts"):
            supervisor.set_clock(supervisor.skew_s, faults.chance.choice((-0.5, -0.01, 0.01, 2.0)))
        if faults.hits("clock stands still"):
            supervisor.set_clock(supervisor.skew_s, -1.0)
        for fault in DISK_FAULTS:
            if faults.hits(fault.value):
                self.sim.world.start(self._break_disk(fault))
        for point, lasts_s in (("lease taken", faults.some_s(LONGEST_S)), ("lease run out", -1.0)):
            if faults.hits(point):
                self._grant(lasts_s)
        if faults.hits("release"):
            await self._ask_release()
        if faults.hits("redrive"):
            await self._redrive()

    async def _break_disk(self, fault: EnumDiskFault) -> None:
        disk = self.supervisor.disk
        disk.set_fault(fault)
        await self.sim.clock.sleep(self.faults.some_s(DISK_FAULT_S))
        disk.set_fault(EnumDiskFault.NONE)

    def _grant(self, lasts_s: float) -> None:
        """Somebody leads an instance from now on, by the clock of the supervisor; or has led it until a second ago."""
        host = self.supervisor.host
        key = self.faults.chance.choice(self.supervisor.keys)
        clock = self.sim.clock if host is None else host.clock
        lease = Lease(UUID(bytes=self.sim.world.ids.new()), clock.now_us() + int(lasts_s * 1e6))
        if self.leases.grant(key, lease):
            self.sim.world.start(self._end_lease(key, lease))

    async def _end_lease(self, key: WorkflowKey, lease: Lease) -> None:
        """The clock of the supervisor may have stopped meanwhile: so that nobody leads for ever."""
        await self.sim.clock.sleep(LONGEST_S)
        if self.leases.current.get(key) == lease:
            self.leases.end(key)

    async def _ask_release(self) -> None:
        key = self.faults.chance.choice(self.supervisor.keys)
        try:
            ask = self.supervisor.ask
            await self.operator.release(self.truth, key, lambda: ask(lambda engine: engine.release(key), patience_s=30))
        except TimeoutError:
            self.outside.violated(f"release of {key} gave no answer for 30 s")
        except (HostCrashed, OnexError):
            return

    async def _redrive(self) -> None:
        rows = await self.truth.outbox((EnumOutboxState.DEAD, EnumOutboxState.HELD), None, None, 1000)
        if not rows:
            return
        row = self.faults.chance.choice(rows)
        operators = self.faults.chance.choice((1, 2))
        for _ in range(operators):
            self.outside.allow_again(seen_of(row))
        asked = [
            self.supervisor.ask(lambda engine: engine.redrive(row.pointer), patience_s=30) for _ in range(operators)
        ]
        try:
            for end in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end
        except TimeoutError:
            self.outside.violated(f"re-driving {row.pointer} gave no answer for 30 s")
        except (HostCrashed, OnexError):
            return
