"""Child processes of a command that folds, each with a pipe: how they start, talk, report an error, and end.

A child is spawned, not forked: a fork would share this process's threads and modules. Its life, in ``serve``:

1. Its standard output becomes standard error. What an app prints when it is imported is not what the command prints.
2. It runs one coroutine, which reads orders from the pipe and sends words back: values of the two ``*_work`` modules.
3. An error of ours is its last word. The parent raises it again, so the command reports it as its own.

What may go wrong:

- Ctrl-C: the terminal sends it to all processes. Children are started with it ignored, so only the parent stops, and ends
  them in order.
- A child is killed, or out of memory: it sends no last word. The parent reads the end of the pipe, waits for the exit code
  and raises FoldingBroken.
- The parent dies: the child ends at once, whatever it does. A thread waits for the parent's end, because code of an app that hangs
  while it is imported reads and writes no pipe. Being a daemon, a child ends with a parent that ends normally, too.
- The parent stops early: it kills what still folds. A child only reads, so nothing is left half written.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from ..kernel.errors import OnexError

SPAWN: Final = multiprocessing.get_context("spawn")
GONE_S: Final = 5.0
"""How long an exit code is waited for when the pipe has ended."""


class FoldingBroken(OnexError):
    """A process that folded has ended and gave no reason: killed, or out of memory."""

    code = "folding_broken"


class Child:
    """A process that runs ``entry(its end of the pipe, *arguments)``; ``line`` is ours. It ends with this process at the latest."""

    def __init__(self, entry: Callable[..., None], *arguments: object) -> None:
        self.line, end = SPAWN.Pipe()
        self._process = started(entry, end, *arguments)
        end.close()

    def receive(self) -> object:
        """Its next word. Raises the OnexError it ended with, FoldingBroken when it ended without one."""
        try:
            word: object = self.line.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join(GONE_S)
            code = self._process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            raise FoldingBroken(
                f"a process that folded ended with {how} and gave no reason; was the machine out of memory? "
                "--processes 1 folds with one process"
            ) from error
        if isinstance(word, OnexError):
            raise word
        return word

    def close(self, grace_s: float = 0.0) -> None:
        self.line.close()
        end(self._process, grace_s)


def started(entry: Callable[..., None], *arguments: object) -> BaseProcess:
    process = SPAWN.Process(target=entry, args=arguments, daemon=True)
    with _ctrl_c_ignored():
        process.start()
    return process


def end(process: BaseProcess, grace_s: float) -> None:
    """Waits ``grace_s``, then kills."""
    process.join(grace_s)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """What is started in here ignores Ctrl-C. In another thread than the main one this changes nothing: Python refuses it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def serve(line: Connection, run: Callable[[], Coroutine[object, object, None]], command: str) -> None:
    """The whole life of a child: runs until ``run`` returns or the parent is gone. ``command`` is named in a defect."""
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the parent ends it; one that a thread started does not ignore Ctrl-C yet
    try:
        try:
            asyncio.run(run())
        except OnexError as error:
            line.send(sendable(error))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            line.send(OnexError(f"a process of {command} failed: {type(error).__name__}: {error}"))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody listens any more
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a child is spawned"
    parent.join()
    os._exit(1)


def sendable(error: OnexError) -> OnexError:
    """The error itself, or its message when its class cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes, only to see whether they can be read
    except Exception:
        return OnexError(error.message)
    return error
