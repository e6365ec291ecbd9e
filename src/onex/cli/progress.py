"""A line on the terminal that counts what is done, while more than a moment passes; gone when it ends."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from .console import redraw

WAIT_S = 0.3
PAUSE_S = 0.1


class Counter:
    """``tell`` may be called as often as one likes. Only for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._next = time.monotonic() + WAIT_S
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            redraw(stream=self.stream)

    def tell(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next, self._shown = now + PAUSE_S, True
            redraw(f"{done:,} of {of:,}", self.stream)
