"""Everything that user code may raise, by name: ordinary errors, and those that ``except Exception`` does not catch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Never

from .host import HOST, Host

DEEP: Final = 5_000
HOSTILE_TEXT: Final = "caf\udce9\x00"
"""Text as a file name may give it: half a character, and a NUL. No store takes it."""


class Fatal(BaseException):
    """What a library raises that it wants nobody to catch."""


class Unreadable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


def _deeper(n: int) -> int:
    return 1 + _deeper(n + 1) if n < DEEP else n


def _recursion() -> BaseException:
    try:
        _deeper(0)
    except RecursionError as error:
        return error.with_traceback(None)
    return RecursionError("this deep it ended by itself")


RAISED: Final[Mapping[str, Callable[[], BaseException]]] = {
    "AttributeError": lambda: AttributeError("'NoneType' object has no attribute 'strip'"),
    "KeyError": lambda: KeyError("no such column"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration("no more of it"),
    "StopAsyncIteration": StopAsyncIteration,
    "Fatal": lambda: Fatal("this process is beyond help"),
    "Unreadable": Unreadable,
    "Hostile": lambda: ValueError(HOSTILE_TEXT),
    "Group": lambda: BaseExceptionGroup("several at once", [SystemExit(1), Unreadable()]),
    "MemoryError": MemoryError,
    "RecursionError": _recursion,
    "TimeoutError": lambda: TimeoutError("my own patience is at its end"),
}
"""What user code raises, by the name under which a client or a seed chooses it."""
KINDS: Final = tuple(RAISED)


def raises(kind: str) -> Never:
    """Raises it by a ``raise`` of this code, as user code does. No signal of the operating system looks like this."""
    error = RAISED[kind]()
    raise error


def running_engine() -> Host | None:
    """The host of the engine whose code runs now. None: a check of the simulation runs user code, and no engine does."""
    host = HOST.get(None)
    return host if host is not None and host.name.startswith("engine") else None
