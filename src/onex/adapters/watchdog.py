"""Watchdog: a thread that raises ``StepOverrun`` in the stepping thread when one step runs past its budget.

It can end Python code, at the next bytecode; not one long call into C (``"a" * 10**9``, a regular expression): sizes are
bounded elsewhere for that. The thread sleeps while nobody steps.

A step that catches the exception and goes on does not get away: the exception is raised again as soon as it is let go of, and
at any rate after another quarter of the budget, until the step is left. So no loop around a ``try`` outlives it.
"""

from __future__ import annotations

import ctypes
import threading
from functools import partial

from ..ports import StepOverrun

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_NOTHING = ctypes.py_object()  # NULL: takes a pending exception back
CHECKS = 4


class Watchdog:
    """``budget_s`` is met within a quarter of it. Belongs to the thread that steps; ``close`` ends its own."""

    def __init__(self, budget_s: float = 2.0) -> None:
        self.budget_s = budget_s
        self._step = 0  # counts enters and leaves: odd while inside a step
        self._stepping = threading.get_ident()
        self._fired = 0
        self._overrun = _overrun_of(self)
        self._sting: object = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="onex-watchdog", daemon=True)
        self._thread.start()

    def enter(self) -> None:
        self._stepping = threading.get_ident()
        self._step = (self._step + 1) | 1  # odd, also after a leave that the exception itself cut short

    def leave(self) -> None:
        # The exception may be on its way at this very moment: under the lock it has either been sent or never will be,
        # and one that was sent and has not arrived is taken back and raised here.
        with self._lock:
            if self._step % 2 == 0:
                return
            step, self._step = self._step, self._step + 1
            if self._fired == step:
                self._fired = 0
                _raise_in(self._stepping, _NOTHING)
                raise StepOverrun

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, times = 0, 0
        while not self._closing.wait(self.budget_s / CHECKS):
            step = self._step
            times = times + 1 if step == seen else 0
            seen = step
            if step % 2 == 0 or times < CHECKS:
                continue
            with self._lock:
                if self._step == step:
                    self._fired = step
                    self._sting = _sting_of(self._stepping, self._overrun)
                    _raise_in(self._stepping, self._overrun)

    def _let_go(self, step: int) -> None:
        """In the stepping thread, where a handler has just dropped the exception: again, unless the step was left."""
        if self._step == step and self._sting is not None:
            _ = -self._sting  # type: ignore[operator]  # its class is made when it is needed


def _overrun_of(dog: Watchdog) -> type[StepOverrun]:
    class Overrun(StepOverrun):
        """Raised by Python itself, which makes it without arguments, in the stepping thread."""

        def __init__(self) -> None:
            self.step = dog._step

        def __del__(self) -> None:
            dog._let_go(self.step)

    return Overrun


def _sting_of(thread: int, overrun: type[StepOverrun]) -> object:
    """``-sting`` raises ``overrun`` in the thread, at its next jump or call. As an operator, because after a call by name
    Python would raise it at once, inside the finaliser, where it is lost."""
    return type("Sting", (), {"__neg__": partial(_raise_in, thread, overrun)})()
