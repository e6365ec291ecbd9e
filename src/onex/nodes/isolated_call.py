"""IsolatedCall: one call of user code in a task or thread of its own, so that nothing it does reaches who waits for it.

What it raises comes back as ``EffectFailed`` or ``EffectUnknown``. The task that waits is never cancelled, ended or held up by
the code it waits for: that code can raise ``SystemExit`` or ``CancelledError``, cancel its own task, or never end.

A call goes through these steps; each may go wrong.

1. The caller has acquired a slot of the target (``CallSlots``). The slot is released when the call ends, not when the wait
   for it ends: a target runs at most ``limit`` calls at once, those included that nobody waits for any more.
2. ``in_task`` starts a task and waits for a future of its own (``answer``). It does not wait for the task: the exception of
   a task that was cancelled, or that raised ``SystemExit``, would be raised into the waiter.
3. If the wait is cancelled (a time-out, or the engine closes), the task is cancelled, and has GRACE_S to stop. What it returns
   or raises within that time is its result, and the cancellation is not raised. If it just stops, it has no result, and the
   cancellation is raised.
4. A task that swallows the cancellation is *abandoned*: its coroutine is closed, which raises ``GeneratorExit`` in it, and is
   not resumed after that. Its slot is counted as lost until it ends.
5. ``in_thread`` cannot stop a thread. A cancelled wait leaves it running, and its result is dropped. Whether it had ended
   already is decided under a lock, so that its slot is released exactly once, by the loop or by the thread.
6. Code that forks comes back twice. The child has no engine and shares its files: it ends in ``_end_if_forked``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from threading import Lock
from typing import NamedTuple, Protocol, TypeGuard, TypeVar

from ..engine.attempt import GRACE_S, RAISED, NotBegun, effect_error, stopped_error
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.try_signals import CancelSignal
from ..kernel.user_code import caught

T = TypeVar("T")

IN_EFFECT: ContextVar[bool] = ContextVar("onex_in_effect", default=False)
"""True in the task of an effect, and so in every task that it starts."""


class RunSync(Protocol):
    """Runs a blocking call where it does not hold up the event loop."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


class CallResult(NamedTuple):
    """What a call gave: a value, or the reason that there is none."""

    value: object
    error: EffectFailed | EffectUnknown | None = None


class CallSlots:
    """At most ``limit`` calls of one target run at once; ``lost`` of them were abandoned and have not ended.

    The relay starts no more calls than that. So a call that has to wait here waits for one that was abandoned.
    """

    def __init__(self, target: str, limit: int) -> None:
        self.target, self.limit, self.lost = target, limit, 0
        self._free = asyncio.Semaphore(limit)

    async def acquire(self) -> None:
        """Raises NotBegun when a wait for a free slot is cancelled."""
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            raise NotBegun(
                f"all {self.limit} slots of {self.target!r} are taken, {self.lost} of them by calls that never came back; "
                "give the call a time-out of its own, or raise concurrency"
            ) from None

    def release(self, lost: bool = False) -> None:
        self.lost -= lost
        self._free.release()


