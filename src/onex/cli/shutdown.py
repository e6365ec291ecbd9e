"""How a process that runs an engine ends: in order at the first signal, at once at the second, and in any case.

Theory of operation. A store is consistent at every moment, so ``os._exit`` is safe at any time: the next engine runs again what
was running, under the same idempotency keys. Ending in order is only better: less is run twice. Therefore each step
below has a time limit, and the limit is enforced by an alarm, not by the event loop, which an effect may block.

1. ``run`` installs handlers for SIGINT, SIGTERM and SIGALRM with ``signal.signal``. Handlers of the loop would not do: they run
   only when the loop does. The loop gets a task factory that contains tasks started by effects.
2. The first signal: ``_hear`` arms the alarm with END_S and sets the future given to ``listen``. The command then closes
   the engine: it takes no more work, cancels effects and waits for the last commit.
3. A second signal of either kind: the process ends at once with 128 + the signal's number.
4. The alarm after END_S: an effect does not stop. The process ends with the same code, and a line says why.
5. ``closed`` is called when the engine has closed. The alarm is armed again with LEAVE_S, since tasks, threads and ``atexit``
   functions of effects may still block the interpreter. Normally the process ends before.
6. ``atexit`` disarms the alarm. It runs after Python has joined its threads and before it drops signal handlers: later, the
   alarm would kill the process with SIGALRM. If no signal came, ``run`` restores the handlers of before itself.

``_leave`` writes with ``os.write``: a print could wait for a lock that the interrupted code holds.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
from collections.abc import Callable, Coroutine
from enum import StrEnum
from types import FrameType
from typing import Final, TypeVar

from ..nodes.isolated_call import contain_tasks
from .exit_codes import INTERRUPTED
from .own_output import own_stdout

END_S: Final = 20.0
"""Seconds that ending in order may take after the first signal."""
LEAVE_S: Final = 5.0
"""Seconds that the process waits, after the engine has closed, for tasks and threads that effects left."""

T = TypeVar("T")


class RunEnding(StrEnum):
    IDLE = "idle"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    LOST = "lost"


_SIGNALS: Final = {signal.SIGINT: RunEnding.INTERRUPTED, signal.SIGTERM: RunEnding.TERMINATED}


class Shutdown:
    """``run(main)`` runs a coroutine as asyncio.run does; it returns, or ends the process."""

    def __init__(self) -> None:
        self._heard: int | None = None
        self._on_first: Callable[[RunEnding], None] = lambda _: None
        self._code, self._why = 0, ""

    def run(self, main: Coroutine[None, None, T]) -> T:
        # atexit runs after threads were joined and before handlers are dropped
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
        before = {number: signal.signal(number, self._hear) for number in (*_SIGNALS, signal.SIGALRM)}
        try:
            with asyncio.Runner() as runner:
                runner.get_loop().set_task_factory(contain_tasks)
                return runner.run(main)
        finally:
            if self._heard is None:  # else the alarm stays armed: threads may block the end of the process
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
            loop.call_soon_threadsafe(end, ending)  # also wakes a loop that waits for nothing else

        self._on_first = first
        if self._heard is not None:  # before anybody listened
            first(_SIGNALS[signal.Signals(self._heard)])

    def closed(self, code: int, why: str = "") -> None:
        """The engine is closed and the output written. If the process does not end within LEAVE_S, it ends with ``code``."""
        self._code, self._why = (
            code,
            why or "onex: tasks or threads that effects started do not end; the process ends without them",
        )
        own_stdout().flush()
        signal.setitimer(signal.ITIMER_REAL, LEAVE_S)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self._leave(self._code, self._why)
        if self._heard is not None:
            self._leave(
                128 + number, "onex: ended at once; the next engine runs again what was running, under the same key"
            )
        self._heard = number
        self._code = 128 + number
        self._why = (
            f"onex: could not stop in order within {END_S:g} s, and ended; "
            "the next engine runs again what was running, under the same key"
        )
        signal.setitimer(signal.ITIMER_REAL, END_S)
        self._on_first(_SIGNALS[signal.Signals(number)])

    @staticmethod
    def _leave(code: int, why: str) -> None:
        os.write(2, f"{why}\n".encode(errors="replace"))
        os._exit(code)


def exit_code_of(ending: RunEnding) -> int:
    return INTERRUPTED if ending is RunEnding.INTERRUPTED else 0
