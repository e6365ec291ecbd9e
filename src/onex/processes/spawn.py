"""Processes that a command starts to fold: spawned, deaf to Ctrl-C, and telling their errors in words that travel."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Final

from ..kernel.errors import OnexError

SPAWN: Final = multiprocessing.get_context("spawn")
"""A forked process would share this one's threads and modules."""


def started(entry: Callable[..., None], *arguments: object) -> BaseProcess:
    """Ends with this process at the latest."""
    process = SPAWN.Process(target=entry, args=arguments, daemon=True)
    with deaf():
        process.start()
    return process


@contextmanager
def deaf() -> Iterator[None]:
    """Ctrl-C is for the one who talks to the person; what is started in here never hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def sendable(error: OnexError) -> OnexError:
    """The error itself, or its sentence when its class does not travel."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes, only to see whether they can be read
    except Exception:
        return OnexError(error.message)
    return error
