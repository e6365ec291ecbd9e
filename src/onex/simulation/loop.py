"""An event loop for one run of one seed: time is virtual, the order of steps is drawn, and nothing comes from outside.

Theory of operation
    The engine runs on it unchanged. It is asyncio's own loop with three parts replaced:
    - The queue of ready handles (``_Ready``). The next handle is taken at random, by a stream of the seed.
    - The selector (``_NoSelector``). When nothing is ready, it does not wait: time jumps to the next timer. In ``run_ready``
      the loop stops there instead, and whoever drives it may let more time pass at once (``pass_until``).
    - The clock (``time``). It stands still while code runs.
    asyncio promises that callbacks of ``call_soon`` run in the order in which they were given. This loop breaks that promise
    on purpose: between machines, threads and sockets there is no such order. Code that needs one uses a queue or a future.

    What ends a run before its end, each with an error that names who waits at which line:
    - no handle and no timer: nothing can ever happen again (``DeadlockError``);
    - more steps than ``max_steps``: some task polls without end (``StepLimitError``);
    - a thread, socket or process is asked for (``UnsimulatedError``), or an error was handled by nobody (``UnhandledError``).

    Hosts: a handle whose context belongs to a dead host is skipped. Its coroutine is neither cancelled nor resumed, so no
    ``finally`` runs, as after a power cut. Only in ``finish``, when the loop is closed, are such coroutines closed.

    Why a run repeats exactly: tasks and futures hash by a count, not by address, so sets of them keep their order; garbage
    is collected at fixed step counts; random streams are seeded with text. ``trace_hash`` covers every step and jump.
    Two things break it: ``asyncio.as_completed`` puts bare coroutines into a set (give it tasks), and the future of a
    ``gather`` hashes by address (do not put it into a set).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import math
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from hashlib import blake2b
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple

from .clock import stream
from .host import HOST, Host, HostCrashed, SimulationError
from .task import SimFuture, SimTask

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_HOUSEKEEPING_STEPS = 1 << 14
_FULL_COLLECTION_STEPS = 1 << 18
_TASKS_SHOWN = 20


class DeadlockError(SimulationError):
    """Nothing is ready and no timer is set. ``waiting`` names each task and the line at which it waits."""

    code = "simulation_deadlock"

    def __init__(self, message: str, waiting: tuple[str, ...]) -> None:
        super().__init__(message)
        self.waiting = waiting


class StepLimitError(SimulationError):
    """The run took more steps than ``max_steps``: it polls, or repeats itself without end. ``waiting`` as in DeadlockError."""

    code = "simulation_step_limit"

    def __init__(self, message: str, waiting: tuple[str, ...]) -> None:
        super().__init__(message)
        self.waiting = waiting


class UnsimulatedError(SimulationError):
    """The code used a thread, a socket or a process directly. Put it behind a port."""

    code = "simulation_unsimulated"


class UnhandledError(SimulationError):
    """A task or a callback failed and nobody handled it. The failure itself is the ``__cause__``."""

    code = "simulation_unhandled"


class _Handle(Protocol):
    """The parts of ``asyncio.Handle`` that have no public name."""

    _callback: Callable[..., object]
    _cancelled: bool
    _context: Context

    def cancel(self) -> None: ...


class _Timer(_Handle, Protocol):
    def when(self) -> float: ...


class _Ready:
    """In place of the base class's queue of ready handles: here, and only here, the next step is chosen."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self._loop = loop
        self._chance = stream(seed, "order").random
        self._handles: list[_Handle] = []

    def __len__(self) -> int:
        return len(self._handles)

    def append(self, handle: _Handle) -> None:
        self._handles.append(handle)

    def clear(self) -> None:
        self._handles.clear()

    def popleft(self) -> _Handle:
        handles = self._handles
        if len(handles) > 1:
            chosen = int(self._chance() * len(handles))
            handles[chosen], handles[-1] = handles[-1], handles[chosen]
        handle = handles.pop()
        if handle._cancelled:
            return handle
        host = handle._context.get(HOST)
        if host is not None and not host.alive:
            handle.cancel()  # code of a dead host never runs again: the base class skips a cancelled handle
            return handle
        callback = handle._callback
        task = getattr(callback, "__self__", None)
        self._loop.begin_step(task.label if isinstance(task, SimTask) else _name(callback))
        return handle


