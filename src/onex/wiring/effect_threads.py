"""Threads for plain (not async) effects: one that never returns may delay its intent, but never the end of the process.

Theory of operation. asyncio's own thread pool joins its threads when the interpreter exits, so one effect that hangs would keep the
process. These threads are daemons: they are dropped at exit. What they had half done is safe: the outbox row is still there,
and the next owner runs the effect again under the same key.

- A call goes to a free thread, or to a new one. ``_free`` counts threads that wait, minus calls that are queued for them; it is
  changed under the lock on both sides, so no call is queued when no thread will take it. There is no upper limit
  here: the engine runs at most ``concurrency`` calls per target.
- The result travels as a pair (value, error), not with ``set_exception``: a future refuses StopIteration.
- The waiter is cancelled, for example by a timeout: the thread runs on, and its result is dropped.
- The loop is closed when the call returns: ``call_soon_threadsafe`` raises RuntimeError, and the thread just goes on.
- The system gives no thread: EffectFailed with NOT_BEGUN, retryable, since nothing of the effect has run.
- The effect raises KeyboardInterrupt or StopIteration: it becomes EffectUnknown. No signal reaches a thread, so it is no
  Ctrl-C; and a coroutine cannot raise StopIteration.
"""

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
    """Runs blocking calls in daemon threads, one call per thread at a time."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = Lock()
        self._free = 0

    async def __call__(self, call: Callable[[], T]) -> T:
        """Returns or raises what ``call`` does. When the wait is cancelled, ``call`` runs on and its result is dropped.

        Raises EffectFailed, retryable, when the system gives no thread.
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
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
            del run  # and with it the result
            with self._lock:
                self._free += 1
            run = self._calls.get()
