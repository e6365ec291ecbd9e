"""Watchdog: a thread that raises ``StepOverrun`` in the stepping thread when one step runs past its budget.

It can end Python code, at the next bytecode; not one long call into C (``"a" * 10**9``, a regular expression): sizes are
bounded elsewhere for that. The thread sleeps while nobody steps.
"""

from __future__ import annotations

import ctypes
import threading

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
                if self._step == step and self._fired != step:
                    self._fired = step
                    _raise_in(self._stepping, StepOverrun)
