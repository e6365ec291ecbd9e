"""What remains after a crash: a store's file or tables, opened by one process after the other, and read by the checks."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ..adapters.memory.read import Tables
from ..adapters.memory.store import MemoryStore
from ..adapters.sqlite.core import SqliteCore
from ..adapters.store_errors import DiskFull, StoreBusy, StoreReadOnly
from ..kernel.errors import OnexError
from .host import SimulationError

Handle = MemoryStore | SqliteCore
"""One process's connection to the store. None of its calls waits."""


class EnumDiskFault(StrEnum):
    """Why nobody can write. On a file the fault is real, so that SQLite's own errors are met."""

    NONE = "fine"
    FULL = "disk full"
    BUSY = "store held by another writer"
    READ_ONLY = "disk read-only"


_ERRORS = {EnumDiskFault.FULL: DiskFull, EnumDiskFault.BUSY: StoreBusy, EnumDiskFault.READ_ONLY: StoreReadOnly}


class Disk(Protocol):
    """``written`` is set when another process has written into the inbox.

    ``networked``: as with a database server, ownership can be taken from a live process, and a commit can arrive after its
    sender died. With a file neither can happen: its lock, and what its process was writing, end with the process.
    """

    networked: bool
    written: asyncio.Event
    fault: EnumDiskFault

    def open(self, probe: Callable[[str], None]) -> Handle: ...

    def crash(self, handle: Handle) -> None:
        """What the operating system does when a process dies: it frees the owner's lock and drops an open transaction."""

    def take_ownership(self) -> None:
        """Frees the ownership while its owner lives and does not know. Only where ``networked``."""

    def set_fault(self, fault: EnumDiskFault) -> None:
        """From now on nobody can write, for this reason, until ``NONE`` is set."""

    def refuses(self) -> OnexError | None:
        """The error that a write gets now, where the handle would not find the fault by itself."""

    def close(self) -> None: ...


class MemoryDisk:
    networked = True

    def __init__(self) -> None:
        self.tables = Tables()
        self.written = asyncio.Event()
        self.fault = EnumDiskFault.NONE

    def open(self, probe: Callable[[str], None]) -> Handle:
        return MemoryStore(self.tables)

    def crash(self, handle: Handle) -> None:
        if self.tables.owner is handle:
            self.tables.owner = None

    def take_ownership(self) -> None:
        self.tables.owner = None

    def set_fault(self, fault: EnumDiskFault) -> None:
        self.fault = fault

    def refuses(self) -> OnexError | None:
        error = _ERRORS.get(self.fault)
        return None if error is None else error(f"{self.fault}, as the simulation had it")

    def close(self) -> None:
        """Nothing is held."""


class SqliteDisk:
    """A file copied from ``empty``, an empty store: making the tables each time would take longer than the run."""

    networked = False

    def __init__(self, folder: Path, empty: Path) -> None:
        self.path = folder / "store.db"
        shutil.copyfile(empty, self.path)
        self.written = asyncio.Event()
        self._open: list[SqliteCore] = []
        self.fault = EnumDiskFault.NONE
        self._elsewhere: sqlite3.Connection | None = None

    def open(self, probe: Callable[[str], None]) -> Handle:
        core = SqliteCore(self.path, synchronous="off", wait_ms=0, probe=probe)
        self._open.append(core)
        _break_disk(core, self.fault)
        return core

    def crash(self, handle: Handle) -> None:
        assert isinstance(handle, SqliteCore)
        handle.drop()
        if handle in self._open:
            self._open.remove(handle)

    def take_ownership(self) -> None:
        raise SimulationError(f"{self.path} has an owner's lock: it is freed by a crash")

    def set_fault(self, fault: EnumDiskFault) -> None:
        other = self.other_process()
        if other.in_transaction:
            other.execute("rollback")
        self.fault = fault
        for core in self._open:
            _break_disk(core, fault)
        if fault is EnumDiskFault.BUSY:
            other.execute("begin immediate")

    def refuses(self) -> OnexError | None:
        return None

    def other_process(self) -> sqlite3.Connection:
        """The connection of another process, which writes past the owner."""
        if self._elsewhere is None:
            self._elsewhere = sqlite3.connect(self.path, isolation_level=None)
        return self._elsewhere

    def close(self) -> None:
        if self._elsewhere is not None:
            self._elsewhere.close()
        for core in self._open:
            core.drop()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()


def _break_disk(core: SqliteCore, fault: EnumDiskFault) -> None:
    """A full disk is a file that must not grow: SQLite then says so itself, in the middle of a transaction."""
    ask = core._connection.execute  # the core has no way to break by request, and needs none
    with suppress(sqlite3.ProgrammingError):  # its process has closed it
        ask("pragma busy_timeout = 0").fetchall()  # a wait for the other writer would be real time
        ask(f"pragma max_page_count = {1 if fault is EnumDiskFault.FULL else 1 << 30}").fetchall()
        ask(f"pragma query_only = {int(fault is EnumDiskFault.READ_ONLY)}").fetchall()
