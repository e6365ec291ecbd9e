"""Trouble: what happens to a house of its own accord, and an operator who means well."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.ports import EnumOutboxState
from onex.simulation.disk import EnumAilment
from onex.simulation.engine_supervisor import House
from onex.simulation.faults import Faults
from onex.simulation.host import HostCrashed
from onex.simulation.operator_checks import Operated
from onex.simulation.seeded_run import Sim
from onex.simulation.sim_store import SimStore
from tests.engine_sim.leases import LONGEST_S, Lease, Leases
from tests.engine_sim.outside import Outside, seen_of

STEP_S: Final = 0.5
AILING_S: Final = 6.0
_AILMENTS: Final = (EnumAilment.FULL, EnumAilment.BUSY, EnumAilment.READ_ONLY)


class Trouble:
    def __init__(
        self,
        sim: Sim,
        house: House,
        faults: Faults,
        outside: Outside,
        truth: SimStore,
        leases: Leases,
        operated: Operated,
    ) -> None:
        self.sim, self.house, self.faults, self.outside, self.truth = sim, house, faults, outside, truth
        self.leases, self.operated = leases, operated

    async def happen(self) -> None:
        """Something, every now and then, for ever."""
        while True:
            await self.sim.clock.sleep(2 * STEP_S * self.faults.chance.random())
            await self._something()

    async def _something(self) -> None:
        faults, house = self.faults, self.house
        if faults.kills("crash at any time"):
            house.crash()
        if faults.hits("new code"):
            house.generation = 3 - house.generation
            await house.restart()
        if faults.hits("restart"):
            await house.restart()
        if house.disk.networked and house.engine is not None and faults.hits("ownership stolen"):
            house.steal()
            await self.sim.clock.sleep(faults.some_s(10))
            house.bury()
        if faults.hits("clock jumps"):
            house.set_clock(faults.chance.choice((-7200.0, -60.0, -1.0, 0.0, 0.0, 1.0, 60.0, 3600.0)))
        if faults.hits("clock drifts"):
            house.set_clock(house.skew_s, faults.chance.choice((-0.5, -0.01, 0.01, 2.0)))
        if faults.hits("clock stands still"):
            house.set_clock(house.skew_s, -1.0)
        for ailment in _AILMENTS:
            if faults.hits(ailment.value):
                self.sim.world.start(self._ail(ailment))
        for point, lasts_s in (("lease taken", faults.some_s(LONGEST_S)), ("lease run out", -1.0)):
            if faults.hits(point):
                self._grant(lasts_s)
        if faults.hits("release"):
            await self._ask_release()
        if faults.hits("redrive"):
            await self._redrive()

    async def _ail(self, ailment: EnumAilment) -> None:
        disk = self.house.disk
        disk.ail(ailment)
        await self.sim.clock.sleep(self.faults.some_s(AILING_S))
        disk.ail(EnumAilment.NONE)

    def _grant(self, lasts_s: float) -> None:
        """Somebody leads an instance from now on, by the clock of the house; or has led it until a second ago."""
        host = self.house.host
        key = self.faults.chance.choice(self.house.keys)
        clock = self.sim.clock if host is None else host.clock
        lease = Lease(UUID(bytes=self.sim.world.ids.new()), clock.now_us() + int(lasts_s * 1e6))
        if self.leases.grant(key, lease):
            self.sim.world.start(self._end_lease(key, lease))

    async def _end_lease(self, key: WorkflowKey, lease: Lease) -> None:
        """The clock of the house may have stopped meanwhile: so that nobody leads for ever."""
        await self.sim.clock.sleep(LONGEST_S)
        if self.leases.current.get(key) == lease:
            self.leases.end(key)

    async def _ask_release(self) -> None:
        key = self.faults.chance.choice(self.house.keys)
        try:
            ask = self.house.ask
            await self.operated.release(self.truth, key, lambda: ask(lambda engine: engine.release(key), patience_s=30))
        except TimeoutError:
            self.outside.complain(f"release of {key} gave no answer for 30 s")
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
        asked = [self.house.ask(lambda engine: engine.redrive(row.pointer), patience_s=30) for _ in range(operators)]
        try:
            for end in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end
        except TimeoutError:
            self.outside.complain(f"re-driving {row.pointer} gave no answer for 30 s")
        except (HostCrashed, OnexError):
            return
