"""Threads for plain effects: one that never comes back may hold up its intent, never the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar, cast

from ..engine.attempt import NOT_BEGUN, RAISED
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.user_code import describe

T = TypeVar("T")


class EffectThreads:
    """Runs blocking calls, each in a thread of its own; a thread that is free takes the next one.

    Daemons, unlike asyncio's: a process that ends does not wait for them, and what they left half done is run again by
    the next owner under the same key. Their number is bounded by the ``concurrency`` of the targets that call.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = Lock()
        self._free = 0

    async def __call__(self, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises. A cancelled wait lets it run on, unheard.

        Raises EffectFailed, to be tried again, when the system gives no thread.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()

        def give(came: tuple[T | None, BaseException | None]) -> None:
            # as a value: not every exception can be set on a future
            if not answer.done():
                answer.set_result(came)

        def run() -> None:
            came: tuple[T | None, BaseException | None]
            try:
                came = call(), None
            except BaseException as error:
                came = None, error
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(give, came)

        with self._lock:
            start = self._free == 0
            self._free -= not start
        if start:
            self._start(run)
        else:
            self._calls.put(run)
        value, raised = await answer
        if raised is None:
            return cast(T, value)
        # no signal reaches a thread, so that this is none; and a coroutine cannot raise the other
        if issubclass(type(raised), KeyboardInterrupt | StopIteration):
            raise EffectUnknown(describe(raised), code=RAISED) from raised
        raise raised

    def _start(self, run: Callable[[], None]) -> None:
        try:
            Thread(target=self._serve, args=(run,), name="onex-effect", daemon=True).start()
        except RuntimeError as error:
            raise EffectFailed(
                f"not begun: {describe(error)}; the system's limit of threads or memory is reached",
                retryable=True,
                code=NOT_BEGUN,
            ) from error

    def _serve(self, run: Callable[[], None]) -> None:
        while True:
            run()
            del run  # with what it returned
            with self._lock:
                self._free += 1
            run = self._calls.get()
