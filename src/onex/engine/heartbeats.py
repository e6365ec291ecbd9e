"""TryHeartbeats: what one running try tells of itself, and the end of its time when it tells nothing for too long.

Theory of operation. The function calls ``intent.heartbeat(text)``, in the loop of the engine or in a thread of its own:

1. The call keeps the text and, unless one is on its way already, asks the loop to look (``call_soon_threadsafe``). So a function
   that calls it a million times a second costs the loop one look per turn.
2. The look moves the end of the try's time: with ``heartbeat_s`` it is so long after this sign, but never behind ``timeout_s``.
   A try whose time ends earlier than ``timeout_s`` is *stalled*.
3. A new text goes into the outbox row, at most once in NOTED_S, with the next commit. So another process sees it, and it stays
   where a crash ends the try: ``onex show`` then shows how far it came. The row is changed as a retry changes it.

What may go wrong: a sign that comes when the try has ended, from a thread that runs on, or when the loop is closed. ``over`` and
the ``except`` below drop it. An intent that was cancelled meanwhile keeps what its row says: nothing is noted then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.secret import secret_texts
from ..kernel.user_trace import without
from ..ports import Clock
from .delivery import PROGRESS, Delivery

NOTED_S = 1.0


def progress_text(delivery: Delivery) -> str:
    """Its last progress as the row says it, without secrets; '' for none."""
    return PROGRESS + without(secret_texts(delivery.emitted.payload), delivery.progress) if delivery.progress else ""


class RunningTry(NamedTuple):
    """A try that runs here. ``progress`` is '' until it tells one, and ``beat_us`` when it last gave a sign; 0: never."""

    key: WorkflowKey
    intent: str
    n: int
    attempt: int
    began_us: int
    progress: str = ""
    beat_us: int = 0


class TryHeartbeats:
    """Of one try. It is called with the text of a progress. ``note`` writes one into the row."""

    _limit: asyncio.Timeout | None = None
    _ends_s = _heartbeat_s = _noted_s = 0.0
    _said = _noted = progress = ""
    _asked = over = stalls = False
    beat_us = 0

    def __init__(self, delivery: Delivery, clock: Clock, note: Callable[[Delivery, str], None]) -> None:
        self._delivery, self._clock, self._note = delivery, clock, note
        self._loop = asyncio.get_running_loop()

    def limit(self, timeout_s: float, heartbeat_s: float) -> asyncio.Timeout:
        """The time limit of this try, to be entered at once."""
        self._heartbeat_s, self._ends_s = heartbeat_s, self._loop.time() + timeout_s
        self.stalls = 0 < heartbeat_s < timeout_s
        self._limit = asyncio.timeout(heartbeat_s if self.stalls else timeout_s)
        return self._limit

    def __call__(self, progress: str) -> None:
        """From any thread."""
        if progress:
            self._said = progress
        if not self._asked and not self.over:
            self._asked = True
            try:
                self._loop.call_soon_threadsafe(self._look)
            except RuntimeError:
                return  # the loop is closed: nobody looks any more

    def _look(self) -> None:
        self._asked = False
        if self.over:
            return
        self.beat_us = self._clock.now_us()
        self._delivery.progress = self.progress = self._said
        limit = self._limit
        if limit is not None and self._heartbeat_s and not limit.expired():
            ends_s = self._loop.time() + self._heartbeat_s
            self.stalls = ends_s < self._ends_s
            limit.reschedule(min(ends_s, self._ends_s))
        now_s = self._clock.monotonic()
        if self.progress != self._noted and (not self._noted or now_s - self._noted_s >= NOTED_S):
            self._noted, self._noted_s = self.progress, now_s
            if not self._delivery.is_cancelled:
                self._note(self._delivery, progress_text(self._delivery))
