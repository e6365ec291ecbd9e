"""The start of the ``onex`` process: what is so while modules are imported, and not after.

- It does not look for garbage. A command's imports make some 60,000 objects that stay, and the collector would walk over them
  again and again: a quarter of the time until the command runs. They are not looked at again as long as the process lives.
- Ctrl-C ends the process at once. Nothing is done yet, so nothing is left behind. Python would raise KeyboardInterrupt in the
  middle of an import, where a compiled library may drop it or report it as a fault of its own.

Later imports are short, and may drop one too: Python reports what was dropped, and that one is raised again (``_again``).
"""

from __future__ import annotations

import _thread
import gc
import os
import signal
import sys


def start() -> int:
    """Runs the command line, and returns the exit code."""
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else who started us has it ignored
        signal.signal(signal.SIGINT, _leave)
    from .main import main

    return main()


def settled() -> None:
    """Called when a command's modules are imported: from now on garbage is collected, and Ctrl-C is KeyboardInterrupt.

    Without ``start`` it does nothing.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    if signal.getsignal(signal.SIGINT) is _leave:
        sys.unraisablehook = _again
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> None:
    os._exit(
        128 + signal.SIGINT
    )  # exit_codes.INTERRUPTED; importing it here would take 30 ms under Python's own handler


def _again(dropped: sys.UnraisableHookArgs) -> None:
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(dropped)
