"""The supervisor: one engine at a time on one store, started again whenever it dies, and asked by whoever is outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..engine.dispatch import Limits
from ..engine.log_tail import LogTail
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.projections import Project, ProjectionMaterializerService, latest
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, OwnershipLost
from ..ports import Env, Position, ProjectionRow
from .disk import Disk, EnumDiskFault
from .faults import Faults
from .host import Host, HostCrashed
from .projection_checks import materializer
from .seeded_run import Sim
from .sim_store import SimStore, StoreListener

T = TypeVar("T")

ENV: Final = Env("0", "0", "0", "", "")
LOOK_S: Final = 0.25
CLOSE_S: Final = 30.0
MET: Final = ("overloaded", "conflicts", "duplicates", "timers_dropped", "outcomes_dropped", "effects_retried")
"""Counters of an engine that a engine simulation must have seen move."""


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """What one seed runs: the code of each generation, bounds of its engine, and whether it checks every state it writes."""

    registry: Callable[[int], ReducerRegistry]
    limits: Limits
    check_all: bool
    project: Project = latest


class EngineSupervisor:
    """Who wants the engine waits for it in ``ask``. ``keep`` is the supervisor."""

    def __init__(
        self,
        sim: Sim,
        disk: Disk,
        faults: Faults,
        violated: Callable[[str], None],
        listener: StoreListener,
        setup: EngineSetup,
        keys: Sequence[WorkflowKey],
    ) -> None:
        self.sim, self.disk, self.faults, self.violated, self.listener, self.setup = (
            sim, disk, faults, violated, listener, setup,
        )  # fmt: skip
        self.generation = 1
        self.skew_s = 0.0
        self.latest_us = 0
        """The latest time a clock of the supervisor had shown when it was set or went with its machine."""
        self.projection: ProjectionMaterializerService | None = None
        self.engine: ReducerPatternEngine | None = None
        self.host: Host | None = None
        self.boots = 0
        self.tail_n = 0
        self.lost_ownership = False
        self._ordered = False
        """Somebody wants the engine that runs to end."""
        self.on_orderly_end: Callable[[], None] = lambda: None
        self.keys = list(keys)
        """The instances that clients speak of."""
        self.sender = SimStore(disk, sim.world)
        """The store as another process has it that submits through the inbox."""
        self._store: SimStore | None = None
        self._replaced: list[tuple[Host, ReducerPatternEngine]] = []
        self._up = asyncio.Event()

    # --- the supervisor -----------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Runs engine after engine, for ever."""
        while True:
            await self._live()
            await self.sim.clock.sleep(self.faults.some_s(3.0))

    async def _live(self) -> None:
        self.boots += 1
        self.lost_ownership = self._ordered = False
        self._look_at_the_clock()
        read_only = self._read_only()
        host = self.host = self.sim.host(f"engine{self.boots}", skew_s=self.skew_s)
        store = self._store = SimStore(self.disk, self.sim.world, self.faults, self.listener)
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
                self.violated(f"a start raised a raw {type(error).__name__}: {error!r:.200}")
                return
            host.start(self._follow(engine))
            await self._show(host, store, engine)
            self.engine = engine
            self._up.set()
            while host.alive and engine.service.closed is None and not self.lost_ownership:
                await self.sim.clock.sleep(LOOK_S)
                await self._mend_projection(host, store, engine)
            host.check()
            if read_only == self._read_only():
                self._look_at_its_end(engine)
            await self._leave(host, engine)
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
        """How often so far: a store that can never be written any more ends its engine, which says so."""
        return self.faults.counted[EnumDiskFault.READ_ONLY.value]

    async def _mend_projection(self, host: Host, store: SimStore, engine: ReducerPatternEngine) -> None:
        """One that failed stands still and says so, until its author has fixed it: which is now."""
        projection = self.projection
        if projection is None or not host.alive:
            return
        task = (
            projection._task
        )  # another process may keep the same projection, so nothing else shows that this one died
        if projection.failed is None and task is not None and task.done():
            self.violated("a projection's loop has ended, and says nothing")
        if projection.failed is not None:
            self.faults.counted["met: projection failed"] += 1
            await self._show(host, store, engine)

    def _look_at_its_end(self, engine: ReducerPatternEngine) -> None:
        lost = engine.service.closed
        if not self._ordered and not isinstance(lost, OwnershipLost | None):
            self.violated(f"an engine ended by itself: {lost}")

    async def _show(self, host: Host, store: SimStore, engine: ReducerPatternEngine) -> None:
        self.projection = materializer(store, engine.commit_signal, host, self.setup.project)
        await host.spawn(self.projection.start())

    async def _leave(self, host: Host, engine: ReducerPatternEngine) -> None:
        """The end of an engine that was closed, or lost its store: its process goes when it has answered everybody."""
        if host.alive and not self.lost_ownership:
            await self._close(host, engine)

    async def _close(self, host: Host, engine: ReducerPatternEngine) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                if self.projection is not None:
                    await host.spawn(self.projection.close())
                self.on_orderly_end()
                # who stops waiting for the end, as whoever makes trouble does in peace, does not bring it about in the middle
                await asyncio.shield(host.spawn(engine.close()))
        except TimeoutError:
            self.violated(f"close did not end within {CLOSE_S} s")
        except OnexError:  # everything accepted is durable or answered; what the store still holds, the kernel frees
            return

    async def _follow(self, engine: ReducerPatternEngine) -> None:
        """Reads the log as a subscriber does, so that a commit nobody was told of shows."""
        tail, last_n = LogTail(engine.reader, engine.commit_signal, Position(0, self.tail_n)), self.tail_n
        while True:
            try:
                async for entry in tail.follow():
                    if entry.position.n != last_n + 1:
                        self.violated(f"a subscriber was shown {entry.position} after {last_n}")
                    last_n = entry.position.n
                    self.tail_n = max(self.tail_n, last_n)
            except OnexError:
                await engine.clock.sleep(LOOK_S)

    # --- what happens to it -------------------------------------------------------------------------------------------

    def crash(self) -> None:
        if self.host is not None:
            self.host.crash()

    def steal(self) -> None:
        """The store gives the shard to another process while this one runs, unaware."""
        self.disk.steal()
        self.lost_ownership = True

    def end_replaced(self) -> None:
        """Those that lost their shard end at last."""
        for host, engine in self._replaced:
            self.faults.counted["met: store lost"] += isinstance(engine.service.closed, OwnershipLost)
            host.crash()
        self._replaced.clear()

    async def restart(self) -> None:
        """An orderly end; the supervisor does the rest."""
        host, engine = self.host, self.engine
        if host is not None and engine is not None and host.alive:
            self._ordered = True
            try:
                await self._close(host, engine)
            except HostCrashed:
                return

    def replace(self, key: WorkflowKey) -> WorkflowKey:
        """This one has ended: from now on clients speak of another, the one given back."""
        other = key._replace(instance_id=f"{key.instance_id}'")
        if key in self.keys:
            self.keys[self.keys.index(key)] = other
        return other

    def set_clock(self, skew_s: float, drift: float = 0.0) -> None:
        """The next boot has the same skew, and a clock that goes as it should."""
        self._look_at_the_clock()
        self.skew_s = skew_s
        if self.host is not None:
            self.host.clock.set(skew_s, drift)

    def _look_at_the_clock(self) -> None:
        if self.host is not None:
            self.latest_us = max(self.latest_us, self.host.clock.now_us())

    async def blob(self, digest: bytes) -> bytes | None:
        """As an effect of the engine that runs reads it. Raises what its store raises."""
        assert self._store is not None, "an effect runs in an engine that was started"
        return await self._store.blob(digest)

    async def project(self, reached: Position) -> Sequence[ProjectionRow]:
        """The projection as the owner shows it, at ``reached`` or later. Raises what its service raises."""
        assert self.projection is not None, "asked of an engine that runs"
        return await self.projection.rows(limit=1000, reached=reached)

    # --- from outside -------------------------------------------------------------------------------------------------

    async def ask(self, ask: Callable[[ReducerPatternEngine], Awaitable[T]], *, patience_s: float | None = None) -> T:
        """``ask`` on the engine there is, or the next one. Raises HostCrashed, TimeoutError, and what the engine raises."""
        while (engine := self.engine) is None or (host := self.host) is None or not host.alive:
            self._up.clear()
            await self._up.wait()

        async def call() -> T:
            return await ask(engine)

        asked = host.spawn(call())
        asked.add_done_callback(_looked_at)
        async with asyncio.timeout(patience_s):
            return await asked


def _looked_at(asked: asyncio.Task[T]) -> None:
    """Who asked may be gone by now, with a run that ended: what it was to be told is nobody's any more."""
    if not asked.cancelled():
        asked.exception()
