"""What outlasts a crash: a store's file or tables, opened by one process after the other, and read by the judge."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ...adapters.memory import MemoryStore, Tables
from ...adapters.sqlite_core import SqliteCore
from ..host import SimulationError

Handle = MemoryStore | SqliteCore
"""A process's own way into the store: nothing in it waits."""


class Disk(Protocol):
    """``written`` is set when another process has written into the inbox.

    ``networked``: as with a database server, ownership can be taken from the living, and a commit can arrive after its
    sender died. A file's lock ends with its process, and so does what that process was writing.
    """

    networked: bool
    written: asyncio.Event

    def open(self, probe: Callable[[str], None]) -> Handle: ...

    def crash(self, handle: Handle) -> None:
        """What the kernel does when a process dies: the owner's lock is free, an open transaction never was."""

    def steal(self) -> None:
        """Frees the ownership under a living owner's feet. Only where ``networked``."""

    def close(self) -> None: ...


class MemoryDisk:
    networked = True

    def __init__(self) -> None:
        self.tables = Tables()
        self.written = asyncio.Event()

    def open(self, probe: Callable[[str], None]) -> Handle:
        return MemoryStore(self.tables)

    def crash(self, handle: Handle) -> None:
        if self.tables.owner is handle:
            self.tables.owner = None

    def steal(self) -> None:
        self.tables.owner = None

    def close(self) -> None:
        """Nothing is held."""


class SqliteDisk:
    """A file copied from ``empty``, an empty store: making the tables anew would cost more than the run."""

    networked = False

    def __init__(self, folder: Path, empty: Path) -> None:
        self.path = folder / "store.db"
        shutil.copyfile(empty, self.path)
        self.written = asyncio.Event()
        self._open: list[SqliteCore] = []

    def open(self, probe: Callable[[str], None]) -> Handle:
        core = SqliteCore(self.path, synchronous="off", probe=probe)
        self._open.append(core)
        return core

    def crash(self, handle: Handle) -> None:
        assert isinstance(handle, SqliteCore)
        handle.drop()
        if handle in self._open:
            self._open.remove(handle)

    def steal(self) -> None:
        raise SimulationError(f"{self.path} has an owner's lock: it is freed by a crash")

    def close(self) -> None:
        for core in self._open:
            core.drop()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()
