"""The threads of a SQLite store: one per connection that runs its calls in order, and one that checkpoints the WAL.

Theory of operation. A ``StoreThread`` owns one connection and a queue of calls without a bound of its own: the engine bounds
what it asks. ``call`` puts a function into the queue and waits for a future of its event loop; the thread runs the function
and gives the result back with ``call_soon_threadsafe``. What may go wrong:

- The caller is cancelled: the call is executed all the same, since a commit that has begun cannot be taken back. Its
  result is dropped, because the future is done by then.
- The loop was closed before the result came: ``call_soon_threadsafe`` raises RuntimeError, and nobody waits.
- The call hangs, because the disk does: the thread is a daemon, so the process can end.
- The files were replaced: they are looked at before each call, and StoreReplaced is raised instead.

The checkpointer works 50 ms after a commit, on a connection of its own, with ``wal_checkpoint(passive)``, which waits for
nobody. If it cannot open the file or finds another file there, it ends. Then the writer copies the WAL itself at 32 MiB
(``core.WAL_PAGES``), and it is the writer that raises the error.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final, Generic, TypeVar

from ...kernel.errors import OnexError
from .location import StoreFiles
from .read import SqliteReads
from .schema import connect

R = TypeVar("R")
C = TypeVar("C", bound=SqliteReads)

CHECKPOINT_S: Final = 0.05
CLOSE_S: Final = 10.0


async def in_thread(make: Callable[[], R], undo: Callable[[R], None]) -> R:
    """The result of ``make``, called in a thread of its own. If the caller is cancelled or its loop closed, ``undo`` is called."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[R] = loop.create_future()

    def give(result: R) -> None:
        undo(result) if answer.done() else answer.set_result(result)

    def run() -> None:
        try:
            result = make()
        except BaseException as error:
            _in_loop(loop, _fail, answer, error)
            return
        if not _in_loop(loop, give, result):
            undo(result)

    Thread(target=run, name="onex-sqlite-open", daemon=True).start()
    try:
        return await answer
    except asyncio.CancelledError:
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            undo(answer.result())
        raise


class StoreThread(Generic[C]):
    """A thread that owns one connection and runs one call after the other, in the order in which they were handed over."""

    def __init__(self, name: str, core: C) -> None:
        self.core = core
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, ask: Callable[[C], R]) -> R:
        """The result of ``ask``, which is executed also when the caller is cancelled. Raises StoreReplaced before it is."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()

        def run() -> None:
            try:
                self.core.check_files()
                result = ask(self.core)
            except BaseException as error:
                _in_loop(loop, _fail, answer, error)
            else:
                _in_loop(loop, _give, answer, result)

        self._calls.put(run)
        return await answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def end(self, last: Callable[[C], None], over: Callable[[], None] = lambda: None) -> None:
        """After all calls that were handed over, run ``last``, then ``over``, both on the thread; then it ends."""

        def run() -> None:
            try:
                last(self.core)
            finally:
                over()

        self._calls.put(run)
        self._calls.put(None)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)


def set_done(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> None:
    _in_loop(loop, _give, over, None)


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *values: object) -> bool:
    try:
        loop.call_soon_threadsafe(call, *values)
    except RuntimeError:  # the loop was closed: nobody waits
        return False
    return True


def _give(answer: asyncio.Future[R], result: R) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[R], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


class Checkpointer:
    """Copies committed pages from the WAL into the file while the writer goes on. Sleeps while nothing is written.

    Without it the writer would copy them itself after some commit: the same work, as a pause of that commit.
    """

    def __init__(self, files: StoreFiles) -> None:
        self.written = Event()
        self._closing = Event()
        self._files = files
        self._thread = Thread(target=self._run, name="onex-sqlite-checkpoint", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            connection = connect(self._files.path, "rw")
        except OnexError:
            return  # the writer meets the same file and raises the error; until then it copies the WAL itself
        try:
            self._files.check()
            while not self._closing.is_set():
                self.written.wait()
                self._closing.wait(CHECKPOINT_S)
                self.written.clear()
                try:
                    connection.execute("pragma wal_checkpoint(passive)").fetchall()
                except sqlite3.Error:
                    continue  # nothing is lost: the WAL keeps its pages, and the writer meets the same disk and raises
        except OnexError:
            return  # another file stands there than the writer has open: leave it alone
        finally:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        self.written.set()
        self._thread.join(CLOSE_S)
