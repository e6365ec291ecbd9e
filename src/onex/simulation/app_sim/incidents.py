"""Incidents around an app: what happens to its engine and to clocks, time that passes by weeks, and an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from ...kernel.action import WorkflowKey
from ...ports import EnumOutboxState, OutboxRow
from ..clock import EPOCH_US, stream
from ..disk import EnumDiskFault
from ..effect_attempts import seen_of_row
from ..engine_supervisor import EngineSupervisor
from ..incidents import DISK_FAULTS, STOPPED, Incidents
from ..seeded_run import Sim
from ..sim_store import SimStore
from .fake_effects import FakeEffects
from .fault_plan import FaultPlan
from .observer import Observer

WRONG_S: Final = (-3600.0, -60.0, -1.0, 0.0, 1.0, 60.0, 3600.0)
DRIFTS: Final = (-0.5, -0.01, 0.01, 1.0)
"""By how much a clock runs too fast; a negative one runs too slow."""
DISK_FAULT_S: Final = 8.0


class AppIncidents(Incidents):
    """``passed_s``: weeks that passed in an instant. The engine's clocks show them; its running time does not."""

    patience_s: ClassVar = 300.0

    def __init__(
        self,
        sim: Sim,
        supervisor: EngineSupervisor,
        faults: FaultPlan,
        effects: FakeEffects,
        observer: Observer,
        truth: SimStore,
        add_line: Callable[[str, str], None],
    ) -> None:
        # "trouble" is hashed into the stream: another word would change every run of every seed
        super().__init__(sim, supervisor, faults, observer, truth, stream(sim.seed, "trouble"))
        self.plan, self.effects, self.observer, self.add_line = faults, effects, observer, add_line
        self.passed_s = 0.0
        self._wrong_s = 0.0
        self._drift = 0.0

    async def _something(self) -> None:
        plan = self.plan
        await self._disturb_engine()
        if plan.hits("clock jumps"):
            self._wrong_s = plan.choose(WRONG_S)
            self._set_clock()
        if plan.hits("clock drifts"):
            self._drift = plan.choose(DRIFTS)
            self._set_clock()
        for fault in DISK_FAULTS:
            if plan.hits(fault.value):
                self.sim.world.start(self._break_disk(fault, plan.some_s(DISK_FAULT_S)))
        if plan.hits("time passes"):
            await self.next_timer()
        if plan.hits("release"):
            begun = sorted(self.observer.world.states)
            if begun:
                await self._release(plan.choose(begun))
        if plan.hits("redrive"):
            rows = await self.truth.outbox(STOPPED, None, None, 1000)
            if rows:
                await self._redrive(plan.choose(rows))

    # --- time ---------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Every clock shows the true time again, and the disk works."""
        self._wrong_s = self._drift = 0.0
        self._set_clock()
        self.supervisor.disk.set_fault(EnumDiskFault.NONE)

    def _set_clock(self) -> None:
        self.supervisor.set_clock(self.passed_s + self._wrong_s, self._drift)

    async def next_timer(self) -> bool:
        """Lets time pass until one second after the next timer is due. False: no timer waits."""
        rows = await self.truth.outbox((EnumOutboxState.WAITING,), None, None, 1000)
        now_us = EPOCH_US + round((self.sim.loop.time() + self.passed_s) * 1e6)
        due_us = min((row.due_us for row in rows if row.due_us > now_us), default=None)
        if due_us is None:
            return False
        pause_s = (due_us - now_us) / 1e6 + 1.0
        self.add_line("time", f"{pause_s:,.0f} s pass")
        self.passed_s += pause_s
        self._set_clock()
        return True

    # --- an operator --------------------------------------------------------------------------------------------------

    async def attend(self) -> bool:
        """When faults are over, the operator handles once everything that stopped. False: nothing had."""
        rows = await self.truth.outbox(STOPPED, None, None, 1000)
        held = sorted({row.key for row in rows if row.state is EnumOutboxState.HELD})
        for key in held:
            self.add_line("operator", f"ends the hold of {key}")
            await self._release(key)
        for row in rows:
            if row.state is EnumOutboxState.DEAD:
                await self._redrive(row)
        return bool(rows)

    async def _release(self, key: WorkflowKey) -> None:
        await self._order(f"release of {key}", self._ask(lambda engine: engine.release(key)))

    async def _redrive(self, row: OutboxRow) -> None:
        what = seen_of_row(row)
        self.effects.allow_again(what)
        self.add_line("operator", f"drives {what.name} for {row.key} version {row.version} again")
        await self._order(f"re-driving {row.pointer}", self._ask(lambda engine: engine.redrive(row.pointer)))
