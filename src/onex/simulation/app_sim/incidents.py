"""AppIncidents around an app: what happens to its engine and its clock of its own accord, weeks that pass, and an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from ...engine.encode import ordinals
from ...kernel.action import WorkflowKey
from ...kernel.errors import OnexError
from ...ports import EnumOutboxState, OutboxRow
from ...replay.audit import SeenEffect
from ..clock import EPOCH_US, stream
from ..disk import EnumDiskFault
from ..engine_supervisor import EngineSupervisor
from ..host import HostCrashed
from ..seeded_run import Sim
from ..sim_store import SimStore
from .fake_effects import FakeEffects
from .fault_plan import FaultPlan
from .observer import Observer

STEP_S: Final = 0.5
PATIENCE_S: Final = 300.0
STOLEN_S: Final = 10.0
WRONG_S: Final = (-3600.0, -60.0, -1.0, 0.0, 1.0, 60.0, 3600.0)
DRIFTS: Final = (-0.5, -0.01, 0.01, 1.0)
"""How much faster than time: a clock may also be slow."""
DISK_FAULTS: Final = (EnumDiskFault.FULL, EnumDiskFault.BUSY, EnumDiskFault.READ_ONLY)
DISK_FAULT_S: Final = 8.0
STOPPED: Final = (EnumOutboxState.DEAD, EnumOutboxState.HELD)


class AppIncidents:
    """``passed_s`` are the weeks that went by in an instant: an engine's clock shows them, its running time does not."""

    def __init__(
        self,
        sim: Sim,
        supervisor: EngineSupervisor,
        faults: FaultPlan,
        fake_effects: FakeEffects,
        observer: Observer,
        truth: SimStore,
        add_line: Callable[[str, str], None],
    ) -> None:
        self.sim, self.supervisor, self.faults, self.fake_effects, self.observer = (
            sim,
            supervisor,
            faults,
            fake_effects,
            observer,
        )
        self.truth, self.add_line = truth, add_line
        self.passed_s = 0.0
        self._wrong_s = 0.0
        self._drift = 0.0
        self._chance = stream(sim.seed, "trouble")

    async def happen(self) -> None:
        """Something, every now and then, for ever."""
        while True:
            await self.sim.clock.sleep(2 * STEP_S * self._chance.random())
            await self._something()

    async def _something(self) -> None:
        faults, supervisor = self.faults, self.supervisor
        if faults.kills("crash at any time"):
            supervisor.crash()
        if faults.hits("restart"):
            await supervisor.restart()
        if supervisor.disk.networked and supervisor.engine is not None and faults.hits("ownership stolen"):
            supervisor.steal()
            await self.sim.clock.sleep(faults.some_s(STOLEN_S))
            supervisor.end_replaced()
        if faults.hits("clock jumps"):
            self._wrong_s = WRONG_S[int(faults.share() * len(WRONG_S)) % len(WRONG_S)]
            self._set()
        if faults.hits("clock drifts"):
            self._drift = DRIFTS[int(faults.share() * len(DRIFTS)) % len(DRIFTS)]
            self._set()
        for fault in DISK_FAULTS:
            if faults.hits(fault.value):
                self.sim.world.start(self._break_disk(fault, faults.some_s(DISK_FAULT_S)))
        if faults.hits("time passes"):
            await self.next_timer()
        if faults.hits("release"):
            await self._release()
        if faults.hits("redrive"):
            await self._redrive()

    # --- time ---------------------------------------------------------------------------------------------------------

    def set_right(self) -> None:
        """Every clock shows the true time again, and the disk is well."""
        self._wrong_s = self._drift = 0.0
        self._set()
        self.supervisor.disk.set_fault(EnumDiskFault.NONE)

    def _set(self) -> None:
        self.supervisor.set_clock(self.passed_s + self._wrong_s, self._drift)

    async def _break_disk(self, fault: EnumDiskFault, seconds: float) -> None:
        self.supervisor.disk.set_fault(fault)
        await self.sim.clock.sleep(seconds)
        self.supervisor.disk.set_fault(EnumDiskFault.NONE)

    async def next_timer(self) -> bool:
        """Time passes until the next timer is due. False: none waits."""
        rows = await self.truth.outbox((EnumOutboxState.WAITING,), None, None, 1000)
        now_us = EPOCH_US + round((self.sim.loop.time() + self.passed_s) * 1e6)
        due_us = min((row.due_us for row in rows if row.due_us > now_us), default=None)
        if due_us is None:
            return False
        pause_s = (due_us - now_us) / 1e6 + 1.0
        self.add_line("time", f"{pause_s:,.0f} s pass")
        self.passed_s += pause_s
        self._set()
        return True

    # --- an operator --------------------------------------------------------------------------------------------------

    async def attend(self) -> bool:
        """In peace she looks after everything that stopped, once. False: nothing had."""
        rows = await self.truth.outbox(STOPPED, None, None, 1000)
        held = sorted({row.key for row in rows if row.state is EnumOutboxState.HELD})
        for key in held:
            self.add_line("operator", f"ends the hold of {key}")
            await self._end_hold(key)
        for row in rows:
            if row.state is EnumOutboxState.DEAD:
                await self._drive(row)
        return bool(rows)

    async def _release(self) -> None:
        begun = sorted(self.observer.world.states)
        if begun:
            await self._end_hold(begun[int(self.faults.share() * len(begun)) % len(begun)])

    async def _end_hold(self, key: WorkflowKey) -> None:
        try:
            await self.supervisor.ask(lambda engine: engine.release(key), patience_s=PATIENCE_S)
        except TimeoutError:
            self.observer.violated(f"release of {key} gave no answer for {PATIENCE_S:.0f} s")
        except (HostCrashed, OnexError):
            return

    async def _redrive(self) -> None:
        rows = await self.truth.outbox(STOPPED, None, None, 1000)
        if rows:
            await self._drive(rows[int(self.faults.share() * len(rows)) % len(rows)])

    async def _drive(self, row: OutboxRow) -> None:
        names = [item["name"] for item in orjson.loads(row.intents)]
        at = row.pointer.ordinal
        self.fake_effects.allow_again(SeenEffect(str(row.key), row.version, names[at], ordinals(names)[at]))
        self.add_line("operator", f"drives {names[at]} for {row.key} version {row.version} again")
        try:
            await self.supervisor.ask(lambda engine: engine.redrive(row.pointer), patience_s=PATIENCE_S)
        except TimeoutError:
            self.observer.violated(f"re-driving {row.pointer} gave no answer for {PATIENCE_S:.0f} s")
        except (HostCrashed, OnexError):
            return
