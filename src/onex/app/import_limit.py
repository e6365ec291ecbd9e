"""A time limit for what an app's modules do when they are imported: a loop that never ends becomes a finding.

An alarm of the system interrupts the main thread, in a loop of Python as in a wait for a socket, and raises there. Code that
catches everything gets it again every second; after a few times the process ends, with a sentence. A call into C that never
comes back is not ended. In another thread than the main one there is no alarm, and no limit.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

IMPORT_S = 30.0
AGAIN_S = 1.0
TRIES: Final = 5


class ImportEndless(BaseException):
    """A module has not ended within its time. A BaseException, so that ``except Exception`` in a module does not catch it."""


@contextmanager
def import_limit(shown: str) -> Iterator[None]:
    """Raises ImportEndless in the block after IMPORT_S seconds. ``shown`` is the app, for the sentence at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    tries = 0

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal tries
        tries += 1
        if tries > TRIES:
            os.write(
                2, f"onex: importing {shown} does not end, and catches what should end it\n".encode(errors="replace")
            )
            os._exit(1)
        raise ImportEndless(f"it did not end within {IMPORT_S:g} s and was ended")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, IMPORT_S, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
