"""A second process that moves the same projection: both compare and set one watermark, and neither may lose a row."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from onex.engine.log_tail import ChangeSignal
from onex.engine.projections import Project, latest
from onex.kernel.errors import OnexError
from onex.simulation.disk import Disk
from onex.simulation.engine_supervisor import projection_service
from onex.simulation.faults import Faults
from onex.simulation.host import Host, HostCrashed
from onex.simulation.invariants import InvariantChecker
from onex.simulation.seeded_run import Sim
from onex.simulation.sim_store import SimStore

LOOK_S: Final = 1.5


class Projector:
    """Another process that keeps the same projection as the engine, and sometimes crashes while it does."""

    def __init__(
        self, sim: Sim, disk: Disk, faults: Faults, checker: InvariantChecker, project: Project = latest
    ) -> None:
        self.sim, self.faults, self.project = sim, faults, project
        self.store = SimStore(disk, sim.world, faults, checker)

    async def run_for_ever(self) -> None:
        while True:
            host = self.sim.host("projector")
            await self._run_host(host)
            host.crash()

    async def _run_host(self, host: Host) -> None:
        service = projection_service(self.store, ChangeSignal(), host, self.project)
        while True:
            await self.sim.clock.sleep(LOOK_S * self.faults.chance.random())
            looking = host.spawn(service.catch_up())
            if self.faults.hits("projecting crashes"):
                await asyncio.wait([looking], timeout=self.faults.some_s(0.3))
                host.crash()
            with suppress(OnexError, HostCrashed):
                await looking
            if not host.alive:
                return
