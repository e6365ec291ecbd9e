"""What a person sees of a demo while it runs: plain lines, one at each kill and at each quarter of the work."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from ..console import shown, write

QUARTERS = 4


class Story:
    """Told on ``stream``; ``effects`` are expected."""

    def __init__(self, stream: TextIO, effects: int) -> None:
        self.stream, self.effects = stream, effects
        self._quarters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.flush()

    def say(self, line: str = "") -> None:
        write(self.stream, f"{shown(line)}\n")
        self.stream.flush()

    def seen(self, effects: int) -> None:
        quarters = QUARTERS * effects // max(1, self.effects)
        if quarters > self._quarters:
            self._quarters = quarters
            self.say(f"  {100 * quarters // QUARTERS} % - {effects:,} of {self.effects:,} effects seen")

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None:
        percent = 100 * effects // max(1, self.effects)
        held = ", one of them done but not answered" if withheld else ""
        self.say(f"killed the engine at {percent} % - {effects:,} of {self.effects:,} effects seen{held}; restarting")
