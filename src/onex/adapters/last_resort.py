"""Last resort: ends this process when a call into C does not return, and leaves a note of where it was.

A watchdog is Python code, and Python code runs only while the interpreter is free. A regular expression that turns for ever
holds it, and nothing of this process can do anything any more: no commit, no heartbeat, no signal handler of Python's.

Theory of operation. A timer of the kernel counts the CPU time of the stepping thread (``timer_create`` on the thread's clock). The
watchdog's thread sets it anew several times a second (``alive``), which it can do only while the interpreter is free. When it
has run out the kernel sends SIGVTALRM to the thread. A handler in C (``faulthandler``) writes the traceback into the crash file,
which needs no interpreter, and then the signal's default action ends the process. Whoever supervises it starts it again, and
the next owner reads the note (``Store.judged``).

Why CPU time: a process that was stopped (SIGSTOP), a machine that slept or is overloaded, uses none, and is not ended for it. A
step that waits in C without holding the interpreter uses none either; the watchdog sees it and calls ``end``. A call that waits
*and* holds the interpreter is not seen: a liveness probe finds that process (``/health/live``).

What may go wrong:

- The platform has no such timer (macOS, Windows), or SIGVTALRM is used by somebody: ``of_thread`` gives None, and a step that is
  stuck stays stuck, as it does in a program that opened an engine itself. Only ``onex run`` and ``onex worker`` end their process.
- A fork: a child inherits neither the timer nor the thread that sets it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Self

SIGNAL = signal.SIGVTALRM
_THREAD = 4  # SIGEV_THREAD_ID


class _Event(ctypes.Structure):
    """``struct sigevent`` of Linux."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 44),
    )


class _Times(ctypes.Structure):
    """``struct itimerspec``: the interval, and the time until it fires."""

    _fields_ = (("every", ctypes.c_long * 2), ("after", ctypes.c_long * 2))


class LastResort:
    """Armed for the thread that made it, ``after_s`` of its CPU time after each ``alive``."""

    def __init__(self, after_s: float, crash_file: int) -> None:
        """``crash_file`` is closed with this. Raises OSError, AttributeError where the platform has no such timer."""
        self._file, self._thread, self._armed = crash_file, threading.get_ident(), False
        libc = ctypes.CDLL(None, use_errno=True)
        self._set, self._delete = libc.timer_settime, libc.timer_delete
        self._set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._delete.argtypes = (ctypes.c_void_p,)
        self._timer = ctypes.c_void_p()
        event = _Event(None, SIGNAL, _THREAD, threading.get_native_id())
        clock = time.pthread_getcpuclockid(self._thread)
        if libc.timer_create(clock, ctypes.byref(event), ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._armed = True
        self._after = _Times((0, 0), (int(after_s), int(after_s % 1 * 1_000_000_000)))
        faulthandler.register(SIGNAL, file=crash_file, all_threads=False, chain=True)
        self.alive()

    @classmethod
    def of_thread(cls, after_s: float, crash_file: int) -> Self | None:
        """For the calling thread; None where it cannot be."""
        if sys.platform == "linux" and signal.getsignal(SIGNAL) is signal.SIG_DFL:
            with suppress(OSError, AttributeError):
                return cls(after_s, crash_file)
        os.close(crash_file)
        return None

    def alive(self) -> None:
        """The interpreter is free at this moment."""
        if self._armed:
            self._set(self._timer, 0, ctypes.byref(self._after), None)

    def end(self) -> None:
        """The thread is stuck though the interpreter is free: the same end."""
        signal.pthread_kill(self._thread, SIGNAL)

    def close(self) -> None:
        if self._armed:
            self._armed = False
            self._delete(self._timer)
            faulthandler.unregister(SIGNAL)
            os.close(self._file)
