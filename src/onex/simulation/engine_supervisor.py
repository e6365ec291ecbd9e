"""The engine supervisor: one engine at a time on one store, started again whenever it ends, as a process manager does.

Theory of operation
    ``run_for_ever`` boots engine after engine. One boot goes: a new host (``engine1``, ``engine2``, ...), a store handle of
    its own, ``engine.start``, a follower of the log, a projection; then it looks every ``LOOK_S`` whether the engine ended.
    Whoever wants something of the engine calls ``ask``, which waits for an engine that runs.
    How a boot ends, and what must be true then:
    - The host crashed. Nothing of it runs any more, and the disk frees what it held. Callers get HostCrashed.
    - It was told to end (``restart``): ``close`` must end within ``CLOSE_S``, whatever the store does.
    - It lost the store (``lose_ownership``). The host stays alive, unaware, beside the next one, until ``end_replaced``:
      that is the case the fence is for.
    - It ended by itself. Only a lost store and a disk that can no longer be written are reasons; any other is a violation.
    - ``start`` raised an OnexError. The store may be closed in order or not: both happen in real programs.
    Clocks: a boot begins with the skew that was set last. ``latest_us`` is the latest time any clock of an engine has shown:
    whether a timer came too early is judged by it, because a clock may have been set back since.
    The name "engine" + number is hashed into the host's random streams, and names the host for ``running_engine``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from ..engine.limits import Limits
from ..engine.log_tail import ChangeSignal, LogTail
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.projections import WORKFLOW, Project, ProjectionMaterializerService, latest
from ..engine.registry import ReducerRegistry
from ..kernel.errors import OnexError, OwnershipLost
from ..ports import EnumOutboxState, Env, Position, ProjectionRow
from .disk import Disk, EnumDiskFault
from .faults import Faults
from .host import Host, HostCrashed
from .invariants import InvariantChecker
from .seeded_run import Sim
from .sim_store import SimStore

T = TypeVar("T")

ENV: Final = Env("0", "0", "0", "", "")
PROJECTION_BATCH: Final = 7
"""Rows that a projection takes at a time: few, so that its watermark moves often."""
LOOK_S: Final = 0.25
LATE_US: Final = 2_000_000
CLOSE_S: Final = 30.0
MET: Final = ("overloaded", "conflicts", "duplicates", "timers_dropped", "outcomes_dropped", "effects_retried")
"""Counters of an engine that a simulation must have seen move."""


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """What one seed runs: the code of each generation, the engine's limits, and whether it reloads every state it writes."""

    registry: Callable[[int], ReducerRegistry]
    limits: Limits
    check_all: bool
    project: Project = latest


