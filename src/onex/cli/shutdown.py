"""How a process that runs an engine ends: in order at the first signal, at once at the second, and in any case.

The law: a store is whole at every moment, so a process may end at any. What ran is run again by the next engine.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from types import FrameType
from typing import Final, TypeVar

from ..nodes.isolated_call import contain_tasks
from .exit_codes import INTERRUPTED

END_S: Final = 20.0
"""How long an end in order may take, once a signal asked for it."""
LEAVE_S: Final = 5.0
"""How long, after the engine has closed, the process waits for tasks and threads that effects left behind."""

T = TypeVar("T")


class RunEnding(StrEnum):
    IDLE = "idle"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    LOST = "lost"


_SIGNALS: Final = {signal.SIGINT: RunEnding.INTERRUPTED, signal.SIGTERM: RunEnding.TERMINATED}


class Shutdown:
    """``run(main)`` runs a coroutine in a loop of its own, as asyncio.run, and comes back or ends the process.

    Python's own handlers, not the loop's: they are called though an effect holds the loop, and an alarm ends what neither
    an order nor a cancellation ends.
    """

    def __init__(self) -> None:
        self._heard: int | None = None
        self._on_first: Callable[[RunEnding], None] = lambda _: None
        self._code, self._why = 0, ""

    def run(self, main: Coroutine[None, None, T]) -> T:
        atexit.register(
            signal.setitimer, signal.ITIMER_REAL, 0
        )  # threads are waited for before, handlers are gone after
        before = {number: signal.signal(number, self._hear) for number in (*_SIGNALS, signal.SIGALRM)}
        try:
            with asyncio.Runner() as runner:
                runner.get_loop().set_task_factory(contain_tasks)
                return runner.run(main)
        finally:
            if self._heard is None:  # else the alarm stays: threads may hold the process up to its very end
                signal.setitimer(signal.ITIMER_REAL, 0)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def listen(self, ended: asyncio.Future[RunEnding]) -> None:
        """The first signal sets ``ended``."""
        loop = asyncio.get_running_loop()

        def end(ending: RunEnding) -> None:
            if not ended.done():
                ended.set_result(ending)

        def first(ending: RunEnding) -> None:
            loop.call_soon_threadsafe(end, ending)  # wakes the loop too, which nothing else might

        self._on_first = first

    def closed(self, code: int, why: str = "") -> None:
        """All is said and done; if the process does not end by itself now, it ends with this code."""
        self._code, self._why = code, why or "onex: tasks or threads that effects started do not end; left behind"
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_REAL, LEAVE_S)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self._leave(self._code, self._why)
        if self._heard is not None:
            self._leave(
                128 + number, "onex: ended at once; what ran is run again by the next engine, under the same key"
            )
        self._heard = number
        self._code = 128 + number
        self._why = (
            f"onex: not ended in order within {END_S:g} s, so ended all the same; "
            "what ran is run again by the next engine, under the same key"
        )
        signal.setitimer(signal.ITIMER_REAL, END_S)
        self._on_first(_SIGNALS[signal.Signals(number)])

    @staticmethod
    def _leave(code: int, why: str) -> None:
        os.write(2, f"{why}\n".encode(errors="replace"))
        os._exit(code)


def exit_code_of(ending: RunEnding) -> int:
    return INTERRUPTED if ending is RunEnding.INTERRUPTED else 0
