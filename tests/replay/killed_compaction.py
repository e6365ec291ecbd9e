"""A program: ``onex gc`` on a store, killed by signal 9 at a named point. Each transaction cuts one instance."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from onex.adapters.sqlite.store import SqliteStore
from onex.cli.main import main
from onex.ports import Cut
from onex.replay import compaction


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    compaction.TOGETHER = 1  # type: ignore[misc]  # each cut in a transaction of its own
    if point in ("fsync", "link"):
        setattr(os, point, die)
        return
    when, number = point.split("-")
    left = int(number)
    cut = SqliteStore.cut

    async def counted(self: SqliteStore, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        nonlocal left
        left -= not dry
        if not dry and not left and when == "before":
            die()
        gone = await cut(self, cuts, at_us, dry=dry)
        if not dry and not left and when == "after":
            die()
        return gone

    SqliteStore.cut = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    store, file, point = sys.argv[1:]
    if point != "none":
        arm(point)
    sys.exit(main(["gc", "--older-than", "90d", "--archive", file, "--store", f"sqlite:///{Path(store)}"]))
