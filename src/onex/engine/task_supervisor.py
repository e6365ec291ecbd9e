"""TaskSupervisor: owns the background tasks of one part of the engine, so that none ends unnoticed.

An engine that has lost its timers or its inbox still answers, and nobody would look. So each task either goes on or takes the
whole engine with it, and the reason is then the error of every later call.

- A task that is run once (``start``): any exception that leaves it is a fault of this engine, and ends it.
- A loop (``keep``): an exception is reported (``loop_failed``) and the loop begins again after 0.2 s, twice as long for each
  further failure in a row, at most 5 s. A turn that succeeds begins the count anew.
- ``OwnershipLost`` ends the engine at once: the store belongs to another, or is gone, and no later try finds it again.
- Any other ``OnexError`` is tried for ever: a store that cannot be read now may be readable later.
- Anything else is a bug or a broken adapter. After ``TRIES`` failures in a row it ends the engine.

A task that is cancelled has ended in order. One that does not stop when it is cancelled is reported (``task_left``) and left,
so that ``close`` always returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from ..kernel.errors import EngineClosed, OnexError, OwnershipLost
from ..kernel.user_code import describe
from ..ports import Clock
from .metrics import Events

TRIES: Final = 5
AGAIN_S: Final = 0.2
LONGEST_S: Final = 5.0
CLOSE_S: Final = 5.0


class TaskSupervisor:
    """``lose`` ends the engine with a reason; it is called from the task that failed, or from its done callback."""

    def __init__(self, clock: Clock, events: Events, lose: Callable[[OnexError], None]) -> None:
        self._clock, self._events, self._lose = clock, events, lose
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run ``work`` once, to its end. An exception that leaves it ends the engine."""
        try:
            task = asyncio.create_task(work, name=name)
        except RuntimeError:  # the loop is closed: nobody will await it
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def keep(self, turn: Callable[[], Awaitable[None]], name: str) -> None:
        """Call ``turn`` again and again; what it raises is reported, and after a pause it is called again."""
        self.start(self._keep(turn, name), name)

    async def close(self, within_s: float = CLOSE_S) -> int:
        """Cancel what runs and wait, ``within_s`` at most; how many tasks did not end. Idempotent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        left: set[asyncio.Task[None]] = set()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=within_s)
        for task in left:
            self._events("task_left", task=task.get_name(), after_s=within_s)
        return len(left)

    async def _keep(self, turn: Callable[[], Awaitable[None]], name: str) -> None:
        failures = 0
        while True:
            try:
                await turn()
                failures = 0
            except OwnershipLost as error:
                self._events("loop_failed", loop=name, failures=1, error=describe(error))
                self._lose(error)
                return
            except Exception as error:
                failures += 1
                reason = describe(error)
                self._events("loop_failed", loop=name, failures=failures, error=reason)
                if failures >= TRIES and not isinstance(error, OnexError):
                    self._lose(EngineClosed(f"{name} failed {failures} times in a row, the last time with {reason}"))
                    return
                await self._clock.sleep(min(AGAIN_S * 2 ** (failures - 1), LONGEST_S))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            reason = describe(error)
            self._events("loop_failed", loop=task.get_name(), failures=1, error=reason)
            self._lose(EngineClosed(f"{task.get_name()} ended with {reason}"))
