"""Probe: a question to something that may hang, asked by many, answered in bounded time.

Theory of operation. One question at a time is under way, however many ask; its answer is good for ``fresh_s``. Nobody waits for it
longer than ``within_s``: who has waited so long gets None, and the question goes on. It is never cancelled by them, since a
cancelled query would cost its owner a connection; the next who asks waits for the same one. So what hangs costs one task, and
``close`` ends that.

What may go wrong: the question raises. Its error goes to each who waits for it, and the next one asks anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class ProbeAnswer(NamedTuple, Generic[T]):
    """``at_s`` on the clock of the event loop, and how long it took."""

    value: T
    at_s: float
    took_s: float


class Probe(Generic[T]):
    """All methods belong to one event loop."""

    def __init__(self, ask: Callable[[], Coroutine[None, None, T]], *, within_s: float, fresh_s: float = 0.0) -> None:
        self._ask, self.within_s, self.fresh_s = ask, within_s, fresh_s
        self.last: ProbeAnswer[T] | None = None
        self._asking: asyncio.Task[ProbeAnswer[T]] | None = None

    async def answer(self) -> ProbeAnswer[T] | None:
        """A fresh answer; None when none came in time. Raises what the question raises."""
        if self.last is not None and asyncio.get_running_loop().time() - self.last.at_s < self.fresh_s:
            return self.last
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._asked(), name="onex-probe")
        asking = self._asking
        await asyncio.wait((asking,), timeout=self.within_s)
        return asking.result() if asking.done() else None

    async def _asked(self) -> ProbeAnswer[T]:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        value = await self._ask()
        self.last = ProbeAnswer(value, loop.time(), loop.time() - begun_s)
        return self.last

    async def close(self) -> None:
        """Ends what is under way. Idempotent."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
