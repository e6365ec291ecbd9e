"""What this process uses of its machine: memory, disk, and how late its event loop is. Linux.

Memory is the resident memory over what the process may have: the limit of its control group where there is one, else the memory of
the machine. Disk is told for a store that is a file: of the file system that it lies on, and as no use at all while DISK_ENOUGH
bytes are free, since a tenth of a large disk is no need.

``LoopLag`` sleeps for PERIOD_S again and again, and notes by how much it woke late: an event loop that is held by a long call
answers nobody. That is two wakes a second.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import deque
from pathlib import Path
from typing import Final

PERIOD_S: Final = 0.5
KEPT: Final = 120  # samples: one minute
DISK_ENOUGH: Final = 5 << 30
_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resident_bytes() -> int:
    """0 where it cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_limit_bytes(limits: tuple[str, ...] = _LIMITS) -> int:
    """The least of the limits that hold for this process."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in limits:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) > 0:
            found = min(found, int(text))
    return found


def memory_use() -> float:
    return resident_bytes() / memory_limit_bytes()


def disk_use(folder: Path) -> float:
    """0.0 where enough is free, or where it cannot be told."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return 0.0
    return 0.0 if disk.free >= DISK_ENOUGH else 1 - disk.free / max(1, disk.used + disk.free)


class LoopLag:
    """How late the running event loop was in the last minute. ``start`` it in the loop."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="onex-loop-lag")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def worst_s(self) -> float:
        return max(self._late, default=0.0)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            await asyncio.sleep(PERIOD_S)
            self._late.append(max(0.0, loop.time() - begun_s - PERIOD_S))
