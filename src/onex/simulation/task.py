"""Tasks and futures that are the same in every run of a seed: hashed by a count, named by what they run."""

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
    """Hashed by address, a set of futures would be walked in another order in every process."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.host = HOST.get(None)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[T_co]):
    """A task that knows its host. ``asyncio.wait`` and ``TaskGroup`` walk through sets of tasks: see SimFuture."""

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
        """The task's name, and the innermost line of its own coroutines that it stands on."""
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
        """For whoever awaits the task of a dead host, it ends here; its coroutine stays where it is."""
        if not self.done():
            # Task.set_exception refuses, because a task ends by its coroutine; this coroutine will not run again
            asyncio.Future.set_exception(self, HostCrashed(f"the host of {self.get_name()} is dead"))

    def close(self) -> bool:
        """Closes the coroutine of a task that never runs again. False when it will not be closed.

        What dead code says is not heard. A ``finally`` that awaits swallows one GeneratorExit: each try peels off one.
        """
        coro = self.get_coro()
        for _ in range(_CLOSE_TRIES):
            with suppress(BaseException):
                self.context.run(coro.close)
            if getattr(coro, "cr_frame", None) is None:  # also what asyncio makes to close an async generator
                return True
        return False