class EngineSupervisor:
    """``sender`` is the store as another process has it, which submits through the inbox."""

    def __init__(self, sim: Sim, disk: Disk, faults: Faults, checker: InvariantChecker, setup: EngineSetup) -> None:
        self.sim, self.disk, self.faults, self.checker, self.setup = sim, disk, faults, checker, setup
        self.generation = 1
        self.skew_s = 0.0
        self.latest_us = 0
        """The latest time that a clock of an engine had shown when it was set, or when its host ended."""
        self.projection: ProjectionMaterializerService | None = None
        self.engine: ReducerPatternEngine | None = None
        self.host: Host | None = None
        self.boots = 0
        self.tail_n = 0
        """How far the follower has read the log."""
        self.lost_ownership = False
        self.on_orderly_end: Callable[[], None] = lambda: None
        self.sender = SimStore(disk, sim.world)
        self._ordered = False
        """Somebody has told the engine that runs now to end."""
        self._store: SimStore | None = None
        self._replaced: list[tuple[Host, ReducerPatternEngine]] = []
        self._up = asyncio.Event()

    # --- the supervisor -----------------------------------------------------------------------------------------------

    async def run_for_ever(self) -> None:
        while True:
            await self._boot()
            await self.sim.clock.sleep(self.faults.some_s(3.0))

    async def _boot(self) -> None:
        self.boots += 1
        self.lost_ownership = self._ordered = False
        self._note_clock()
        read_only = self._read_only()
        host = self.host = self.sim.host(f"engine{self.boots}", skew_s=self.skew_s)
        store = self._store = SimStore(self.disk, self.sim.world, self.faults, self.checker)
        closed = False
        engine = ReducerPatternEngine(
            store, store, self.setup.registry(self.generation), host.clock, host.ids, ENV,
            limits=self.setup.limits, check_all=self.setup.check_all,
        )  # fmt: skip
        try:
            try:
                await host.spawn(engine.start(host.label))
            except OnexError:
                if self.faults.hits("failed start closed in order"):
                    await self._close(host, engine)
                    closed = True
                return
            except Exception as error:
                self.checker.violated(f"a start raised a raw {type(error).__name__}: {error!r:.200}")
                return
            host.start(self._follow_log(engine))
            await self._start_projection(host, store, engine)
            self.engine = engine
            self._up.set()
            while host.alive and engine.service.closed is None and not self.lost_ownership:
                await self.sim.clock.sleep(LOOK_S)
                await self._check_projection(host, store, engine)
            host.check()
            if read_only == self._read_only():
                self._check_end(engine)
            if host.alive and not self.lost_ownership:  # closed or without its store: it answers everybody, then ends
                await self._close(host, engine)
        except HostCrashed:
            return
        finally:
            self._up.clear()
            self.engine = self.projection = None
            if self.lost_ownership:
                self._replaced.append((host, engine))
            else:
                host.crash()
                if not closed:  # an orderly end frees the store itself
                    self.disk.crash(store.handle)
            for name in MET:
                self.faults.counted[f"met: {name}"] += getattr(engine.counters, name)

    def _read_only(self) -> int:
        """How often so far: a store that can never be written again ends its engine, rightly."""
        return self.faults.counted[EnumDiskFault.READ_ONLY.value]

    async def _check_projection(self, host: Host, store: SimStore, engine: ReducerPatternEngine) -> None:
        """One that failed stands still and says why, until its code is fixed: here at the next look."""
        projection = self.projection
        if projection is None or not host.alive:
            return
        # its rows do not show whether it runs: another process may keep the same projection
        task = projection._task
        if projection.failed is None and task is not None and task.done():
            self.checker.violated("a projection's loop has ended without an error")
        if projection.failed is not None:
            self.faults.counted["met: projection failed"] += 1
            await self._start_projection(host, store, engine)

    def _check_end(self, engine: ReducerPatternEngine) -> None:
        lost = engine.service.closed
        if not self._ordered and not isinstance(lost, OwnershipLost | None):
            self.checker.violated(f"an engine ended by itself: {lost}")

    async def _start_projection(self, host: Host, store: SimStore, engine: ReducerPatternEngine) -> None:
        self.projection = projection_service(store, engine.commit_signal, host, self.setup.project)
        await host.spawn(self.projection.start())

    async def _close(self, host: Host, engine: ReducerPatternEngine) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                if self.projection is not None:
                    await host.spawn(self.projection.close())
                self.on_orderly_end()
                # shielded: the caller of ``restart`` may be cancelled, and must not cancel the close with it
                await asyncio.shield(host.spawn(engine.close()))
        except TimeoutError:
            self.checker.violated(f"close did not end within {CLOSE_S} s")
        except OnexError:  # everything accepted is durable or answered; the operating system frees the store
            return

    async def _follow_log(self, engine: ReducerPatternEngine) -> None:
        """Reads the log as a subscriber does: a commit of which no subscriber is told is found at the end."""
        tail, last_n = LogTail(engine.reader, engine.commit_signal, Position(0, self.tail_n)), self.tail_n
        while True:
            try:
                async for entry in tail.follow():
                    if entry.position.n != last_n + 1:
                        self.checker.violated(f"a subscriber was shown {entry.position} after {last_n}")
                    last_n = entry.position.n
                    self.tail_n = max(self.tail_n, last_n)
            except OnexError:
                await engine.clock.sleep(LOOK_S)

    # --- what happens to it -------------------------------------------------------------------------------------------

    def crash(self) -> None:
        if self.host is not None:
            self.host.crash()

    def lose_ownership(self) -> None:
        """The store gives the shard to the next engine while this one runs on, unaware."""
        self.disk.take_ownership()
        self.lost_ownership = True

    def end_replaced(self) -> None:
        """The engines that lost their store end at last."""
        for host, engine in self._replaced:
            self.faults.counted["met: store lost"] += isinstance(engine.service.closed, OwnershipLost)
            host.crash()
        self._replaced.clear()

    async def restart(self) -> None:
        """Closes the engine in order; ``run_for_ever`` boots the next one."""
        host, engine = self.host, self.engine
        if host is not None and engine is not None and host.alive:
            self._ordered = True
            try:
                await self._close(host, engine)
            except HostCrashed:
                return

    def set_clock(self, skew_s: float, drift: float = 0.0) -> None:
        """From now on. The next boot has the same skew, and no drift."""
        self._note_clock()
        self.skew_s = skew_s
        if self.host is not None:
            self.host.clock.set(skew_s, drift)

    def _note_clock(self) -> None:
        if self.host is not None:
            self.latest_us = max(self.latest_us, self.host.clock.now_us())

    async def blob(self, digest: bytes) -> bytes | None:
        """As an effect of the running engine reads it. Raises what its store raises."""
        assert self._store is not None, "an effect runs in an engine that was started"
        return await self._store.blob(digest)

    async def projected(self, reached: Position) -> Sequence[ProjectionRow]:
        """The projection as the owner shows it, at ``reached`` or later. Raises what its service raises."""
        assert self.projection is not None, "asked of an engine that runs"
        return await self.projection.rows(limit=1000, reached=reached)

    async def drained(self, truth: SimStore, within_s: float, now_us: Callable[[], int]) -> bool:
        """Whether within this time the engine is at rest: nothing in flight, and nothing that waits is due.

        What came due in the last ``LATE_US`` is not counted: the engine may not have seen it yet.
        """
        end_s = self.sim.loop.time() + within_s
        while self.sim.loop.time() < end_s:
            await self.sim.clock.sleep(1.0)
            waiting = await truth.outbox((EnumOutboxState.WAITING, EnumOutboxState.CANCELLED), None, None, 1000)
            due = [row for row in waiting if row.due_us <= now_us() - LATE_US]
            if not due and self.engine is not None and self.engine.service.is_quiet:
                return True
        return False

    # --- from outside -------------------------------------------------------------------------------------------------

    async def ask(self, ask: Callable[[ReducerPatternEngine], Awaitable[T]], *, patience_s: float | None = None) -> T:
        """Calls ``ask`` on the engine that runs, or the next one. Raises HostCrashed, TimeoutError, and what the engine raises."""
        while (engine := self.engine) is None or (host := self.host) is None or not host.alive:
            self._up.clear()
            await self._up.wait()

        async def call() -> T | _Raised:
            try:
                return await ask(engine)
            except Exception as error:  # kept as a value: the run may end before anybody looks at this task
                return _Raised(error)

        asked = host.spawn(call())
        async with asyncio.timeout(patience_s):
            answer = await asked
        if isinstance(answer, _Raised):
            raise answer.error
        return answer


class _Raised(NamedTuple):
    error: Exception


def projection_service(
    store: SimStore, commit_signal: ChangeSignal, host: Host, project: Project = latest
) -> ProjectionMaterializerService:
    return ProjectionMaterializerService(
        store, store, commit_signal, host.clock, WORKFLOW, project, batch=PROJECTION_BATCH
    )
