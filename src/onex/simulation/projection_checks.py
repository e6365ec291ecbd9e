"""Projecting: the same projection kept by two processes at once, and what must be true each time its watermark moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ..engine.log_tail import ChangeSignal
from ..engine.projections import WORKFLOW, Project, ProjectionMaterializerService, latest
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import KeyChange, ProjectionRow
from .disk import Disk
from .faults import Faults
from .host import Host, HostCrashed
from .seeded_run import Sim
from .sim_store import SimStore, StoreListener

LOOK_S: Final = 1.5
BATCH: Final = 7
"""Rows at a time: few, so that a watermark moves often."""


class ProjectionChecks:
    """What the projection must show, row by row of the log. Versions and statuses as commits had them."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self.watermark = 0
        self._log: list[ProjectionRow] = []
        self._newest: dict[WorkflowKey, ProjectionRow] = {}

    def committed(self, change: KeyChange) -> None:
        for version, row in enumerate(change.rows, change.based_on + 1):
            self._log.append(ProjectionRow(change.key, version, row.status, row.kind, b"{}"))

    def moved(self, name: str, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> None:
        """It went from ``from_n`` to ``to_n``; ``rows`` are what stands there now."""
        if from_n != self.watermark or to_n <= from_n:
            self.violated(f"projection {name} went from {from_n} to {to_n}, and stood at {self.watermark}")
        if to_n > len(self._log):
            self.violated(f"projection {name} is at {to_n}, and the log ends at {len(self._log)}")
        for row in self._log[self.watermark : to_n]:
            self._newest[row.key] = row
        self.watermark = to_n
        wrong = [str(row.key) for row in rows if self._newest.get(row.key) != row]
        if wrong or len(rows) != len(self._newest):
            self.violated(f"projection {name} at {to_n} is not what the log says: {wrong or 'instances are missing'}")


class Projector:
    """A process of its own that keeps the projection the owner keeps too, and now and then dies over it."""

    def __init__(
        self, sim: Sim, disk: Disk, faults: Faults, listener: StoreListener, project: Project = latest
    ) -> None:
        self.sim, self.faults, self.project = sim, faults, project
        self.store = SimStore(disk, sim.world, faults, listener)

    async def keep(self) -> None:
        """Looks again and again, for ever."""
        while True:
            host = self.sim.host("projector")
            await self._live(host)
            host.crash()

    async def _live(self, host: Host) -> None:
        service = materializer(self.store, ChangeSignal(), host, self.project)
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


def materializer(
    store: SimStore, commit_signal: ChangeSignal, host: Host, project: Project = latest
) -> ProjectionMaterializerService:
    return ProjectionMaterializerService(store, store, commit_signal, host.clock, WORKFLOW, project, batch=BATCH)
