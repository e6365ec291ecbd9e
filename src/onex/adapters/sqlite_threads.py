"""The threads of a SQLite store: lanes that run calls in order, and one that folds the WAL back into the file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final, Generic, TypeVar

from .sqlite_read import SqliteReads
from .sqlite_schema import connect

R = TypeVar("R")
C = TypeVar("C", bound=SqliteReads)

FOLD_S: Final = 0.05


class Lane(Generic[C]):
    """A thread that owns a core and runs one call after the other, in the order they were handed over."""

    def __init__(self, name: str, core: C) -> None:
        self.core = core
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, ask: Callable[[C], R]) -> R:
        """What was handed over runs, also when nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()

        def run() -> None:
            try:
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

    async def close(self) -> None:
        await self.call(lambda core: core.close())
        self._calls.put(None)
        self._thread.join()


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *values: object) -> None:
    try:
        loop.call_soon_threadsafe(tell, *values)
    except RuntimeError:  # the loop was closed: nobody waits
        return


def _give(answer: asyncio.Future[R], result: R) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[R], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


class Folder:
    """Copies committed pages from the WAL into the file while the writer goes on; sleeps while nothing is written.

    Without it the writer would do so itself, after some commit: the same work, as a pause in the middle of a batch.
    """

    def __init__(self, path: Path) -> None:
        self.written = Event()
        self._closing = Event()
        self._path = path
        self._thread = Thread(target=self._run, name="onex-sqlite-fold", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = connect(self._path, "rw")
        try:
            while not self._closing.is_set():
                self.written.wait()
                self._closing.wait(FOLD_S)
                self.written.clear()
                try:
                    connection.execute("pragma wal_checkpoint(passive)").fetchall()
                except sqlite3.Error:
                    continue  # the WAL keeps what it has; the writer meets the same disk and tells
        finally:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        self.written.set()
        self._thread.join()
