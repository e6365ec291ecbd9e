"""Supervision: no task of the engine ends in silence. A loop that fails begins again; one that cannot ends the engine.

Half an engine is worse than none: one whose timers died still answers, and nobody looks. So a loop that fails is told
(``loop_failed``), waits and begins again. A store that cannot be read now may be again, so that is tried for ever; anything else
that happens ``TRIES`` times in a row takes the engine with it, and the reason is what every later call gets.
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
    """Owns the tasks of one part of the engine. ``lose`` ends the engine with a reason."""

    def __init__(self, clock: Clock, events: Events, lose: Callable[[OnexError], None]) -> None:
        self._clock, self._events, self._lose = clock, events, lose
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run ``work`` once, to its end. An exception that leaves it ends the engine."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def keep(self, turn: Callable[[], Awaitable[None]], name: str) -> None:
        """Call ``turn`` again and again; what it raises is told, and after a pause it is called again."""
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
            except OwnershipLost as error:  # the store is another's, or not there any more: no later try finds it again
                self._events("loop_failed", loop=name, failures=1, error=describe(error))
                self._lose(error)
                return
            except Exception as error:
                failures += 1
                told = describe(error)
                self._events("loop_failed", loop=name, failures=failures, error=told)
                if failures >= TRIES and not isinstance(error, OnexError):
                    self._lose(EngineClosed(f"{name} failed {failures} times in a row, the last time with {told}"))
                    return
                await self._clock.sleep(min(AGAIN_S * 2 ** (failures - 1), LONGEST_S))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            told = describe(error)
            self._events("loop_failed", loop=task.get_name(), failures=1, error=told)
            self._lose(EngineClosed(f"{task.get_name()} ended with {told}"))
