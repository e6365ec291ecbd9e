"""FaultPlan: which call meets which fault. Drawn from a seed and written down, or read from a script: the same run either way.

A fault is remembered by when it came, not by the how-manieth draw it was, so that a run with less in it still meets the
others where they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ..clock import stream
from ..faults import Faults
from .schedule import Hit


class FaultPoint(NamedTuple):
    """``p`` is the chance per call at full strength. ``who`` and ``what`` add_line a person; {} is the value drawn with it."""

    p: float
    who: str
    what: str


_AROUND: Final = {
    "read fails": FaultPoint(0.05, "store", "fails to read"),
    "read is slow": FaultPoint(0.10, "store", "is slow to read"),
    "read answers late": FaultPoint(0.10, "store", "answers a read late"),
    "commit refused": FaultPoint(0.15, "store", "refuses a commit"),
    "commit lost": FaultPoint(0.10, "store", "loses a commit, and the answer to it"),
    "commit answer lost": FaultPoint(0.15, "store", "makes a commit durable, and the answer is lost"),
    "commit is slow": FaultPoint(0.20, "store", "is slow to commit"),
    "commit answers late": FaultPoint(0.20, "store", "answers a commit late"),
    "commit lands after its owner died": FaultPoint(0.03, "engine", "crashes; its last commit arrives later"),
    "crash before commit": FaultPoint(0.04, "engine", "crashes before a commit"),
    "crash after commit": FaultPoint(0.04, "engine", "crashes after a commit"),
    "crash at any time": FaultPoint(0.20, "engine", "crashes"),
    "restart": FaultPoint(0.10, "engine", "is restarted in order"),
    "failed start closed in order": FaultPoint(0.50, "engine", "closes what it could not start"),
    "ownership stolen": FaultPoint(0.06, "engine", "loses the store to another, and does not know it"),
    "clock jumps": FaultPoint(0.15, "clock", "is set wrong"),
    "clock drifts": FaultPoint(0.08, "clock", "runs at another speed"),
    "disk full": FaultPoint(0.06, "disk", "is full"),
    "store held by another writer": FaultPoint(0.08, "disk", "is held by another writer"),
    "disk read-only": FaultPoint(0.04, "disk", "can only be read"),
    "time passes": FaultPoint(0.30, "", "passes, until the next timer is due"),
    "effect refused": FaultPoint(0.15, "", "refuses"),
    "effect busy": FaultPoint(0.25, "", "is busy"),
    "effect fails before": FaultPoint(0.15, "", "breaks before anything is done"),
    "effect fails after": FaultPoint(0.15, "", "does it and breaks before it can say so"),
    "effect hangs before": FaultPoint(0.06, "", "hangs and does nothing"),
    "effect hangs after": FaultPoint(0.06, "", "does it and hangs"),
    "effect is slow": FaultPoint(0.30, "", "is slow"),
    "effect kills its process before": FaultPoint(0.03, "", "kills the engine before anything is done"),
    "effect kills its process after": FaultPoint(0.03, "", "does it and kills the engine"),
    "effect leaks a cancellation": FaultPoint(0.05, "", "does it and leaks a cancellation"),
    "release": FaultPoint(0.10, "operator", "ends the hold of an instance"),
    "redrive": FaultPoint(0.20, "operator", "looks for what is dead or held"),
}
USER_CODE: Final = {
    "effect raises anything before": FaultPoint(0.05, "", "raises what nobody expects, and did nothing"),
    "effect raises anything after": FaultPoint(0.05, "", "does it, and raises what nobody expects"),
    "effect gives back nothing": FaultPoint(0.04, "", "does it and returns None"),
    "effect gives back anything": FaultPoint(0.05, "", "does it and returns what it never said it would"),
    "effect swallows its cancellation": FaultPoint(0.03, "", "does it, hangs, and does not let itself be ended"),
    "reducer kills its process": FaultPoint(0.01, "engine", "dies in the middle of a step of the reducer"),
}
"""What the app's own code does where it has a bug. Drawn apart, so that a run without any of it is what it was."""

POINTS: Final = {**_AROUND, **USER_CODE}
"""What may go wrong around an app; at an effect it is the target that does it, so ``who`` is empty there."""

MANNER_P: Final = 0.35


class FaultPlan(Faults):
    """``add_line(who, what)`` hears of every fault. After ``heal`` nothing hurts any more."""

    def __init__(
        self,
        seed: int,
        counted: Counter[str],
        now_us: Callable[[], int],
        script: Sequence[Hit] | None,
        add_line: Callable[[str, str], None],
    ) -> None:
        super().__init__(stream(seed, "unused"), counted)
        draw = stream(seed, "faults")
        self.happened: list[Hit] = []
        self._strength = {
            point: known.p * draw.choice((0.2, 0.5, 1.0)) if draw.random() < 0.5 else 0.0
            for point, known in _AROUND.items()
        }
        own = self._draw_own = stream(seed, "faults of user code")
        self._strength |= {
            point: known.p * own.choice((0.5, 1.0)) if own.random() < 0.5 else 0.0 for point, known in USER_CODE.items()
        }
        self._draw = draw
        self.chance = stream(seed, "chance")
        """What is not worth a line in a script. The faults' own draws are another stream, so a script needs none."""
        self._add_line = add_line
        self._now_us = now_us
        self._at_us = -1
        self._calls: Counter[str] = Counter()
        self._open = False
        self._script: dict[str, list[Hit]] | None = None
        if script is not None:
            self._script = {}
            for hit in sorted(script, key=lambda one: (one.at_us, one.skip), reverse=True):
                self._script.setdefault(hit.point, []).append(hit)
        self._healed = False

    def hits(self, point: str) -> bool:
        self._open = False
        if self._healed:
            return False
        at_us = self._now_us()
        if at_us != self._at_us:
            self._at_us = at_us
            self._calls.clear()
        nth = self._calls[point]
        self._calls[point] += 1
        hit = self._drawn(point, at_us, nth) if self._script is None else self._read(point, at_us, nth)
        if hit is None:
            return False
        self.happened.append(hit)
        self.counted[point] += 1
        self._open = True
        known = POINTS.get(point)
        if known is not None and known.who:
            self._add_line(known.who, known.what)
        return True

    def _drawn(self, point: str, at_us: int, nth: int) -> Hit | None:
        p = self._strength.get(point, 0.0)
        draw = self._draw_own if point in USER_CODE else self._draw
        return Hit(point, at_us, nth) if p and draw.random() < p else None

    def _read(self, point: str, at_us: int, nth: int) -> Hit | None:
        """The next of its kind, once its time is there. What was planned for the past happens now."""
        left = (self._script or {}).get(point)
        if not left or (at_us, nth) < (left[-1].at_us, left[-1].skip):
            return None
        return replace(left.pop(), at_us=at_us, skip=nth)

    def share(self) -> float:
        """How strong the fault is that just hit, between 0 and 1; without one, a number that is nobody's decision."""
        if not self._open:
            return self.chance.random()
        self._open = False
        if self._script is None:
            draw = self._draw_own if self.happened[-1].point in USER_CODE else self._draw
            self.happened[-1] = replace(self.happened[-1], share=round(draw.random(), 3))
        return self.happened[-1].share

    def some_s(self, most: float) -> float:
        return float(round(most * self.share() ** 3, 6))

    def heal(self) -> None:
        self._healed = True
