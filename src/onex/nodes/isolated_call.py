"""Calls of user code beside ours: each in a task or a thread of its own, so that nothing it does reaches who waits for it.

The law: whatever the function raises comes back as EffectFailed or EffectUnknown, and a task is never cancelled, ended or
kept waiting by what runs inside it. What is told to stop and does not is left behind, and keeps its place until it ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from threading import Lock
from typing import NamedTuple, Protocol, TypeGuard, TypeVar

from ..engine.attempt import GRACE_S, RAISED, NotBegun, effect_error
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.user_code import caught

T = TypeVar("T")

IN_EFFECT: ContextVar[bool] = ContextVar("onex_in_effect", default=False)
"""Set in the task of an effect, and so in every task that it starts."""


class RunSync(Protocol):
    """Runs a blocking call where it does not hold up the event loop."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


class CallResult(NamedTuple):
    """What a call came to: a value, or why there is none."""

    value: object
    error: EffectFailed | EffectUnknown | None = None


class CallSlots:
    """How many calls of one target may run at once, those included that were given up and did not come back.

    The relay starts no more than that; so one that has to wait here waits for such as will not end.
    """

    def __init__(self, target: str, limit: int) -> None:
        self.target, self.limit, self.lost = target, limit, 0
        self._free = asyncio.Semaphore(limit)

    async def take(self) -> None:
        """Raises NotBegun when the wait is cancelled."""
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            raise NotBegun(
                f"all {self.limit} places of {self.target!r} are taken, {self.lost} of them by calls that never came back; "
                "give the call a time-out of its own, or raise concurrency"
            ) from None

    def give(self, lost: bool = False) -> None:
        self.lost -= lost
        self._free.release()


class IsolatedCall:
    """One call, beside. ``await Beside(places).in_task(call)`` once the place is taken; it gives the place back."""

    __slots__ = ("_came", "_ended", "_given", "_left", "_lock", "_pid", "_places", "_stopping")

    def __init__(self, places: CallSlots) -> None:
        self._places = places
        self._pid = os.getpid()
        self._came: CallResult | None = None
        self._ended = self._given = self._left = self._stopping = False
        self._lock = Lock()

    # --- in a task ----------------------------------------------------------------------------------------------------

    async def in_task(self, call: Callable[[], object]) -> object:
        """What the call returns, awaited where that can be. Raises EffectFailed, EffectUnknown.

        Cancelled, it waits GRACE_S for the call to stop; what comes of it then is what comes of it.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        context = copy_context()
        context.run(IN_EFFECT.set, True)
        task = asyncio.create_task(self._guard(call, answer), name="onex-effect", context=context)
        task.add_done_callback(self._over)
        try:
            await answer
        except asyncio.CancelledError:
            await self._stop(task)
            if self._came is None:
                raise
        return self._taken()

    async def _guard(self, call: Callable[[], object], answer: asyncio.Future[None]) -> None:
        try:
            value = call()
            self._came = CallResult(await value if _is_awaitable(value) else value)
        except BaseException as error:
            stopped = self._left or issubclass(type(error), asyncio.CancelledError | GeneratorExit)
            if not (self._stopping and stopped):
                self._came = CallResult(None, effect_error(error))
        finally:
            _end_if_forked(self._pid)
            self._give()
            if not answer.done():
                answer.set_result(None)

    def _give(self) -> None:
        if not self._given:
            self._given = True
            self._places.give(lost=self._left)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._give()  # one that was cancelled before its first step gave nothing back
        if not task.cancelled():
            task.exception()  # that of a closed coroutine that was woken: else asyncio tells of it

    async def _stop(self, task: asyncio.Task[None]) -> None:
        self._stopping = True
        task.cancel()
        try:
            await asyncio.wait((task,), timeout=GRACE_S)
        finally:
            if not task.done():
                self._close(task)

    def _close(self, task: asyncio.Task[None]) -> None:
        """It swallows cancellation. A coroutine that is closed goes on no more; one that swallows that too is not resumed."""
        self._left = True
        self._places.lost += 1
        coroutine = task.get_coro()
        try:
            if isinstance(coroutine, types.CoroutineType):
                coroutine.close()
        except BaseException as error:
            caught(error)
        task.cancel()  # wakes it, to find that it has ended

    # --- in a thread ----------------------------------------------------------------------------------------------------

    async def in_thread(self, call: Callable[[], object], run_sync: RunSync) -> object:
        """The same for a blocking call; what it returns is awaited in a task. Cancelled, it lets the call run on, unheard."""
        loop = asyncio.get_running_loop()
        try:
            came, awaitable = await run_sync(lambda: self._call(call, loop))
        except asyncio.CancelledError:
            with self._lock:
                if self._ended:
                    self._places.give()
                else:
                    self._left = True
                    self._places.lost += 1
            raise
        except BaseException:
            self._places.give()  # it could not begin
            raise
        if awaitable:
            return await self.in_task(lambda: came.value)
        self._places.give()
        self._came = came
        return self._taken()

    def _call(self, call: Callable[[], object], loop: asyncio.AbstractEventLoop) -> tuple[CallResult, bool]:
        awaitable = False
        try:
            value = call()
            came, awaitable = CallResult(value), _is_awaitable(value)
        except BaseException as error:
            came = CallResult(None, effect_error(error))
        finally:
            _end_if_forked(self._pid)
            with self._lock:
                self._ended, left = True, self._left
            if left:
                _unheard(loop, self._places)
        return came, awaitable

    def _taken(self) -> object:
        came = self._came or CallResult(None, EffectUnknown("it ended, and cannot be told", code=RAISED))
        if came.error is not None:
            raise came.error
        return came.value


def contain_tasks(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[object, object, T] | Generator[object, None, T],
    *,
    context: Context | None = None,
) -> asyncio.Task[T]:
    """A task factory for a loop that is ours alone: a task that an effect starts does not end the loop.

    asyncio passes SystemExit and KeyboardInterrupt of any task on to whoever runs the loop.
    """
    if IN_EFFECT.get() and isinstance(coroutine, types.CoroutineType):
        coroutine = _told(coroutine)
    return asyncio.Task(coroutine, loop=loop, context=context)  # type: ignore[arg-type]  # generators too, as the stub says


async def _told(coroutine: Coroutine[object, object, T]) -> T:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise EffectUnknown(f"a task of an effect raised {caught(error)}", code=RAISED) from error


def _is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    """By its class: to be asked itself, it might answer anything."""
    return issubclass(type(value), Awaitable)


def _unheard(loop: asyncio.AbstractEventLoop, places: CallSlots) -> None:
    """One that was given up has come back after all."""
    try:
        loop.call_soon_threadsafe(places.give, True)
    except RuntimeError:
        return  # the loop is closed: nobody needs the place


def _end_if_forked(pid: int) -> None:
    """An effect that forks comes back twice. The child has no engine: it shares our files and must not touch them."""
    if os.getpid() != pid:
        sys.stderr.write("onex: an effect forked, and its child came back into the engine; the child ends here\n")
        sys.stderr.flush()
        os._exit(1)
