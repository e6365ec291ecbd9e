"""A host is a simulated machine: its code runs while it is alive, and not one step of it after it has crashed.

Theory of operation
    A crash is not a cancellation. Cancelling runs ``finally`` blocks, and a machine that lost its power runs none. So tasks
    of a dead host are never resumed: the loop skips every handle whose context names a dead host.
    In order: ``crash`` sets ``alive`` to False and tells the loop (``drop``). The loop cancels the host's timers, so that they
    no longer move time. At a later step it ends the host's tasks with HostCrashed for whoever awaits them.
    What may still run: the code that called ``crash`` on its own host, up to its next await. Every port of the simulation
    asks ``current_host`` first, which raises HostCrashed, so that code cannot reach a store or a clock any more.
    After the run, when the loop is closed, the coroutines are closed too, so that Python can free them. Their ``finally``
    blocks run then, and every port refuses them.

    What survives a crash (a store, the outside) belongs to the host "world". A port that begins something there which goes
    on after its caller's death runs it as ``await asyncio.shield(world.spawn(...))``: the caller waits, the world works.
"""

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
    """The host of this work is dead. A waiter from outside gets it, and dead code gets it from every port.

    It is no ``Exception``: a dead engine's own ``except Exception: try again`` must not keep it running.
    """


HOST: ContextVar[Host] = ContextVar("onex.simulation.host")
"""The host whose code is running. Tasks, timers and callbacks inherit it, so the loop knows to whom each belongs."""


def current_host() -> Host:
    """The host whose code is running. A simulated port asks this first: raises HostCrashed when that host is dead."""
    host = HOST.get(None)
    if host is None:
        raise SimulationError("This code runs outside a simulation, so it has no host: start it with Host.spawn.")
    host.check()
    return host


class Host:
    """A machine with one memory: what is spawned here, and all that this starts in turn, dies with it.

    ``clock``, ``ids`` and ``rng`` are this host's ports. A host that boots again is a new object with the next ``boot``:
    only its name is the same. Name and boot are hashed into its random streams: a host with another name draws otherwise.
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
        # an empty one, not a copy of the caller's: context variables of one host are not visible to another
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

        A task or timer belongs to the host whose code starts it, and a test's code has a host too. So to call an engine
        from outside, spawn the call on its host: ``await host.spawn(engine.submit(action))``.
        """
        if not self.alive:
            coro.close()
        self.check()
        return self._loop.create_task(coro, name=name, context=self._context.copy())

    def start(self, coro: Coroutine[Any, Any, object], *, name: str | None = None) -> None:
        """As ``spawn``, for a task that nobody awaits: it is kept until it is done, and its failure ends the run."""
        task = self.spawn(coro, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard, context=self._context)

    def crash(self) -> None:
        """Ends this host now. Who waits for one of its tasks gets HostCrashed at some later step. Idempotent.

        Called by the host's own code, it raises HostCrashed, so that the running code ends too. A port that waits uses ``die``.
        """
        self._end()
        if HOST.get(None) is self:
            self.check()

    async def die(self) -> NoReturn:
        """A crash at this very line of the host's own code, for a port to await: no ``finally`` around it runs."""
        if HOST.get(None) is not self:
            raise SimulationError(f"Only code of {self.label} can die with it; from outside, call crash().")
        self._end()
        while True:
            await self._loop.create_future()

    def _end(self) -> None:
        if self.alive:
            self.alive = False
            self._drop(self)
