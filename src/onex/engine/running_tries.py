"""RunningTries: which intents are being tried, and by which task, so that those of one shard can be waited for or cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from contextlib import suppress

from ..ports import Pointer
from .log_tail import ChangeSignal


class RunningTries:
    """A task runs one try at a time, and may go on with another intent after it."""

    def __init__(self) -> None:
        self._tasks: dict[Pointer, asyncio.Task[None]] = {}
        self._changed = ChangeSignal()

    def begins(self, pointer: Pointer) -> None:
        """By the task that calls it."""
        task = asyncio.current_task()
        assert task is not None, "a try runs in a task"
        self._tasks[pointer] = task

    def ends(self, pointer: Pointer) -> None:
        self._tasks.pop(pointer, None)
        self._changed.notify()

    def any_of(self, shards: Set[int]) -> bool:
        return any(pointer.shard in shards for pointer in self._tasks)

    async def ended(self, shards: Set[int], within_s: float) -> None:
        """Returns when no try of these shards runs, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.any_of(shards):
                    await self._changed.wait(self._changed.count)

    async def cut_off(self, shards: Set[int], within_s: float) -> None:
        """Cancel the tries of these shards, and wait for their ends. One that does not stop in that time is left behind."""
        for pointer, task in self._tasks.items():
            if pointer.shard in shards:
                task.cancel()
        await self.ended(shards, within_s)
