"""The threads of a SQLite store: lanes that run calls in order, and one that folds the WAL back into the file."""

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
    """What ``make`` gives on a thread of its own. Who stops waiting for it, or has no loop any more, has it undone."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[R] = loop.create_future()

    def give(result: R) -> None:
        undo(result) if answer.done() else answer.set_result(result)

    def run() -> None:
        try:
            result = make()
        except BaseException as error:
            _tell(loop, _fail, answer, error)
            return
        if not _tell(loop, give, result):
            undo(result)

    Thread(target=run, name="onex-sqlite-open", daemon=True).start()
    try:
        return await answer
    except asyncio.CancelledError:
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            undo(answer.result())
        raise


class StoreThread(Generic[C]):
    """A thread that owns a core and runs one call after the other, in the order they were handed over."""

    def __init__(self, name: str, core: C) -> None:
        self.core = core
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, ask: Callable[[C], R]) -> R:
        """What was handed over runs, also when nobody waits for it any more. Raises StoreReplaced before it does."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()

        def run() -> None:
            try:
                self.core.check_files()
                result = ask(self.core)
            except BaseException as error:
                _tell(loop, _fail, answer, error)
            else:
                _tell(loop, _give, answer, result)

        self._calls.put(run)
        return await answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def end(self, last: Callable[[C], None], over: Callable[[], None] = lambda: None) -> None:
        """``last`` runs behind everything that was handed over, then ``over``, both on the thread, which then ends."""

        def run() -> None:
            try:
                last(self.core)
            finally:
                over()

        self._calls.put(run)
        self._calls.put(None)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)


def tell_over(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> None:
    _tell(loop, _give, over, None)


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *values: object) -> bool:
    try:
        loop.call_soon_threadsafe(tell, *values)
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
    """Copies committed pages from the WAL into the file while the writer goes on; sleeps while nothing is written.

    Without it the writer would do so itself, after some commit: the same work, as a pause in the middle of a batch.
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
            return  # beyond a size the writer folds the WAL itself; it meets the same file, and tells
        try:
            self._files.check()
            while not self._closing.is_set():
                self.written.wait()
                self._closing.wait(CHECKPOINT_S)
                self.written.clear()
                try:
                    connection.execute("pragma wal_checkpoint(passive)").fetchall()
                except sqlite3.Error:
                    continue  # the WAL keeps what it has; the writer meets the same disk and tells
        except OnexError:
            return  # another file stands there than the writer has: nothing of it is ours to fold
        finally:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        self.written.set()
        self._thread.join(CLOSE_S)