class IsolatedCall:
    """One call. ``await IsolatedCall(slots).in_task(call)`` after a slot was acquired; it releases that slot."""

    __slots__ = ("_abandoned", "_ended", "_lock", "_pid", "_released", "_result", "_slots", "_stopping", "_told")

    def __init__(self, slots: CallSlots) -> None:
        self._slots = slots
        self._pid = os.getpid()
        self._result: CallResult | None = None
        self._ended = self._released = self._abandoned = self._stopping = self._told = False
        self._lock = Lock()

    # --- in a task ----------------------------------------------------------------------------------------------------

    async def in_task(self, call: Callable[[], object], told: CancelSignal | None = None) -> object:
        """What the call returns, awaited where that can be. Raises EffectFailed, EffectUnknown. When ``told`` is set, the call is
        cancelled, and if that stops it, EffectFailed with the code ``cancelled`` is raised.

        If it is cancelled, it waits GRACE_S for the call to stop, and returns or raises what that gives, if it gives anything.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        context = copy_context()
        context.run(IN_EFFECT.set, True)
        task = asyncio.create_task(self._guard(call, answer), name="onex-effect", context=context)
        task.add_done_callback(self._ended_task)
        if told is not None:
            told.call_when_set(partial(self._cancel, task, answer))
        try:
            await answer
        except asyncio.CancelledError:
            await self._stop(task)
            if self._result is None:
                raise
        return self._value()

    async def _guard(self, call: Callable[[], object], answer: asyncio.Future[None]) -> None:
        try:
            value = call()
            self._result = CallResult(await value if _is_awaitable(value) else value)
        except BaseException as error:
            stopped = self._abandoned or issubclass(type(error), asyncio.CancelledError | GeneratorExit)
            if stopped and self._told and not self._stopping:
                self._result = CallResult(None, stopped_error())
            elif not (self._stopping and stopped):
                self._result = CallResult(None, effect_error(error))
        finally:
            _end_if_forked(self._pid)
            self._release()
            if not answer.done():
                answer.set_result(None)

    def _cancel(self, task: asyncio.Task[None], answer: asyncio.Future[None]) -> None:
        """Its intent was cancelled."""

        def ended(_: asyncio.Task[None]) -> None:  # one that is cancelled before its first step never runs ``_guard``
            if not answer.done():
                self._result = self._result or CallResult(None, stopped_error())
                answer.set_result(None)

        if not task.done():
            self._told = True
            task.add_done_callback(ended)
            task.cancel()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._slots.release(lost=self._abandoned)

    def _ended_task(self, task: asyncio.Task[None]) -> None:
        self._release()  # a task that is cancelled before its first step never runs ``_guard``
        if not task.cancelled():
            task.exception()  # retrieved, else asyncio reports it: a closed coroutine that is woken raises one

    async def _stop(self, task: asyncio.Task[None]) -> None:
        self._stopping = True
        task.cancel()
        try:
            await asyncio.wait((task,), timeout=GRACE_S)
        finally:
            if not task.done():
                self._close(task)

    def _close(self, task: asyncio.Task[None]) -> None:
        """The task swallowed its cancellation. A closed coroutine goes on no more; one that swallows that too is not resumed."""
        self._abandoned = True
        self._slots.lost += 1
        coroutine = task.get_coro()
        try:
            if isinstance(coroutine, types.CoroutineType):
                coroutine.close()
        except BaseException as error:
            caught(error)
        task.cancel()  # wakes the task, which then finds that its coroutine has ended

    # --- in a thread ----------------------------------------------------------------------------------------------------

    async def in_thread(self, call: Callable[[], object], run_sync: RunSync) -> object:
        """The same for a blocking call. If it returns an awaitable, that is awaited in a task. If the wait is cancelled, the call
        runs on and its result is dropped."""
        loop = asyncio.get_running_loop()
        try:
            result, awaitable = await run_sync(lambda: self._call(call, loop))
        except asyncio.CancelledError:
            with self._lock:
                if self._ended:
                    self._slots.release()
                else:
                    self._abandoned = True
                    self._slots.lost += 1
            raise
        except BaseException:
            self._slots.release()  # it could not begin
            raise
        if awaitable:
            return await self.in_task(lambda: result.value)
        self._slots.release()
        self._result = result
        return self._value()

    def _call(self, call: Callable[[], object], loop: asyncio.AbstractEventLoop) -> tuple[CallResult, bool]:
        awaitable = False
        try:
            value = call()
            result, awaitable = CallResult(value), _is_awaitable(value)
        except BaseException as error:
            result = CallResult(None, effect_error(error))
        finally:
            _end_if_forked(self._pid)
            with self._lock:
                self._ended, abandoned = True, self._abandoned
            if abandoned:
                _release_late(loop, self._slots)
        return result, awaitable

    def _value(self) -> object:
        result = self._result or CallResult(None, EffectUnknown("it ended without a result", code=RAISED))
        if result.error is not None:
            raise result.error
        return result.value


def contain_tasks(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[object, object, T] | Generator[object, None, T],
    *,
    context: Context | None = None,
) -> asyncio.Task[T]:
    """A task factory for a loop that only this engine uses: a task that an effect starts cannot end the loop.

    Without it asyncio raises SystemExit and KeyboardInterrupt of any task out of the call that runs the loop.
    """
    if IN_EFFECT.get() and isinstance(coroutine, types.CoroutineType):
        coroutine = _contained(coroutine)
    return asyncio.Task(coroutine, loop=loop, context=context)  # type: ignore[arg-type]  # generators too, as the stub says


async def _contained(coroutine: Coroutine[object, object, T]) -> T:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise EffectUnknown(f"a task of an effect raised {caught(error)}", code=RAISED) from error


def _is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    """Judged by its class: an object may answer anything when it is asked itself."""
    return issubclass(type(value), Awaitable)


def _release_late(loop: asyncio.AbstractEventLoop, slots: CallSlots) -> None:
    """An abandoned call has ended after all."""
    try:
        loop.call_soon_threadsafe(slots.release, True)
    except RuntimeError:
        return  # the loop is closed: nobody needs the slot


def _end_if_forked(pid: int) -> None:
    """Ends the child of an effect that forked: it has no engine, and shares files that it must not touch."""
    if os.getpid() != pid:
        sys.stderr.write("onex: an effect forked, and its child came back into the engine; the child ends here\n")
        sys.stderr.flush()
        os._exit(1)
