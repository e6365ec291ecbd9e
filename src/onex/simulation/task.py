"""Tasks and futures that are the same in every run of a seed: hashed by a count, and named by what they run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from .host import HOST, HostCrashed

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_CLOSE_TRIES = 100


class SimFuture(asyncio.Future[T]):
    """Hashed by a count. By address, a set of futures would have another order in every process."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.host = HOST.get(None)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[T_co]):
    """A task that knows its host. ``asyncio.wait`` and ``TaskGroup`` iterate over sets of tasks: see SimFuture."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, T_co] | Generator[Any, None, T_co],
        number: int,
        *,
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: Context,
    ) -> None:
        self.number = number
        self.context = context
        self.host = context.get(HOST)
        owner = "" if self.host is None else self.host.label
        label = f"{owner}/{number}:{getattr(coro, '__qualname__', type(coro).__name__)}"
        self.label = label.encode()
        super().__init__(coro, loop=loop, name=label if name is None else name, context=context)

    def __hash__(self) -> int:
        return self.number

    def waits_at(self) -> str:
        """The task's name, and the innermost line of its own coroutines at which it waits."""
        inner: object = self.get_coro()
        frame = None
        while inner is not None:
            frame = getattr(inner, "cr_frame", None) or frame
            inner = getattr(inner, "cr_await", None)
        if frame is None:
            return self.get_name()
        code = frame.f_code
        return f"{self.get_name()} in {code.co_qualname} ({code.co_filename}:{frame.f_lineno})"

    def end(self) -> None:
        """Ends the task of a dead host for whoever awaits it; its coroutine stays where it is."""
        if not self.done():
            # Task.set_exception refuses, because a task normally ends by its coroutine; this coroutine never runs again
            asyncio.Future.set_exception(self, HostCrashed(f"the host of {self.get_name()} is dead"))

    def close(self) -> bool:
        """Closes the coroutine of a task that never runs again. False when it will not be closed.

        Errors of dead code are ignored. A ``finally`` that awaits swallows one GeneratorExit, so each try ends one of them.
        """
        coro = self.get_coro()
        for _ in range(_CLOSE_TRIES):
            with suppress(BaseException):
                self.context.run(coro.close)
            if (
                getattr(coro, "cr_frame", None) is None
            ):  # also the case for the object that asyncio makes to close an async generator
                return True
        return False
