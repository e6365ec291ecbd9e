"""``onex run`` as anybody starts it, but for its clock: that is so many microseconds off as a file says at this moment.

python tests/chaos/engine.py CLOCK_FILE run APP --store URL ...
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from onex.adapters.clock import SystemClock
from onex.cli.main import main
from onex.wiring import engine as wiring

PLANT, TOLD = "CHAOS_PLANT", "CHAOS_TOLD"

OFFSET = struct.Struct("<q")


def stepped(path: Path) -> Callable[[], SystemClock]:
    """A clock that whoever writes into the file sets, as somebody sets a machine's; durations go on as they do."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    class Stepped(SystemClock):
        def now_us(self) -> int:
            (offset_us,) = OFFSET.unpack(shared[:])
            return super().now_us() + int(offset_us)

    return Stepped


if __name__ == "__main__":
    wiring.SystemClock = stepped(Path(sys.argv[1]))  # type: ignore[assignment, attr-defined]  # as if the machine's were set
    if plant := os.environ.get(PLANT):
        from tests.chaos.planted import PLANTS

        PLANTS[plant]()
    if told := os.environ.get(TOLD):
        from tests.chaos.library import submits_too

        submits_too(Path(told))
    sys.exit(main(sys.argv[2:]))
