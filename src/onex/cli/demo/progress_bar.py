"""The same story on a terminal: a bar over the effects below the lines."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..console import shown
from .progress_lines import Story


class BarStory(Story):
    """Only for a stream that is a terminal; the bar is gone when the story ends."""

    def __init__(self, stream: TextIO, effects: int) -> None:
        super().__init__(stream, effects)
        columns = (TextColumn(" "), BarColumn(), MofNCompleteColumn(), TextColumn("effects"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(file=stream), transient=True)
        self._task = self._bar.add_task("", total=effects)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str = "") -> None:
        self._bar.console.print(shown(line), markup=False, highlight=False, soft_wrap=True)

    def seen(self, effects: int) -> None:
        self._bar.update(self._task, completed=effects)
