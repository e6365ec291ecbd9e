"""WorkerPool: compute functions in processes that may die, hang or grow without harm to the engine or to each other.

One worker has one task at a time, so a death or a time-out has exactly one task to blame and neighbours never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Final, TypeVar

from ..kernel.errors import DependencyResolutionError, EffectFailed, EngineClosed, NoAvailableSubreducersError
from ..ports import NewBlob
from .fork_server import (
    FORK,
    ORDER_BYTES,
    READY,
    EntryPoint,
    FunctionAddress,
    answer,
    body_size,
    cut,
    frame,
    lengths_size,
    outcome,
    request,
    resolve,
)

DEATHS: Final = 3
"""A task that ends this many workers is not given to another."""
START_S: Final = 60.0
ORDER_S: Final = 30.0
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from onex.adapters.fork_server import main; main()"


T = TypeVar("T")


class _ServerGone(Exception):
    """The fork server does not answer; its workers leave by themselves."""


class _Died(Exception):
    """The worker closed its lane before it answered."""


class _Server:
    __slots__ = ("control", "process")

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control


class _Worker:
    __slots__ = ("pid", "reader", "writer")

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.reader = reader
        self.writer = writer

    async def ask(self, parts: list[bytes]) -> list[bytes]:
        """Raises _Died."""
        try:
            self.writer.write(b"".join(frame(parts)))  # not writelines: 3.13's breaks when the other side is gone
            await self.writer.drain()
            lengths = await self.reader.readexactly(lengths_size(await self.reader.readexactly(4)))
            return cut(lengths, await self.reader.readexactly(body_size(lengths)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Died from error


class WorkerPool:
    """``entry`` is ``module:function``, called in a worker as ``entry(where, payload, blobs)``.

    Workers are forked when they are needed, ``max_workers`` at most (default: the processors). ``timeout_s`` bounds
    a task that brings no bound of its own; the time it waits for a worker does not count.
    """

    def __init__(self, entry: str, *, max_workers: int | None = None, timeout_s: float | None = None) -> None:
        self.max_workers = max_workers or os.cpu_count() or 1
        self.deaths = 0
        self._entry = entry
        self._timeout_s = timeout_s
        self._server: _Server | None = None
        self._ordering = asyncio.Lock()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._starting = 0
        self._waiting: deque[asyncio.Future[_Worker]] = deque()
        self._tasks: set[asyncio.Task[object]] = set()
        self._released = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # --- what others call ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the server and wait until it has imported the entry; not needed, the first task does it too.

        Raises DependencyResolutionError when the entry cannot be imported, NoAvailableSubreducersError.
        """
        await asyncio.shield(self._own(self._started()))

    async def run(
        self, where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """The result of one task and the blobs it made. Cancelled, it ends the worker that has the task.

        A task whose worker dies is given to another, DEATHS workers in all. Raises EffectFailed, its ``reason`` being
        ``raised``, ``killed_its_worker``, ``timed_out`` (``retry``) or what function or entry said; EngineClosed; and
        what ``start`` raises.
        """
        parts = request(where, payload, blobs)
        bound = self._timeout_s if timeout_s is None else timeout_s
        ends: list[str] = []
        while len(ends) < DEATHS:
            worker = await self._take()
            try:
                async with asyncio.timeout(bound):
                    reply = await worker.ask(parts)
            except TimeoutError:
                await self._discard(worker)
                raise EffectFailed(
                    f"{where[2]}.{where[3]} was stopped after {bound:g} s; raise timeout_ms, or give it less to do",
                    retryable=True,
                    code="timed_out",
                ) from None
            except _Died:
                self.deaths += 1
                ends.append(await self._discard(worker))
                if self._closing is not None:
                    raise EngineClosed("the workers are closed; the task was not finished") from None
            except BaseException:
                _ = self._drop(worker)
                raise
            else:
                self._release(worker)
                return outcome(reply)
        raise EffectFailed(
            f"{where[2]}.{where[3]} killed its worker {DEATHS} times ({'; '.join(ends)}); it is not tried again",
            code="killed_its_worker",
        )

    async def ping(self) -> None:
        """Raises NoAvailableSubreducersError when no worker could be started now."""
        await self.start()

    async def close(self, grace_s: float = 5.0) -> None:
        """Take no more tasks, give running ones ``grace_s`` to end, then end every process. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(grace_s))
        await asyncio.shield(self._closing)

    # --- workers ------------------------------------------------------------------------------------------------------

    async def _take(self) -> _Worker:
        if self._closing is not None:
            raise EngineClosed("the workers are closed; no task is taken")
        while self._idle:
            worker = self._idle.pop()  # the one used last: its caches are warm
            if not worker.reader.at_eof():
                return worker
            self.deaths += 1
            _ = self._drop(worker)
        waiter: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._refill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _refill(self) -> None:
        wanted = sum(not waiter.done() for waiter in self._waiting)
        while self._starting < wanted and len(self._workers) + self._starting < self.max_workers:
            self._starting += 1
            _ = self._own(self._start_worker())

    async def _start_worker(self) -> None:
        try:
            worker = await self._fork()
        except Exception as error:
            self._starting -= 1
            self._released.set()
            if (waiter := self._next_waiter()) is not None:
                waiter.set_exception(error)
            self._refill()
            return
        self._starting -= 1
        self._workers.add(worker)
        self._release(worker)

    def _release(self, worker: _Worker) -> None:
        """A worker is free: the longest waiting task gets it."""
        if (waiter := self._next_waiter()) is not None:
            waiter.set_result(worker)
        else:
            self._idle.append(worker)
            self._released.set()

    def _next_waiter(self) -> asyncio.Future[_Worker] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _drop(self, worker: _Worker) -> asyncio.Task[str]:
        self._workers.discard(worker)
        self._released.set()
        worker.writer.close()
        ending = self._own(self._end(worker))
        if self._closing is None:
            self._refill()
        return ending

    async def _discard(self, worker: _Worker) -> str:
        return await asyncio.shield(self._drop(worker))

    async def _end(self, worker: _Worker) -> str:
        """How it ended, in words; afterwards it is gone."""
        try:
            status = int.from_bytes(await self._order(worker.pid.to_bytes(8, "big")), "big", signed=True)
        except (_ServerGone, NoAvailableSubreducersError, DependencyResolutionError):
            return "its fork server ended"
        with contextlib.suppress(OSError):
            await worker.writer.wait_closed()
        if status == -signal.SIGKILL:
            return "SIGKILL, out of memory?"
        return f"exit code {status}" if status >= 0 else f"signal {-status}: {signal.strsignal(-status)}"

    # --- the server ---------------------------------------------------------------------------------------------------

    async def _fork(self) -> _Worker:
        ours, theirs = socket.socketpair()
        try:
            try:
                pid = await self._order(FORK, theirs)
            except _ServerGone:
                pid = await self._order(FORK, theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except _ServerGone as gone:
            ours.close()
            raise NoAvailableSubreducersError("the fork server of the workers ended twice in a row") from gone
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return _Worker(int.from_bytes(pid, "big"), reader, writer)

    async def _order(self, order: bytes, lane: socket.socket | None = None) -> bytes:
        """One order, one answer; never cancelled half-way, since only tasks of the pool call it. Raises _ServerGone."""
        async with self._ordering:
            server = self._server or await self._launch()
            try:
                if lane is None:
                    server.control.send(order)
                else:
                    socket.send_fds(server.control, [order], [lane.fileno()])
                told = await self._hear(server.control, ORDER_S)
            except OSError:
                told = b""
            if not told:
                self._server = None
                _stop(server)
                raise _ServerGone
            return told

    async def _started(self) -> None:
        async with self._ordering:
            if self._server is None:
                await self._launch()

    async def _launch(self) -> _Server:
        if self._closing is not None:
            raise NoAvailableSubreducersError("the workers are closed")
        try:
            server = _spawn(self._entry)
        except OSError as error:
            raise NoAvailableSubreducersError(f"workers cannot start: {error}") from error
        try:
            told = await self._hear(server.control, START_S)
        except BaseException:
            _stop(server)
            raise
        if told != READY:
            _stop(server)
            if told:
                raise DependencyResolutionError(f"workers cannot start: {told.decode()}")
            raise NoAvailableSubreducersError(f"the fork server of the workers did not start within {START_S:g} s")
        self._server = server
        return server

    async def _hear(self, control: socket.socket, wait_s: float) -> bytes:
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.get_running_loop().sock_recv(control, ORDER_BYTES)
        except (TimeoutError, OSError):
            return b""

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _close(self, grace_s: float) -> None:
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(EngineClosed("the workers are closed; the task was not begun"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while len(self._idle) < len(self._workers) + self._starting:
                    self._released.clear()
                    await self._released.wait()
        for worker in self._workers:
            worker.writer.close()
        async with self._ordering:
            if self._server is not None:
                server, self._server = self._server, None
                server.control.shutdown(socket.SHUT_WR)
                # the answer is the end of file: the server has killed and reaped its workers before it goes
                await self._hear(server.control, ORDER_S)
                _stop(server)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for worker in self._workers:
            worker.writer.close()  # again: one may have been on its way when close began
        for worker in list(self._workers):
            with contextlib.suppress(OSError):
                await worker.writer.wait_closed()
        self._workers.clear()
        self._idle.clear()

    def _own(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _spawn(entry: str) -> _Server:
    """In a session of its own, so that Ctrl-C reaches the engine only; what workers print goes to stderr."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    engine = os.pidfd_open(os.getpid())
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno()), str(engine), entry],
            pass_fds=(theirs.fileno(), engine),
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        )
    finally:
        theirs.close()
        os.close(engine)
    ours.setblocking(False)
    return _Server(process, ours)


def _stop(server: _Server) -> None:
    """For a server that has ended or does not answer."""
    server.control.close()
    server.process.kill()
    server.process.wait()


class InlineWorkers:
    """The same without processes: each task runs at once, in this one. For tests and simulation."""

    def __init__(self, entry: str | EntryPoint) -> None:
        self._entry = resolve(entry) if isinstance(entry, str) else entry

    async def run(
        self, where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """As WorkerPool, but nothing can stop a task, so ``timeout_s`` is not kept."""
        return outcome(answer(self._entry, request(where, payload, blobs)))

    async def start(self) -> None:
        """Nothing to start."""

    async def ping(self) -> None:
        """Always there."""

    async def close(self, grace_s: float = 0.0) -> None:
        """Nothing to close."""
