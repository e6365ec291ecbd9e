"""WorkerPool: compute functions run in worker processes, which may die, hang or grow without harm to the engine.

Theory of operation. The engine starts one fork server (``fork_server``), a process that imports the app once. The server
forks a worker when the pool orders one. The pool has a control socket to the server, and one socket to each worker.

1. ``run`` takes an idle worker, or waits in a queue. ``_refill`` orders as many workers as are waited for, up to
   ``max_workers``.
2. The worker gets one task at a time and answers on its own socket. So a death or a time-out has exactly one task to blame,
   and other tasks do not notice.
3. A free worker goes to the task that has waited longest.

What may go wrong:

- The worker dies: its socket closes before the answer. The task goes to another worker, three workers in all (``DEATHS``);
  then it is EffectFailed (``killed_its_worker``), since it is likely the task that kills them.
- The task takes too long, or its caller is cancelled: no answer can be awaited on that socket any more, so the worker is ended.
- The server dies or does not answer: its workers see that and end themselves. The next order starts a new server, and a fork
  is tried twice.
- An order is cancelled half-way: then an answer would belong to the wrong order. So only tasks of the pool itself send
  orders, one at a time under ``_ordering``, and nobody cancels them.
- ``close`` while a worker is starting: it is closed once more at the end, after all tasks of the pool are done.
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
    FunctionAddress,
    body_size,
    frame,
    lengths_size,
    outcome,
    request,
    split_parts,
)

DEATHS: Final = 3
"""A task at which so many workers died is not given to another."""
START_S: Final = 60.0
ORDER_S: Final = 30.0
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from onex.adapters.fork_server import main; main()"


T = TypeVar("T")


class _ServerGone(Exception):
    """The fork server does not answer. Its workers end by themselves."""


class _Died(Exception):
    """The worker's socket was closed before it answered."""


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
            self.writer.write(b"".join(frame(parts)))  # not writelines: in 3.13 it fails when the other side is gone
            await self.writer.drain()
            lengths = await self.reader.readexactly(lengths_size(await self.reader.readexactly(4)))
            return split_parts(lengths, await self.reader.readexactly(body_size(lengths)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Died from error


class WorkerPool:
    """``entry`` is ``module:function``, called in a worker as ``entry(where, payload, blobs)``.

    Workers are forked when they are needed, ``max_workers`` at most (default: the number of processors). ``timeout_s`` bounds
    a task that has no bound of its own. The time during which it waits for a worker does not count.
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

    # --- for callers --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the server and wait until it has imported the entry. Without this call the first task does it.

        Raises DependencyResolutionError when the entry cannot be imported; NoAvailableSubreducersError.
        """
        await asyncio.shield(self._own(self._started()))

    async def run(
        self, where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """The result of one task and the blobs it made. A caller that is cancelled ends the worker that has the task.

        A task whose worker dies is given to another, DEATHS workers in all. Raises EffectFailed with the ``reason``
        ``raised``, ``killed_its_worker``, ``timed_out`` (which may be retried) or the code that function or entry gave;
        EngineClosed; and what ``start`` raises.
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
        """Raises NoAvailableSubreducersError when no worker can be started now."""
        await self.start()

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new tasks, wait up to ``grace_s`` seconds for running ones, then end every process. Idempotent."""
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
        """Give a free worker to the task that has waited longest."""
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
        """End the worker's process and say in words how it ended."""
        try:
            status = int.from_bytes(await self._send_order(worker.pid.to_bytes(8, "big")), "big", signed=True)
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
                pid = await self._send_order(FORK, theirs)
            except _ServerGone:
                pid = await self._send_order(FORK, theirs)
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

    async def _send_order(self, order: bytes, task_socket: socket.socket | None = None) -> bytes:
        """Send one order to the server and wait for its answer. Only tasks of the pool call it. Raises _ServerGone."""
        async with self._ordering:
            server = self._server or await self._launch()
            try:
                if task_socket is None:
                    server.control.send(order)
                else:
                    socket.send_fds(server.control, [order], [task_socket.fileno()])
                answered = await self._receive(server.control, ORDER_S)
            except OSError:
                answered = b""
            if not answered:
                self._server = None
                _stop(server)
                raise _ServerGone
            return answered

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
            answered = await self._receive(server.control, START_S)
        except BaseException:
            _stop(server)
            raise
        if answered != READY:
            _stop(server)
            if answered:
                raise DependencyResolutionError(f"workers cannot start: {answered.decode()}")
            raise NoAvailableSubreducersError(f"the fork server of the workers did not start within {START_S:g} s")
        self._server = server
        return server

    async def _receive(self, control: socket.socket, wait_s: float) -> bytes:
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
                # Wait for the end of file: before it, the server has ended and reaped all its workers.
                await self._receive(server.control, ORDER_S)
                _stop(server)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for worker in self._workers:
            worker.writer.close()  # again: one may have been starting when close began
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
    """Start the fork server in a session of its own, so that Ctrl-C reaches the engine only. Workers print to stderr."""
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
    """End a server that has ended or does not answer."""
    server.control.close()
    server.process.kill()
    server.process.wait()
