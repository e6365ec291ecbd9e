"""The start of the ``onex`` process. It does not look for garbage while modules are imported: almost all they make stays.

A command's imports make some 60,000 objects, and the collector would walk over them again and again: a quarter of the time
until the command runs. ``settled`` ends that. What was imported is not looked at again as long as the process lives.
"""

from __future__ import annotations

import gc


def start() -> int:
    """Runs the command line, and returns the exit code."""
    gc.disable()
    from .main import main

    return main()


def settled() -> None:
    """Called when a command's modules are imported: from now on garbage is collected. Without ``start`` it does nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
