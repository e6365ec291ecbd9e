"""Trouble: what happens to a house of its own accord, and an operator who means well."""

from __future__ import annotations

import orjson

from ...engine.audit import Seen
from ...engine.encode import ordinals
from ...kernel.errors import OnexError
from ...ports import EnumOutboxState
from ..host import HostCrashed
from ..simulation import Sim
from .faults import Faults
from .house import House
from .outside import Outside
from .store import SimStore

STEP_S = 0.5


class Trouble:
    def __init__(self, sim: Sim, house: House, faults: Faults, outside: Outside, truth: SimStore) -> None:
        self.sim, self.house, self.faults, self.outside, self.truth = sim, house, faults, outside, truth

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
        if faults.hits("release"):
            await self._ask_release()
        if faults.hits("redrive"):
            await self._redrive()

    async def _ask_release(self) -> None:
        key = self.faults.chance.choice(self.house.keys)
        try:
            await self.house.ask(lambda engine: engine.release(key), patience_s=30)
        except TimeoutError:
            self.outside.complain(f"release of {key} gave no answer for 30 s")
        except (HostCrashed, OnexError):
            return

    async def _redrive(self) -> None:
        rows = await self.truth.outbox((EnumOutboxState.DEAD, EnumOutboxState.HELD), None, None, 1000)
        if not rows:
            return
        row = self.faults.chance.choice(rows)
        names = [item["name"] for item in orjson.loads(row.intents)]
        at = row.pointer.ordinal
        self.outside.allow_again(Seen(str(row.key), row.version, names[at], ordinals(names)[at]))
        try:
            await self.house.ask(lambda engine: engine.redrive(row.pointer), patience_s=30)
        except TimeoutError:
            self.outside.complain(f"re-driving {row.pointer} gave no answer for 30 s")
        except (HostCrashed, OnexError):
            return
