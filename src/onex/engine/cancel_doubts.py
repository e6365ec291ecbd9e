"""Intents that were cancelled by a commit whose answer was lost: nobody knows yet whether they may run.

None of them begins a try. When a later commit was answered, the lost one stands in the store or never will. Then the store is
asked: what stands there as cancelled is told, what waits there is taken up again, and what has no row any more is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ports import Pointer
from .delivery_queue import DeliveryQueue
from .takeover import Takeover


class CancelDoubts:
    """Those of one relay. The queue holds which they are."""

    def __init__(self, queue: DeliveryQueue, takeover: Takeover) -> None:
        self._queue, self._takeover = queue, takeover
        self._is_over = True

    def add(self, running: Sequence[Pointer]) -> None:
        """The lost commit cancels what is withheld, and these, which run."""
        self._queue.doubt(running)
        self._queue.answer_lost = True  # it may have emitted what memory does not hold
        self._is_over = False

    def later_commit_answered(self) -> None:
        self._is_over = True
        self._queue.answer_lost = False

    async def resolve(self, tell: Callable[[Sequence[Pointer]], None]) -> None:
        """``tell`` gets those that were cancelled. Raises what the store raises; it is asked again then."""
        doubted = self._queue.doubted
        if doubted and self._is_over:
            cancelled = [one.pointer async for one in self._takeover.cancelled() if one.pointer in doubted]
            if self._is_over:  # else another answer was lost meanwhile
                tell(cancelled)
                self._queue.resolve(doubted)
