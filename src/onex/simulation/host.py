"""A host is a machine that can die: its code runs while it runs, and no step of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, NoReturn, TypeVar

from ..kernel.errors import OnexError
from .clock import SimClock, SimIds, stream

T = TypeVar("T")

_ORIGIN_STEP_S = 1024.0


class SimulationError(OnexError):
    """The simulation cannot go on, or was asked for something it does not do."""

    code = "simulation"


class HostCrashed(BaseException):
    """The host this work belonged to is dead: what a waiter from outside gets, and what dead code gets from every port.

    No ``Exception``, so that a dead engine's own ``except Exception: try again`` does not keep it alive.
    """


HOST: ContextVar[Host] = ContextVar("onex.simulation.host")
"""Whose memory the running code runs in. Tasks, timers and callbacks inherit it, so the loop knows whose each is."""


def current_host() -> Host:
    """The host whose code is running. A simulated port asks this first: raises HostCrashed when that host is dead."""
    host = HOST.get(None)
    if host is None:
        raise SimulationError("This code runs outside a simulation, so it has no host: start it with Host.spawn.")
    host.check()
    return host


class Host:
    """A machine with one memory: what is spawned here, and all that this starts in turn, dies with it.

    A crash is not a cancellation. Cancelling runs ``finally`` blocks, and a machine that lost its power runs none. So
    dead tasks are just never resumed: the loop leaves out every handle whose context names a dead host. Only after the
    run, when the loop is closed and nothing can be waited for, are their coroutines closed, so that Python can free
    them; whatever their ``finally`` blocks then try, each port that asks ``current_host()`` refuses.

    What survives a crash (a store, a bus) belongs to the world. A port that has begun something there which goes on
    when its caller dies runs it as ``await asyncio.shield(world.spawn(...))``: the caller waits, the world works.

    ``clock``, ``ids`` and ``rng`` are this host's ports. A host that comes back is a new object with the next ``boot``:
    nothing but its name is the same.
    """

    def __init__(
        self,
        name: str,
        boot: int,
        *,
        seed: int,
        loop: asyncio.AbstractEventLoop,
        drop: Callable[[Host], None],
        skew_s: float = 0.0,
    ) -> None:
        self.name = name
        self.boot = boot
        self.label = f"{name}.{boot}"
        self.alive = True
        self.clock = SimClock(loop, skew_s=skew_s, origin_s=boot * _ORIGIN_STEP_S)
        self.ids = SimIds(self.clock, stream(seed, f"ids of {self.label}"))
        self.rng = stream(seed, f"chance of {self.label}")
        self._loop = loop
        self._drop = drop
        # not a copy of the caller's: what one host keeps in context variables is no memory of another
        self._context = Context()
        self._context.run(HOST.set, self)
        self._background: set[asyncio.Task[object]] = set()

    def __repr__(self) -> str:
        return f"<Host {self.label} {'alive' if self.alive else 'dead'}>"

    def check(self) -> None:
        """Raises HostCrashed when this host is dead."""
        if not self.alive:
            raise HostCrashed(f"host {self.label} is dead")

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Runs ``coro`` as a task of this host, to be awaited. Raises HostCrashed when the host is dead.

        A task or timer started by code of another host, the test's own included, belongs to that one: to call an
        engine from outside, spawn the call: ``await host.spawn(engine.submit(action))``.
        """
        if not self.alive:
            coro.close()
        self.check()
        return self._loop.create_task(coro, name=name, context=self._context.copy())

    def start(self, coro: Coroutine[Any, Any, object], *, name: str | None = None) -> None:
        """As ``spawn``, for a task nobody awaits: it is kept until it is done, and its failure ends the run at once."""
        task = self.spawn(coro, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard, context=self._context)

    def crash(self) -> None:
        """Ends this host now. Who waits for one of its tasks gets HostCrashed at some later step. Idempotent.

        Called by the host's own code, it raises HostCrashed to unwind what is running; a port that waits has ``die``.
        """
        self._end()
        if HOST.get(None) is self:
            self.check()

    async def die(self) -> NoReturn:
        """A crash at this very line of the host's own code, for a port to await: no ``finally`` runs behind it."""
        if HOST.get(None) is not self:
            raise SimulationError(f"Only code of {self.label} can die with it; from outside, call crash().")
        self._end()
        while True:
            await self._loop.create_future()

    def _end(self) -> None:
        if self.alive:
            self.alive = False
            self._drop(self)
