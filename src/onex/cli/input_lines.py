"""Lines of standard input as they come, for a command that does other work meanwhile and must be able to stop.

A thread reads the descriptor itself and hands chunks over. A thread that waited in ``sys.stdin`` would hold a lock that Python
needs at its end, and abort the process. It reads on when a chunk was taken, so what waits in memory is bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from threading import Semaphore, Thread
from typing import Final, NamedTuple

from ..kernel.size_limits import WIRE_BYTES

CHUNK_BYTES: Final = 1 << 16
CHUNKS: Final = 2
LINE_BYTES: Final = WIRE_BYTES


class RawLine(NamedTuple):
    """``text`` is None when the line is longer than an action may be."""

    number: int
    text: bytes | None


class InputLines:
    """The lines of a descriptor. ``take`` never waits; ``more`` is set when there is something to take, or the end."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self.more = asyncio.Event()
        self.ended = False
        self._descriptor, self._loop = descriptor, loop
        self._chunks: deque[bytes] = deque()
        self._room = Semaphore(CHUNKS)
        self._lines: deque[RawLine] = deque()
        self._rest, self._too_long, self._number = b"", False, 0
        Thread(target=self._read, name="onex-submit-lines", daemon=True).start()

    def take(self, most: int) -> list[RawLine]:
        """Up to ``most`` lines that have come. Blank ones are left out, and counted in the numbers."""
        while self._chunks and len(self._lines) < most:
            self._cut(self._chunks.popleft())
            self._room.release()
        taken = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
        if not self._chunks and not self._lines and not self.ended:
            self.more.clear()
        return taken

    @property
    def is_empty(self) -> bool:
        return self.ended and not self._chunks and not self._lines

    def _read(self) -> None:
        """In its thread. CHUNKS may wait; the next is read when one was taken."""
        chunk = b" "
        while chunk:
            self._room.acquire()
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
            except OSError:  # the descriptor was closed: the input ends here
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._come, chunk)
            except RuntimeError:  # the loop has ended, and nobody reads
                return

    def _come(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        if not chunk:
            self.ended = True
        self.more.set()

    def _cut(self, chunk: bytes) -> None:
        if not chunk:  # the end: a last line needs no line break
            self._line(self._rest)
            return
        *whole, rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._line(line)
            self._too_long = False
        self._rest = rest
        if len(rest) > LINE_BYTES:
            self._rest, self._too_long = b"", True

    def _line(self, line: bytes) -> None:
        self._number += 1
        if self._too_long or len(line) > LINE_BYTES:
            self._lines.append(RawLine(self._number, None))
        elif line.strip():
            self._lines.append(RawLine(self._number, line))
