"""Effects that do to an engine whatever Python lets them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

from onex import EffectFailed, EffectUnknown, ModelIntent, OnexError, effect

from .payloads import Did, Other, Work

HANGING = threading.Event()
FORKED: list[int] = []
"""The children there are of an effect that forks."""
"""What hangs waits for it."""
SHARED = ValueError("one for all")
SHARED_CAUSE = KeyError("one for all")
SHARED_REFUSAL = EffectFailed("one for all", retryable=True)


class Panic(BaseException):
    """As pyo3_runtime.PanicException: a BaseException that is no exit."""


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])


class Exits(Exception):
    def __str__(self) -> str:
        return str(sys.exit("no"))


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Unnamed(Exception, metaclass=Named):
    """A class that does not give its name."""


class Faceless(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")


class Uncopied(Exception):
    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("not to be copied")


class Hostile(EffectFailed):
    """Nothing of it is what it should be."""

    message = property(lambda self: 1 / 0, lambda self, value: None)
    reason = property(lambda self: sys.exit(1), lambda self, value: None)
    retry = property(lambda self: 1 / 0, lambda self, value: None)

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Mistaken(OnexError):
    code = 42  # type: ignore[assignment]


def mistyped() -> NoReturn:
    error = EffectFailed("x")
    error.message, error.reason, error.retry = 5, b"code", "yes"  # type: ignore[assignment]
    raise error


def raises(error: BaseException) -> Callable[[], NoReturn]:
    def now() -> NoReturn:
        raise error

    return now


def huge() -> NoReturn:
    raise ValueError("x" * 50_000_000)


def from_shared() -> NoReturn:
    try:
        raise SHARED_CAUSE
    except KeyError as error:
        raise RuntimeError("behind it stands one for all") from error


async def other() -> Did:
    return Did()


def numbers() -> Iterator[int]:
    yield 1


class Handed:
    """An awaitable that is nothing else."""

    exits = True

    def __await__(self) -> Iterator[None]:
        if self.exits:
            sys.exit(7)
        yield


RAISED: dict[str, Callable[[], object]] = {
    "exit": lambda: sys.exit("usage: ..."),
    "exit0": lambda: sys.exit(0),
    "exit3": lambda: sys.exit(3),
    "ctrl-c": raises(KeyboardInterrupt()),
    "panic": raises(Panic("called unwrap() on a None value")),
    "generator exit": raises(GeneratorExit()),
    "stop iteration": lambda: next(iter(())),
    "stop async iteration": raises(StopAsyncIteration()),
    "cancelled": raises(asyncio.CancelledError()),
    "own time-out": raises(TimeoutError("connect timed out after 0.1 s")),
    "mute": raises(Mute("x")),
    "exits when told": raises(Exits()),
    "huge": huge,
    "surrogate": raises(ValueError("\ud800\x00 bad")),
    "group": raises(BaseExceptionGroup("several", [ValueError(1), KeyboardInterrupt()])),
    "uncopied": raises(Uncopied("me")),
    "unnamed": raises(Unnamed("me")),
    "faceless": raises(Faceless("me")),
    "unknown": raises(EffectUnknown("perhaps", code="half_done")),
    "of ours": raises(OnexError("of ours")),
    "of ours with a code that is a number": raises(Mistaken("forty-two")),
    "shared": raises(SHARED),
    "from shared": from_shared,
    "shared refusal": raises(SHARED_REFUSAL),
    "refused": raises(EffectFailed("no money", code="too_poor")),
    "refused for now": raises(EffectFailed("busy", code="busy", retryable=True)),
    "refused in text no store takes": raises(EffectFailed("\ud800\x00", code="\ud800\x00")),
    "refused without end": raises(EffectFailed("x" * 50_000_000, code="y" * 1_000_000)),
    "hostile refusal": raises(Hostile("x")),
    "mistyped refusal": mistyped,
}

RETURNED: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "another class": Other,
    "a class": lambda: Did,
    "a generator": numbers,
    "an exception": lambda: EffectFailed("returned, not raised"),
    "text": lambda: "done",
    "too much": lambda: Did(result="x" * 300_000),
    "a surrogate": lambda: Did(result="\ud800"),
    "a number too large": lambda: Did(result=2**60),
    "a NUL": lambda: Did(result="\x00"),
    "what exits when written": lambda: Did(result="exit when written"),
    "what has no face": lambda: Faceless("me"),
}


def do(what: str) -> Any:
    if what in RAISED:
        RAISED[what]()
        raise AssertionError(what)
    return RETURNED[what]() if what in RETURNED else Did(result="fine")


@effect("worker")
def work(intent: ModelIntent[Work]) -> Did:
    what = intent.payload.what
    if what == "hang":
        HANGING.wait(60)
    if what == "fork":
        child = os.fork()
        if child == 0:
            return Did(result="from the child")
        FORKED.append(child)
    return do(what)  # type: ignore[no-any-return]


@effect("horn")
def blow(intent: ModelIntent[Work]) -> Did:
    return do(intent.payload.what)  # type: ignore[no-any-return]


@effect("aworker")
async def awork(intent: ModelIntent[Work]) -> Did:
    what = intent.payload.what
    await asyncio.sleep(0)
    if what in ODD:
        return await ODD[what]()  # type: ignore[no-any-return]
    return do(what)  # type: ignore[no-any-return]


@effect("handed_back")
def again(intent: ModelIntent[Work]) -> Did:
    """A plain function that hands back something to await."""
    what = intent.payload.what
    if what == "future":
        return Handed()  # type: ignore[return-value]
    return later(what)  # type: ignore[return-value]


async def later(what: str) -> Any:
    await asyncio.sleep(0)
    return do(what)


# --- what only an async one can do ------------------------------------------------------------------------------------


async def cancels_itself() -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancelled_later() -> Any:
    """A task that it left behind cancels it once it has ended."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    return Did()


