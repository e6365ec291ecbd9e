"""Threads for plain effects: one that never comes back may hold up its intent, never the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

T = TypeVar("T")


class EffectThreads:
    """Runs blocking calls, each in a thread of its own; a thread that is free takes the next one.

    Daemons, unlike asyncio's: a process that ends does not wait for them, and what they left half done is run again by
    the next owner under the same key. Their number is bounded by the ``concurrency`` of the intents that call.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = Lock()
        self._free = 0

    async def __call__(self, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises. A cancelled wait lets it run on, unheard."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def give(value: T) -> None:
            if not answer.done():
                answer.set_result(value)

        def fail(error: BaseException) -> None:
            if not answer.done():
                answer.set_exception(error)

        def run() -> None:
            try:
                told = partial(give, call())
            except BaseException as error:
                told = partial(fail, error)
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(told)

        with self._lock:
            start = self._free == 0
            self._free -= not start
        self._calls.put(run)
        if start:
            Thread(target=self._serve, name="onex-effect", daemon=True).start()
        return await answer

    def _serve(self) -> None:
        while True:
            self._calls.get()()
            with self._lock:
                self._free += 1
