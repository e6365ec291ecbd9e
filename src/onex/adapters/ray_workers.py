"""RayWorkers: worker processes on a cluster of Ray, for a WorkerPool. Ray is the extra ``onex[ray]``, imported when it is used.

Theory of operation. Each worker is an actor of Ray with one CPU. It imports the entry when it is made, and answers one task at a
time, as a forked worker does (``fork_server.answer``). Ray repeats nothing by itself: the pool decides what a death means.

``where`` says which Ray:

    ray                 one that this process starts on this machine, and ends
    ray:HOST:PORT       a cluster of which this machine is a node; ``ray:auto`` finds it

All calls that may wait for long are made in one thread. Ray's own processes of a local start end with the thread that started
them, so that thread lives until ``close``. It is not the main thread, where Ray would take SIGTERM for itself.

What may go wrong:

- The actor dies, or its node: the answer's reference fails. Each task is sent when the actor has answered ``ready``; one that had
  died while it was idle is no mark against the task.
- The cluster has no free CPU: an actor waits for one, and the task waits as for any worker. ``close`` ends the wait.
- A node lacks ONEX, or the app's files: the first cannot be started, and says so. The second refuses the task (``code_changed``).
- This process dies: Ray ends the actors of a driver that is gone, and the processes of a local start die with their parent.
- The program uses Ray itself: then its connection is used, and left open.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, NamedTuple, Protocol, TypeVar, cast

from ..kernel.errors import DependencyResolutionError, NoAvailableSubreducersError
from ..kernel.user_code import describe
from .fork_server import EntryPoint, answer, resolve
from .worker_pool import WorkerDied

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
CONNECT_S: Final = 90.0
KNOCK_S: Final = 10.0


class _Remote(Protocol[T_co]):
    """A method of an actor, or its class."""

    def remote(self, *arguments: object) -> T_co: ...


class _Actor(Protocol):
    load: _Remote[Awaitable[str]]
    ready: _Remote[Awaitable[None]]
    answer: _Remote[Awaitable[list[bytes]]]


class _RayErrors(Protocol):
    RayError: type[Exception]


class _Ray(Protocol):
    """What is used of the module ``ray``."""

    exceptions: _RayErrors

    def init(self, **options: object) -> object: ...

    def is_initialized(self) -> bool: ...

    def remote(self, **options: object) -> Callable[[type], _Remote[_Actor]]: ...

    def kill(self, actor: _Actor) -> None: ...

    def shutdown(self) -> None: ...


class TaskActor:
    """What runs on a node of the cluster."""

    def __init__(self) -> None:
        self._entry: EntryPoint | None = None

    def load(self, entry: str) -> str:
        """'' when the entry is there, else why it is not."""
        try:
            self._entry = resolve(entry)
        except BaseException as error:
            return describe(error)
        return ""

    def ready(self) -> None:
        """Answered by an actor that lives."""

    def answer(self, parts: list[bytes]) -> list[bytes]:
        assert self._entry is not None, "an actor without its entry is given no task"
        return answer(self._entry, parts)


class _Connected(NamedTuple):
    ray: _Ray
    make: _Remote[_Actor]
    is_ours: bool


class _Closed(Exception):
    """``close`` came before the answer."""


class RayWorker:
    """One actor."""

    def __init__(self, ray: _Ray, actor: _Actor, source: RayWorkers, number: int) -> None:
        self._ray, self._actor, self._unless_closed = ray, actor, source.unless_closed
        self._forget = partial(source.actors.pop, number, None)

    @property
    def is_gone(self) -> bool:
        return False  # Ray tells it to the next question

    async def ask(self, parts: list[bytes]) -> list[bytes]:
        """Raises WorkerDied."""
        had_task = False
        try:
            await self._unless_closed(self._actor.ready.remote())
            had_task = True
            return await self._unless_closed(self._actor.answer.remote(parts))
        except (self._ray.exceptions.RayError, _Closed) as error:
            raise WorkerDied(had_task=had_task) from error

    def let_go(self) -> None:
        """Nothing is open on this side."""

    async def end(self) -> str:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)
        self._forget()
        return "its actor of Ray ended"

    async def until_gone(self) -> None:
        """Ray ends the process by itself."""


class RayWorkers:
    """The source of a WorkerPool. ``cpus`` are those of a Ray that this process starts."""

    def __init__(self, entry: str, where: str, cpus: int) -> None:
        self._entry, self._where, self._cpus = entry, where, cpus
        self._thread = ThreadPoolExecutor(1, "onex-ray")
        self._connecting: asyncio.Task[_Connected] | None = None
        self.actors: dict[int, _Actor] = {}
        self._numbers = count()
        self._closed = asyncio.Event()

    async def start(self) -> None:
        """Raises DependencyResolutionError without Ray; NoAvailableSubreducersError where its cluster is not reached."""
        await self._connected()

    async def new(self) -> RayWorker:
        """Raises DependencyResolutionError when the entry cannot be imported there, and what ``start`` raises."""
        connected = await self._connected()
        if self._closed.is_set():
            raise NoAvailableSubreducersError("the workers are closed")
        actor = connected.make.remote()
        number = next(self._numbers)
        self.actors[number] = actor
        try:
            trouble = await self.unless_closed(actor.load.remote(self._entry))
        except _Closed:
            raise NoAvailableSubreducersError("the workers are closed") from None
        except connected.ray.exceptions.RayError as error:
            del self.actors[number]
            raise NoAvailableSubreducersError(f"a worker cannot start on Ray: {_first_line(error)}") from error
        worker = RayWorker(connected.ray, actor, self, number)
        if trouble:
            await worker.end()
            raise DependencyResolutionError(f"workers cannot start: {self._entry!r} cannot be loaded: {trouble}")
        return worker

    async def unless_closed(self, awaited: Awaitable[T]) -> T:
        """Raises _Closed. A Ray that is shut down answers nothing any more, so nobody may wait for it."""
        question, closed = asyncio.ensure_future(awaited), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait([question, closed], return_when=asyncio.FIRST_COMPLETED)
            if not question.done():
                raise _Closed
            return question.result()
        finally:
            question.cancel()
            closed.cancel()

    async def close(self) -> None:
        self._closed.set()
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
            if self._connecting.exception() is None:
                ray, _, is_ours = self._connecting.result()
                for actor in self.actors.values():
                    with suppress(ray.exceptions.RayError):
                        ray.kill(actor)
                if is_ours:
                    await asyncio.get_running_loop().run_in_executor(self._thread, ray.shutdown)
        self._thread.shutdown(wait=False)

    async def _connected(self) -> _Connected:
        """One connection for all. One that failed is tried again by the next call."""
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            if self._closed.is_set():
                raise NoAvailableSubreducersError("the workers are closed")
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Connected:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                return await loop.run_in_executor(self._thread, self._reach)
        except TimeoutError:
            raise self._unreached(f"no answer in {CONNECT_S:g} s") from None

    def _reach(self) -> _Connected:
        ray = _module(self._where)
        is_ours = not ray.is_initialized()
        if is_ours:
            try:
                _knock(self._where)
                ray.init(**options_of(self._where, self._cpus))
            except Exception as error:  # it has no class of its own for this
                raise self._unreached(_first_line(error)) from error
        return _Connected(ray, ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(TaskActor), is_ours)

    def _unreached(self, why: str) -> NoAvailableSubreducersError:
        return NoAvailableSubreducersError(
            f"ONEX_COMPUTE={self._where}: Ray is not reached ({why}); start it there by ray start --head, or unset ONEX_COMPUTE"
        )


def options_of(where: str, cpus: int) -> Mapping[str, object]:
    """What ``ray.init`` is given. What a function prints stays in the logs of Ray."""
    if where == "ray":
        return {"num_cpus": cpus, "include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    return {"address": where.removeprefix("ray:"), "log_to_driver": False, "configure_logging": False}


def _knock(where: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = where.removeprefix("ray:").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _module(where: str) -> _Ray:
    try:
        return cast("_Ray", importlib.import_module("ray"))
    except ImportError as error:
        raise DependencyResolutionError(
            f"ONEX_COMPUTE={where} needs Ray, which is not installed: pip install 'PATH/TO/ONEX[ray]', or unset ONEX_COMPUTE"
        ) from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
