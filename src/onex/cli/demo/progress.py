"""Progress of a demo: a line at each kill, and on a terminal a bar; elsewhere a line at each quarter of the work."""

from __future__ import annotations

from typing import TextIO

from ..console import shown, write
from ..progress import ProgressBar

QUARTERS = 4


class DemoProgress(ProgressBar):
    """Writes to ``stream``; ``effects`` are expected. ``killable``: what is killed."""

    def __init__(self, stream: TextIO, effects: int, killable: str = "the engine") -> None:
        super().__init__("demo", "effects", effects, stream=stream)
        self.effects, self._killable = effects, killable
        self._quarters = 0

    def say(self, line: str) -> None:
        if self.is_live:
            self.say_above(shown(line))
        else:
            write(self.stream, f"{shown(line)}\n")
            self.stream.flush()

    def seen(self, effects: int) -> None:
        self.update(effects)
        quarters = QUARTERS * effects // max(1, self.effects)
        if quarters > self._quarters and not self.is_live:
            self._quarters = quarters
            self.say(f"  {100 * quarters // QUARTERS} % - {effects:,} of {self.effects:,} effects seen")

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None:
        percent = 100 * effects // max(1, self.effects)
        held = ", one of them done but not acknowledged" if withheld else ""
        self.say(
            f"killed {self._killable} at {percent} % - {effects:,} of {self.effects:,} effects seen{held}; restarting"
        )