class _NoSelector:
    """In place of a selector: there is nothing to select from, so waiting is a jump in time."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout == 0:
            return ()
        if self._loop.stands:
            self._loop.stop()
        else:
            self._loop.jump()
        return ()


class SimLoop(asyncio.BaseEventLoop):
    """Driven by ``seeded_run.run``. ``steps`` counts the handles run; ``trace`` has their names, if they are kept.

    The base class gives no public way to another queue, selector or clock; its three private names are the same in
    CPython 3.11 to 3.13, and the tests of this room fail where they are not.
    """

    _scheduled: list[_Timer]

    def __init__(self, seed: int, *, max_steps: int, keep_trace: bool = False) -> None:
        super().__init__()
        self._ready = _Ready(self, seed)
        self._selector = _NoSelector(self)
        self._now = 0.0
        self._clock_resolution = math.ulp(self._now)
        self._thread = threading.get_ident()
        self._numbers = itertools.count(1)
        self._crashed: list[Host] = []
        self._dead: list[SimTask[object]] = []
        self._max_steps = max_steps
        self._keep_trace = keep_trace
        self._fresh: list[bytes] = []
        self._digest = blake2b(digest_size=16)
        self.failure: SimulationError | None = None
        self.stands = False
        self.steps = 0
        self.trace: list[bytes] = []

    # --- time and order ---------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """Sets the time to the next timer. Raises DeadlockError when there is none."""
        if self.failure is not None:
            raise self.failure
        when = self._scheduled[0].when() if self._scheduled else math.inf
        if when == math.inf:
            waiting = self.waiting()
            raise DeadlockError(
                f"Nothing can happen any more at virtual {self._now:.6f} s, after {self.steps} steps: no timer is set, "
                f"and {len(waiting)} tasks wait for each other or for something that never comes: {_listed(waiting)}",
                waiting,
            )
        self._set(when)

    def _set(self, when: float) -> None:
        self._now = when
        # the base class runs timers up to now + resolution: one ulp means exactly those that are due, at any size of ``when``
        self._clock_resolution = math.ulp(when)
        self._fresh.append(b"@" + repr(when).encode())

    def run_ready(self) -> None:
        """Runs whatever can run without a wait; time stands still. Raises the error that ends the run."""
        if self.failure is not None:
            raise self.failure
        self.stands = True
        try:
            self.run_forever()
        finally:
            self.stands = False

    def pass_until(self, when: float) -> None:
        """Sets the time ahead, while the loop does not run. Timers in between are late then, as on a machine that slept."""
        if when > self._now:
            self._set(when)

    def next_timer(self) -> float:
        """When the next timer is due; infinity when none is set."""
        return min((timer.when() for timer in self._scheduled if not timer._cancelled), default=math.inf)

    def begin_step(self, name: bytes) -> None:
        """Counts and records the step that is about to run. Raises the error that ends the run."""
        if self.failure is not None:
            raise self.failure
        self._fresh.append(name)
        self.steps += 1
        if self.steps % _HOUSEKEEPING_STEPS == 0:
            self._fold_trace()
            # Finalizers take part in the run: that of an async generator schedules its closing. So garbage is collected at
            # fixed counts of steps. The collector's own times depend on what ran in this process before.
            gc.collect(2 if self.steps % _FULL_COLLECTION_STEPS == 0 else 1)
        if self.steps > self._max_steps:
            waiting = self.waiting()
            raise StepLimitError(
                f"The run was given {self._max_steps} steps and wants more at virtual {self._now:.6f} s: a task polls "
                f"without end, or max_steps is too small. Tasks: {_listed(waiting)}",
                waiting,
            )

    def trace_hash(self) -> str:
        """Over the name of every step so far and the virtual time of every jump: equal for equal runs."""
        self._fold_trace()
        return self._digest.hexdigest()

    def _fold_trace(self) -> None:
        if self._keep_trace:
            self.trace += self._fresh
        self._digest.update(b"".join(name + b"\n" for name in self._fresh))
        self._fresh.clear()

    # --- tasks and hosts --------------------------------------------------------------------------------------------

    def create_future(self) -> SimFuture[Any]:
        return SimFuture(next(self._numbers), self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> SimTask[T]:
        return SimTask(
            coro,
            next(self._numbers),
            loop=self,
            name=None if name is None else str(name),
            context=copy_context() if context is None else context,
        )

    def tasks(self) -> list[SimTask[object]]:
        """Those that are not done, oldest first."""
        running = [task for task in asyncio.all_tasks(self) if isinstance(task, SimTask)]
        return sorted(running, key=lambda task: task.number)

    def waiting(self) -> tuple[str, ...]:
        return tuple(task.waits_at() for task in self.tasks() if task.host is None or task.host.alive)

    def drop(self, host: Host) -> None:
        """Forgets a dead host: its timers no longer move time, and who awaits one of its tasks gets HostCrashed."""
        self._crashed.append(host)
        for timer in self._scheduled:
            if timer._context.get(HOST) is host:
                timer.cancel()
        tasks = [task for task in self.tasks() if task.host is host]
        self._dead += tasks
        # at a later step: the host may have crashed itself, and a task cannot be ended in the middle of its own step
        self.call_soon(_end, tasks, context=Context())

    def finish(self) -> None:
        """Ends the run: no step follows, and every coroutine that is left is closed."""
        left = self.tasks()
        for task in left:
            if task.host is not None:
                task.host.alive = False
        _end(left)
        # the loop is closed first: then dead code can neither wait nor schedule, and no async generator is finalized
        self.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # for a coroutine that dead code makes and nobody awaits
            for task in self._dead + left:
                if not task.close():
                    self.fail(
                        SimulationError(
                            f"{task.waits_at()} awaits again at every GeneratorExit, so it cannot be closed."
                        )
                    )
        self._dead.clear()

    # --- failures ---------------------------------------------------------------------------------------------------

    def fail(self, error: SimulationError) -> None:
        """Ends the run with ``error`` before its next step. Only the first call counts."""
        if self.failure is None:
            self.failure = error

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An error that asyncio would only log ends the run, unless the code under test has set a handler of its own."""
        if self.get_exception_handler() is not None:
            super().call_exception_handler(context)
            return
        cause = context.get("exception")
        task = context.get("task") or context.get("future")
        if isinstance(cause, HostCrashed) or (isinstance(task, SimTask | SimFuture) and task.host in self._crashed):
            return
        whose = f" ({task.get_name()})" if isinstance(task, SimTask) else ""
        error = UnhandledError(f"{context.get('message', 'Unhandled failure')}{whose}: {cause!r}")
        error.__cause__ = cause
        self.fail(error)

    # --- the outside ------------------------------------------------------------------------------------------------

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            error = UnsimulatedError(
                f"Thread {threading.current_thread().name} called call_soon_threadsafe({_name(callback).decode()}): "
                "a thread runs at its own time, so this run could not be repeated by its seed. Put it behind a port."
            )
            self.fail(error)
            raise error
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, event_list: tuple[()]) -> None:
        """There is no selector, so there are no events."""