async def waits_for_a_cancelled_task() -> Any:
    task = asyncio.create_task(asyncio.sleep(10))
    task.cancel()
    await task


async def own_time_out() -> Any:
    async with asyncio.timeout(0.01):
        await asyncio.sleep(10)


async def waits() -> Any:
    await asyncio.sleep(600)


async def waits_once() -> Any:
    """Until the directory that the test stands in holds a file ``again``."""
    while not os.path.exists("again"):  # noqa: ASYNC240  # as short as a look at memory
        await asyncio.sleep(0.02)
    return Did()


async def swallows_cancellation() -> Any:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def swallows_everything() -> Any:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)


async def raises_when_stopped() -> Any:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise ValueError("stopped in the middle") from None


async def refuses_when_stopped() -> Any:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise EffectFailed("rolled back", code="rolled_back") from None


async def answers_when_stopped() -> Any:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return Did(result="late")


async def closes_badly() -> Any:
    try:
        await asyncio.sleep(60)
    finally:
        raise SystemExit("in the end")


async def forgot_await() -> Any:
    return other()


async def blocks_the_loop() -> Any:
    time.sleep(600)  # noqa: ASYNC251  # what users write


async def leaves_a_thread() -> Any:
    await asyncio.to_thread(time.sleep, 600)


async def its_task_exits() -> Any:
    task = asyncio.create_task(exits())
    await asyncio.sleep(0.05)
    return Did(result="fine") if task.done() else None


async def awaits_a_task_that_exits() -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(exits())


async def exits() -> None:
    sys.exit(9)


ODD: dict[str, Callable[[], Awaitable[Any]]] = {
    "cancels itself": cancels_itself,
    "is cancelled when it has ended": cancelled_later,
    "waits for a cancelled task": waits_for_a_cancelled_task,
    "its own asyncio.timeout": own_time_out,
    "waits": waits,
    "waits once": waits_once,
    "swallows cancellation": swallows_cancellation,
    "swallows everything": swallows_everything,
    "raises when stopped": raises_when_stopped,
    "refuses when stopped": refuses_when_stopped,
    "answers when stopped": answers_when_stopped,
    "closes badly": closes_badly,
    "forgot await": forgot_await,
    "blocks the loop": blocks_the_loop,
    "leaves a thread": leaves_a_thread,
    "its task exits": its_task_exits,
    "awaits a task that exits": awaits_a_task_that_exits,
}
