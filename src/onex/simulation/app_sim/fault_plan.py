"""The fault plan of one run: which call meets which fault. Drawn from a seed and written down, or read from a script.

Theory of operation
    Drawing: each call of a point draws whether the fault happens, and each one that does is kept as a ``Hit``: the point, the
    microsecond of the run, and the how-manieth call of that point in this microsecond it was. ``share`` draws its strength
    and writes it into the same hit. All hits together are the script of the run.
    Reading: a hit of the script happens at the call that is named there, or at the first later call of its point. The same
    script gives the same run, step for step, because then every hit meets exactly its call.
    Why time and not the number of the draw: shrinking leaves out actions and hits. The calls of a shorter run are others, but
    a hit that stays is still met near its time. A number would point at another call altogether.
    What is not in a script: ``chance`` decides small matters that no reader of a story wants to see. It is a stream of its
    own, so reading a script instead of drawing does not move it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple, TypeVar

from ..clock import stream
from ..faults import Faults, drawn_strengths
from .schedule import Hit

T = TypeVar("T")


class FaultPoint(NamedTuple):
    """``p`` is the chance per call at full strength. ``who`` and ``what`` make the line of the story; without ``who`` the
    caller writes the line, because it knows more."""

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
    "failed start closed in order": FaultPoint(0.50, "engine", "a start fails, and what was opened is closed"),
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
"""What the app's own code does where it has a bug. Drawn from a stream of its own: these points move no other draw."""

POINTS: Final = {**_AROUND, **USER_CODE}
"""Everything that may go wrong around an app. The names stand in saved tests and in the JSON of ``onex simulate``."""


class FaultPlan(Faults):
    """``add_line(who, what)`` is called for each fault that has a line of its own. ``happened`` are all of them, in order."""

    def __init__(
        self,
        seed: int,
        counted: Counter[str],
        now_us: Callable[[], int],
        script: Sequence[Hit] | None,
        add_line: Callable[[str, str], None],
    ) -> None:
        super().__init__(stream(seed, "chance"), counted)
        self.happened: list[Hit] = []
        self._draw, self._draw_own = stream(seed, "faults"), stream(seed, "faults of user code")
        self._strength = {
            **drawn_strengths(self._draw, {point: one.p for point, one in _AROUND.items()}, (0.2, 0.5, 1.0)),
            **drawn_strengths(self._draw_own, {point: one.p for point, one in USER_CODE.items()}, (0.5, 1.0)),
        }
        self._add_line, self._now_us = add_line, now_us
        self._at_us = -1
        self._calls: Counter[str] = Counter()
        self._open = False
        """The fault that just hit has no strength yet: the next ``share`` is about it."""
        self._script: dict[str, list[Hit]] | None = None
        if script is not None:
            self._script = {}
            for hit in sorted(script, key=lambda one: (one.at_us, one.skip), reverse=True):
                self._script.setdefault(hit.point, []).append(hit)
        self._stopped = False

    def hits(self, point: str) -> bool:
        self._open = False
        if self._stopped:
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
        return Hit(point, at_us, nth) if p and self._stream(point).random() < p else None

    def _stream(self, point: str) -> Random:
        return self._draw_own if point in USER_CODE else self._draw

    def _read(self, point: str, at_us: int, nth: int) -> Hit | None:
        """The next hit of this point, once its time has come. One that was planned for earlier happens now."""
        left = (self._script or {}).get(point)
        if not left or (at_us, nth) < (left[-1].at_us, left[-1].skip):
            return None
        return replace(left.pop(), at_us=at_us, skip=nth)

    def share(self) -> float:
        """The strength of the fault that just hit, from 0 to 1. Asked without one, or again, a number of no script."""
        if not self._open:
            return self.chance.random()
        self._open = False
        if self._script is None:
            last = self.happened[-1]
            self.happened[-1] = replace(last, share=round(self._stream(last.point).random(), 3))
        return self.happened[-1].share

    def choose(self, among: Sequence[T]) -> T:
        """One of them, by the strength of the fault that just hit."""
        return among[int(self.share() * len(among)) % len(among)]

    def some_s(self, most: float) -> float:
        return float(round(most * self.share() ** 3, 6))

    def stop(self) -> None:
        self._stopped = True
