"""What happens to an engine from outside while it works: crashes, restarts, lost ownership, disk faults, and an operator's orders.

The order of the questions in ``_something`` is the order of the draws: a new incident is asked for last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from random import Random
from typing import ClassVar, Final

from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.errors import OnexError
from ..ports import EnumOutboxState
from .disk import EnumDiskFault
from .engine_supervisor import EngineSupervisor
from .faults import Faults
from .host import HostCrashed
from .invariants import InvariantChecker
from .seeded_run import Sim
from .sim_store import SimStore

STEP_S: Final = 0.5
STOLEN_S: Final = 10.0
DISK_FAULTS: Final = (EnumDiskFault.FULL, EnumDiskFault.BUSY, EnumDiskFault.READ_ONLY)
STOPPED: Final = (EnumOutboxState.DEAD, EnumOutboxState.HELD)


class Incidents(ABC):
    """``chance`` decides when; ``faults`` decides what."""

    patience_s: ClassVar[float]
    """How long an operator waits for an answer before that is a violation."""

    def __init__(
        self,
        sim: Sim,
        supervisor: EngineSupervisor,
        faults: Faults,
        checker: InvariantChecker,
        truth: SimStore,
        chance: Random,
    ) -> None:
        self.sim, self.supervisor, self.faults, self.checker, self.truth = sim, supervisor, faults, checker, truth
        self._chance = chance

    async def happen(self) -> None:
        """About one look per ``STEP_S``, for ever."""
        while True:
            await self.sim.clock.sleep(2 * STEP_S * self._chance.random())
            await self._something()

    @abstractmethod
    async def _something(self) -> None:
        """Asks for each incident once, always in the same order."""

    async def _new_code(self) -> None:  # noqa: B027 - an app has one release
        """Where a scenario has more than one release."""

    async def _disturb_engine(self) -> None:
        faults, supervisor = self.faults, self.supervisor
        if faults.kills("crash at any time"):
            supervisor.crash()
        await self._new_code()
        if faults.hits("restart"):
            await supervisor.restart()
        if supervisor.disk.networked and supervisor.engine is not None and faults.hits("ownership stolen"):
            supervisor.lose_ownership()
            await self.sim.clock.sleep(faults.some_s(STOLEN_S))
            supervisor.end_replaced()

    async def _break_disk(self, fault: EnumDiskFault, lasts_s: float) -> None:
        self.supervisor.disk.set_fault(fault)
        await self.sim.clock.sleep(lasts_s)
        self.supervisor.disk.set_fault(EnumDiskFault.NONE)

    def _ask(self, order: Callable[[ReducerPatternEngine], Awaitable[None]]) -> Awaitable[None]:
        return self.supervisor.ask(order, patience_s=self.patience_s)

    async def _order(self, what: str, ordered: Awaitable[None]) -> None:
        """An operator's order. It may be refused and its engine may crash, but within ``patience_s`` there is an answer."""
        try:
            await ordered
        except TimeoutError:
            self.checker.violated(f"{what} gave no answer for {self.patience_s:.0f} s")
        except (HostCrashed, OnexError):
            return