def _refused_outside(name: str) -> Callable[..., NoReturn]:
    def refuse(self: SimLoop, *args: object, **options: object) -> NoReturn:
        error = UnsimulatedError(
            f"{name} reaches outside the simulation at virtual {self.time():.6f} s: put it behind a port, and give the "
            "simulation an implementation of that port."
        )
        self.fail(error)  # user code may catch it, and an effect's error would be tried again
        raise error

    refuse.__name__ = name
    return refuse


_OUTSIDE = """
    run_in_executor set_default_executor set_task_factory getaddrinfo getnameinfo sendfile start_tls
    create_connection create_server create_datagram_endpoint create_unix_connection create_unix_server
    connect_accepted_socket connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec
    sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_sendfile
    sock_connect sock_accept add_reader remove_reader add_writer remove_writer
    add_signal_handler remove_signal_handler
"""
for _method in _OUTSIDE.split():
    setattr(SimLoop, _method, _refused_outside(_method))


def _end(tasks: list[SimTask[object]]) -> None:
    for task in tasks:
        task.end()


def _name(callback: Callable[..., object]) -> bytes:
    while isinstance(callback, functools.partial):
        callback = callback.func
    return str(getattr(callback, "__qualname__", type(callback).__name__)).encode()


def _listed(waiting: tuple[str, ...]) -> str:
    more = len(waiting) - _TASKS_SHOWN
    return "; ".join(waiting[:_TASKS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
