"""A shadow in a process of its own: it follows a store's log with other code, and tells its counts until it is stopped.

The child opens the store for reading, as any process may. It reads until there is nothing more, then waits for a commit or for a
word of its parent. It sends ``ShadowCounts``: one when it has begun, then some each second, and the last one when None comes.
"""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

from ..whatif.shadow import INSTANCES, Shadow
from ..whatif.shadow_counts import ShadowCounts
from ..wiring.folding import InertApp
from ..wiring.store_access import open_reader
from .child_process import GONE_S, Child, serve

TELL_S: Final = 1.0


class ShadowTask(NamedTuple):
    """``app`` is the other code, a path on disk. ``instances`` are held in memory at most."""

    store_url: str
    app: str
    instances: int = INSTANCES


class ShadowProcess:
    """Begins when it is made. ``heard`` and ``stop`` block: a program with a loop calls them in a thread."""

    def __init__(self, task: ShadowTask) -> None:
        self._child = Child(_follow, task)
        self._closed = False
        self.counts = ShadowCounts()

    def heard(self, wait_s: float) -> bool:
        """Waits so long at most for newer ``counts``; whether there are. Raises the OnexError that it ended with."""
        if not self._child.line.poll(wait_s):
            return False
        while self._child.line.poll():
            self._take()
        return True

    def stop(self) -> ShadowCounts:
        """Ends it; the last counts. What was committed before the call is compared."""
        self._child.line.send(None)
        while not self._take():
            pass
        self.close(GONE_S)
        return self.counts

    def close(self, grace_s: float = 0.0) -> None:
        """Ends it without an answer, if it has not ended. Idempotent."""
        if not self._closed:
            self._closed = True
            self._child.close(grace_s)

    def _take(self) -> bool:
        """Whether these were the last ones."""
        word = self._child.receive()
        assert isinstance(word, tuple), "a shadow sends counts, and whether they are the last"
        self.counts, last = word
        return bool(last)


def _follow(line: Connection, task: ShadowTask) -> None:
    """The life of the child."""

    async def run() -> None:
        inert = InertApp(Path(task.app))
        reader = await open_reader(task.store_url)
        try:
            watch = reader.watch()
            shadow = Shadow(reader, inert.registry, instances=task.instances)
            await shadow.begin()

            def told(counts: ShadowCounts, lag_ms: float, *, last: bool = False) -> None:
                line.send((counts.model_copy(update={"lag_ms": lag_ms, "fired": inert.boundary.fired}), last))

            told(shadow.counts(), 0.0)
            stopped = asyncio.Event()
            asyncio.get_running_loop().add_reader(line.fileno(), stopped.set)
            told_s, unsaid = time.monotonic(), False
            while not stopped.is_set():
                went = await shadow.read()
                unsaid = unsaid or went > 0
                if unsaid and (not went or time.monotonic() - told_s > TELL_S):
                    lag_ms = max(0.0, time.time() * 1000 - shadow.last_us / 1000) if went else 0.0
                    told(shadow.counts(), lag_ms)
                    told_s, unsaid = time.monotonic(), False
                if not went:
                    waits = [asyncio.ensure_future(one) for one in (watch.changed(), stopped.wait())]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    for one in waits:
                        one.cancel()
            asyncio.get_running_loop().remove_reader(line.fileno())
            line.recv()  # the word that ends it; EOFError where nobody is there any more
            while await shadow.read():
                pass
            told(await shadow.end(), 0.0, last=True)
        finally:
            await reader.close()
            inert.close()

    serve(line, run, "onex shadow")
