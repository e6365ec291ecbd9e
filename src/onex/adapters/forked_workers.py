"""ForkedWorkers: worker processes of this machine, forked by a server that has the app imported (``fork_server``).

Theory of operation. The fork server is started with the first worker, and has a control socket to this process. ``new`` orders a
fork; the worker gets a socket of its own, on which it reads tasks and answers.

What may go wrong:

- The worker dies: its socket closes before the answer.
- The server dies or does not answer: its workers see that and end themselves. The next order starts a new server, and a fork
  is tried twice.
- An order is cancelled half-way: then an answer would belong to the wrong order. So only tasks of the pool itself send
  orders, one at a time under ``_ordering``, and nobody cancels them.
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
from typing import Final

from ..kernel.errors import DependencyResolutionError, NoAvailableSubreducersError
from .fork_server import FORK, ORDER_BYTES, READY, body_size, frame, lengths_size, split_parts
from .worker_pool import WorkerDied

START_S: Final = 60.0
ORDER_S: Final = 30.0
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from onex.adapters.fork_server import main; main()"


class _ServerGone(Exception):
    """The fork server does not answer. Its workers end by themselves."""


class _Server:
    __slots__ = ("control", "process")

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control


class ForkedWorker:
    """One process, and the socket to it."""

    __slots__ = ("_reader", "_source", "_writer", "pid")

    def __init__(
        self, source: ForkedWorkers, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._source, self.pid, self._reader, self._writer = source, pid, reader, writer

    @property
    def is_gone(self) -> bool:
        return self._reader.at_eof()

    async def ask(self, parts: list[bytes]) -> list[bytes]:
        """Raises WorkerDied."""
        try:
            self._writer.write(b"".join(frame(parts)))  # not writelines: in 3.13 it fails when the other side is gone
            await self._writer.drain()
            lengths = await self._reader.readexactly(lengths_size(await self._reader.readexactly(4)))
            return split_parts(lengths, await self._reader.readexactly(body_size(lengths)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerDied from error

    def let_go(self) -> None:
        self._writer.close()

    async def end(self) -> str:
        """Kills it with its own children."""
        try:
            status = await self._source.ended(self.pid)
        except (_ServerGone, NoAvailableSubreducersError, DependencyResolutionError):
            return "its fork server ended"
        await self.until_gone()
        if status == -signal.SIGKILL:
            return "SIGKILL, out of memory?"
        return f"exit code {status}" if status >= 0 else f"signal {-status}: {signal.strsignal(-status)}"

    async def until_gone(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class ForkedWorkers:
    """The source of a WorkerPool. ``entry`` is ``module:function``, called in a worker as ``entry(where, payload, blobs)``."""

    def __init__(self, entry: str) -> None:
        self._entry = entry
        self._server: _Server | None = None
        self._ordering = asyncio.Lock()
        self._is_closed = False

    async def start(self) -> None:
        async with self._ordering:
            if self._server is None:
                await self._launch()

    async def new(self) -> ForkedWorker:
        """Raises NoAvailableSubreducersError; DependencyResolutionError when the entry cannot be imported."""
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
        return ForkedWorker(self, int.from_bytes(pid, "big"), reader, writer)

    async def ended(self, pid: int) -> int:
        """Ends a worker: its exit code, or minus the signal that ended it. Raises _ServerGone and what ``new`` raises."""
        return int.from_bytes(await self._send_order(pid.to_bytes(8, "big")), "big", signed=True)

    async def close(self) -> None:
        """Ends the server and all its workers. Idempotent."""
        self._is_closed = True
        async with self._ordering:
            if self._server is not None:
                server, self._server = self._server, None
                server.control.shutdown(socket.SHUT_WR)
                # Wait for the end of file: before it, the server has ended and reaped all its workers.
                await self._receive(server.control, ORDER_S)
                _stop(server)

    # --- the server ---------------------------------------------------------------------------------------------------

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

    async def _launch(self) -> _Server:
        if self._is_closed:
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
