"""The one progress bar of the commands: on a terminal, below all other output, and gone when the work ends.

On a pipe or a file it writes nothing. It draws only when somebody calls it, at most ten times a second, and has no thread of
its own: ``doctor`` forks only a process that has one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

PAUSE_S: Final = 0.1


class ProgressBar:
    """Drawn while its ``with`` block lasts, on ``stream`` (default: stderr), if that is a terminal and ``shown`` is set.

    ``total`` is None while nobody knows it. The bar appears at once, or at the first update after ``wait_s`` seconds.
    """

    def __init__(
        self,
        what: str,
        unit: str,
        total: float | None = None,
        *,
        shown: bool = True,
        stream: TextIO | None = None,
        wait_s: float = 0.0,
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.is_live = shown and self.stream.isatty()
        self._what, self._unit, self._total = what, unit, total
        self._done, self._detail = 0.0, ""
        self._wait_s, self._next_s = wait_s, time.monotonic() + wait_s
        self._redraw: Callable[[str], None] | None = None
        self._print: Callable[[str], None] | None = None
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        if not self._wait_s:
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redraw is not None:
            self._draw()  # the last numbers
        self._stop()

    def advance(self, by: int) -> None:
        """So many more are done."""
        self.update(self._done + by)

    def update(self, done: float, total: float | None = None, detail: str = "") -> None:
        """So many are done in all. ``detail`` stands instead of the numbers."""
        self._done, self._detail = done, detail
        self._total = self._total if total is None else total
        if (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + PAUSE_S
            self._draw()

    def restart(self, what: str) -> None:
        """Other work begins, and nobody knows how much it is."""
        self._what, self._total = what, None
        self.update(0.0)

    @property
    def is_drawn(self) -> bool:
        """It stands on the terminal: other lines go above it."""
        return self._print is not None

    def say_above(self, line: str) -> None:
        """A line above the bar, if there is one. ``line`` holds nothing that a terminal would act on."""
        if self._print is not None:
            self._print(line)
            self._draw()

    def _draw(self) -> None:
        if not self.is_live:
            return
        if self._redraw is None:
            self._start()
        of = "" if self._total is None else f"/{self._total:,.0f}"
        if self._redraw is not None:
            self._redraw(self._detail or f"{self._done:,.0f}{of} {self._unit}")

    def _start(self) -> None:
        """rich is imported here: a command that draws nothing starts without it."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        words = TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[counts]}")
        console = Console(file=self.stream)
        drawn = Progress(*words, TimeRemainingColumn(), console=console, transient=True, auto_refresh=False)
        task = drawn.add_task(self._what, counts="")
        self._redraw = lambda counts: drawn.update(
            task, description=self._what, completed=self._done, total=self._total, counts=counts, refresh=True
        )
        self._print = lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._stop = drawn.stop
        drawn.start()
