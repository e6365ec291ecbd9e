"""Watchdog: a thread that raises ``StepOverrun`` in the stepping thread when one step runs longer than its budget.

It can end Python code, at the next bytecode. It cannot end one long call into C (``"a" * 10**9``, a regular expression). Sizes
are bounded elsewhere, and where the process is ours to end, ``last_resort`` ends it after ``STUCK_BUDGETS`` budgets.

Theory of operation. ``enter`` and ``leave`` count ``_step`` up; it is odd inside a step. The thread looks at it four times per
budget (``CHECKS``). When it has seen the same odd number for a whole budget, it raises the exception in the stepping thread
with ``PyThreadState_SetAsyncExc``. So an overrun is ended within a quarter of the budget.

What may go wrong:

- The step ends just when the exception is raised: it would hit the code after the step. Under ``_lock`` the exception was
  either sent or never will be. If it was sent and has not arrived, ``leave`` takes it back and raises it itself.
- The step catches the exception and goes on: the exception object has a finalizer that raises it once more as soon as it is
  dropped. If the step keeps it, the thread raises another after a quarter of the budget. So no loop around a ``try``
  outlives its budget.
- The exception cuts ``leave`` short: the next ``enter`` makes the number odd again.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import partial

from ..ports import StepOverrun
from .last_resort import LastResort

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_NOTHING = ctypes.py_object()  # NULL: takes a pending exception back
CHECKS = 4
STUCK_BUDGETS = 4
STUCK_S_LEAST = 2.0


class Watchdog:
    """Ends steps after ``budget_s`` seconds, at most a quarter later. For one stepping thread; ``close`` ends the watching one."""

    def __init__(self, budget_s: float = 2.0) -> None:
        self.budget_s = budget_s
        self._step = 0  # counts enters and leaves: odd while inside a step
        self._stepping = threading.get_ident()
        self._fired = 0
        self._overrun = _overrun_of(self)
        self._raiser: object = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._others: dict[float, Watchdog] = {}
        self._last_resort: LastResort | None = None
        self._stuck_s = max(STUCK_BUDGETS * budget_s, STUCK_S_LEAST)
        self._thread = threading.Thread(target=self._watch, name="onex-watchdog", daemon=True)
        self._thread.start()

    def enter(self) -> None:
        self._stepping = threading.get_ident()
        self._step = (self._step + 1) | 1  # odd, also after a leave that the exception cut short

    def leave(self) -> None:
        # Under the lock the exception was either sent or never will be. One that was sent and has not arrived is taken back
        # and raised here.
        with self._lock:
            if self._step % 2 == 0:
                return
            step, self._step = self._step, self._step + 1
            if self._fired == step:
                self._fired = 0
                _raise_in(self._stepping, _NOTHING)
                raise StepOverrun

    def may_end_process(self, crash_file: Callable[[], int | None]) -> None:
        """From now on a step of this thread that does not return ends the process. ``crash_file()``: where it says why, or None.

        Called again it does nothing, once there was a crash file.
        """
        file = crash_file() if self._last_resort is None else None
        if file is not None:
            self._last_resort = LastResort.of_thread(self._stuck_s, file)
            for other in self._others.values():
                other._last_resort, other._stuck_s = self._last_resort, self._stuck_s

    def of(self, budget_ms: int | None) -> Watchdog:
        """One with this budget for the same steps, which is closed with this one; None: this one."""
        budget_s = self.budget_s if budget_ms is None else budget_ms / 1000
        if budget_s == self.budget_s:
            return self
        if budget_s not in self._others:
            other = self._others[budget_s] = Watchdog(budget_s)
            other._last_resort, other._stuck_s = self._last_resort, self._stuck_s
        return self._others[budget_s]

    def close(self) -> None:
        for other in self._others.values():
            other.close()
        self._closing.set()
        self._thread.join()
        if self._last_resort is not None:
            self._last_resort.close()

    def _watch(self) -> None:
        seen, times = 0, 0
        while not self._closing.wait(self.budget_s / CHECKS):
            if self._last_resort is not None:
                self._last_resort.alive()
            step = self._step
            times = times + 1 if step == seen else 0
            seen = step
            if step % 2 == 0 or times < CHECKS:
                continue
            if self._last_resort is not None and times * self.budget_s >= self._stuck_s * CHECKS:
                self._last_resort.end()
            with self._lock:
                if self._step == step:
                    self._fired = step
                    self._raiser = _raiser_of(self._stepping, self._overrun)
                    _raise_in(self._stepping, self._overrun)

    def _dropped(self, step: int) -> None:
        """Called in the stepping thread when the step has dropped the exception: raise it again unless the step was left."""
        if self._step == step and self._raiser is not None:
            _ = -self._raiser  # type: ignore[operator]  # its class is made below


def _overrun_of(watchdog: Watchdog) -> type[StepOverrun]:
    class Overrun(StepOverrun):
        """Raised by Python itself, which makes it without arguments, in the stepping thread."""

        def __init__(self) -> None:
            self.step = watchdog._step

        def __del__(self) -> None:
            watchdog._dropped(self.step)

    return Overrun


def _raiser_of(thread: int, overrun: type[StepOverrun]) -> object:
    """An object: ``-object`` raises ``overrun`` in the thread, at its next jump or call.

    It is an operator and not a call. After a call Python would raise the exception at once, inside the finalizer, where it
    is lost.
    """
    return type("Raiser", (), {"__neg__": partial(_raise_in, thread, overrun)})()
