"""One run of one seed: a simulation is a function of its seed. Run again, the same things happen in the same order.

Theory of operation
    ``run`` makes the loop and the host "world", runs ``main(sim)`` there, and ends everything when ``main`` returns.
    Randomness comes from streams of the seed, one per purpose: the order of steps, the faults, and ids and chance per host.
    A change in one purpose leaves the draws of the others alone, so a seed keeps its meaning while a scenario grows.
    What else could make two runs differ, and what is done about it: addresses (tasks hash by a count), the real clock (there
    is only the virtual one), threads and sockets (refused by the loop), and the garbage collector, whose finalizers take part
    in the run: it is off, and the loop collects at fixed step counts.
    ``SimResult.trace_hash`` covers the name of every step and the time of every jump: equal hashes, equal runs.
    However ``main`` ends, ``loop.finish`` closes what is left. The first error wins: that of ``main``, else the loop's.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from ..kernel.user_code import caught
from .clock import SimClock, stream
from .host import Host, SimulationError
from .loop import SimLoop

T = TypeVar("T")


class Sim:
    """What a simulated program is given. The host ``world`` runs the test's own code, and holds what survives a crash."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.faults = stream(seed, "faults")
        """The stream of faults. The order of steps has another, so one more fault does not reorder the run before it."""
        self._boots: dict[str, int] = {}
        self._hosts: dict[str, Host] = {}
        self.world = self.host("world")

    @property
    def clock(self) -> SimClock:
        """True time; a host's own is ``host.clock``."""
        return self.world.clock

    def host(self, name: str, *, skew_s: float = 0.0) -> Host:
        """A new host, or the next boot of one that crashed. Raises SimulationError while one of this name is alive."""
        running = self._hosts.get(name)
        if running is not None and running.alive:
            raise SimulationError(f"Host {running.label} is alive: crash it before {name!r} can boot again.")
        boot = self._boots[name] = self._boots.get(name, 0) + 1
        host = Host(name, boot, seed=self.seed, loop=self.loop, drop=self.loop.drop, skew_s=skew_s)
        self._hosts[name] = host
        return host


@dataclass(frozen=True, slots=True)
class SimResult(Generic[T]):
    """How a run ended. ``error`` is what the program raised, or a SimulationError; then ``value`` is None."""

    seed: int
    value: T | None
    error: BaseException | None
    trace_hash: str
    steps: int
    virtual_s: float
    trace: tuple[str, ...] = ()

    def result(self) -> T:
        """The value, or raises the error."""
        if self.error is not None:
            self.error.add_note(f"seed {self.seed}: step {self.steps}, virtual {self.virtual_s:.6f} s")
            raise self.error
        return cast("T", self.value)


def run(
    main: Callable[[Sim], Awaitable[T]], seed: int, *, max_steps: int = 10_000_000, keep_trace: bool = False
) -> SimResult[T]:
    """Runs ``main(sim)`` on the world host to its end. What still runs then is dropped, not cancelled.

    ``keep_trace`` keeps the name of every step, to see where two runs differ. Do not call it from within a running loop.
    What ``main`` raises, SystemExit included, and what asyncio would only log, is the result's ``error``. Ctrl-C is raised.
    """
    loop = SimLoop(seed, max_steps=max_steps, keep_trace=keep_trace)
    sim = Sim(loop, seed)
    value: T | None = None
    error: BaseException | None = None

    async def program() -> T:
        return await main(sim)

    with _collector_held():
        try:
            value = loop.run_until_complete(sim.world.spawn(program(), name="main"))
        except BaseException as raised:
            caught(raised)  # raises a real Ctrl-C again; a KeyboardInterrupt of the program itself is its error
            error = raised
        finally:
            loop.finish()
    error = error or loop.failure
    return SimResult(
        seed=seed,
        value=value if error is None else None,
        error=error,
        trace_hash=loop.trace_hash(),
        steps=loop.steps,
        virtual_s=loop.time(),
        trace=tuple(name.decode() for name in loop.trace),
    )


@contextmanager
def _collector_held() -> Iterator[None]:
    """Turns automatic collection off: the loop collects at fixed step counts. Objects from before are left out of it."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            # a dead engine was ended in the middle of its code, which then made a coroutine that nobody could await
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            gc.collect()
        gc.unfreeze()
        if enabled:
            gc.enable()
