"""The Python process that an engine runs in: its garbage collector, and the lock that its threads share.

**The collector** works in idle turns, not while actions are in flight. By default it looks at the young objects after 700
allocations, and now and then at all. With 50,000 instances in memory a look at all takes longer than a whole batch, and whoever
waits then waits for it too. An action makes no reference cycle (a test counts them), so what it makes is freed at once, without
a collector. Cycles come from user code, from exceptions and from libraries. So, while an engine is open:

- What exists at its start is frozen: it is never looked at again.
- Young objects are looked at when ``YOUNG`` of them are alive, and in idle turns when ``IDLE_YOUNG`` of them are.
- All objects are looked at when the engine has been idle for ``IDLE_S``, after ``OLD`` looks at young ones. Under a load that
  never pauses Python still does it by itself, after some millions of new objects: memory stays bounded.

The settings are the process's, so engines are counted: the first one changes them, the last one restores them. A process that has
turned the collector off keeps it off. Python 3.14 looks at a part of the old objects each time, and has no third threshold.

**The lock.** One thread at a time runs Python. A thread that wants it asks the one that has it to stop after 5 ms. The store's
thread leaves Python for each file it looks at and each statement, and then wants it back: beside a loop that folds without a
pause, a commit would wait 5 ms each time. ``give_way`` sleeps for so short a time that only a thread that waits already gets it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import ClassVar, Final

YOUNG: Final = 50_000
IDLE_YOUNG: Final = 10_000
OLD: Final = 10
THRESHOLDS: Final = (YOUNG, 10, 5)
IDLE_S: Final = 0.05
GIVE_WAY_S: Final = 20e-6


class OwnInterpreter:
    """For one engine, from ``start`` to ``close``. All methods belong to its event loop."""

    _engines: ClassVar[int] = 0
    _before: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    def __init__(self) -> None:
        self._collects = False
        self._later: asyncio.TimerHandle | None = None
        self._idles = 0

    def start(self) -> None:
        if self._collects or not gc.isenabled():
            return
        self._collects = True
        if OwnInterpreter._engines == 0:
            OwnInterpreter._before = gc.get_threshold()
            gc.collect(1)
            gc.freeze()
            gc.set_threshold(*THRESHOLDS)
        OwnInterpreter._engines += 1

    def idle(self) -> None:
        if not self._collects:
            return
        self._idles += 1
        young, passes, old = gc.get_count()
        if young >= IDLE_YOUNG or passes:
            gc.collect(1)
        if old >= OLD and self._later is None:
            self._later = asyncio.get_running_loop().call_later(IDLE_S, self._still_idle, self._idles)

    def _still_idle(self, idles: int) -> None:
        self._later = None
        if self._collects and idles == self._idles:  # else the next ``idle`` asks for it again
            gc.collect()

    def give_way(self) -> None:
        time.sleep(GIVE_WAY_S)

    def close(self) -> None:
        """Idempotent."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if not self._collects:
            return
        self._collects = False
        OwnInterpreter._engines -= 1
        if OwnInterpreter._engines == 0:
            gc.set_threshold(*OwnInterpreter._before)
            gc.unfreeze()
