"""What outlasts a crash: a store's file or tables, opened by one process after the other, and read by the checker."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Protocol

from ..adapters.memory.read import Tables
from ..adapters.memory.store import MemoryStore
from ..adapters.sqlite.core import SqliteCore
from ..adapters.sqlite.errors import DiskFull, StoreBusy, StoreReadOnly
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from .host import SimulationError

Handle = MemoryStore | SqliteCore
"""A process's own way into the store: nothing in it waits."""


class EnumDiskFault(StrEnum):
    """What a disk can have. With a file it is brought about for real, so that SQLite's own answers are met."""

    NONE = "fine"
    FULL = "disk full"
    BUSY = "store held by another writer"
    READ_ONLY = "disk read-only"


_ERRORS = {EnumDiskFault.FULL: DiskFull, EnumDiskFault.BUSY: StoreBusy, EnumDiskFault.READ_ONLY: StoreReadOnly}


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

    def take_ownership(self) -> None:
        """Frees the ownership under a living owner's feet. Only where ``networked``."""

    def set_fault(self, fault: EnumDiskFault) -> None:
        """From now on nobody can write, for this reason, until it is ``NONE`` again."""

    def refuses(self) -> OnexError | None:
        """What a write gets here and now, where the handle cannot find out by itself."""

    def lease(self, key: WorkflowKey, lease_id: bytes | None, until_us: int) -> bool:
        """Writes who leads an instance, as another process would. False: there is no such instance, or no way to write."""

    def turn(self, n: int, column: str, chance: Random) -> bool:
        """Turns one bit of this column of the log's row ``n``. False: it holds nothing."""

    def close(self) -> None: ...


class MemoryDisk:
    networked = True

    def __init__(self) -> None:
        self.tables = Tables()
        self.written = asyncio.Event()
        self._fault = EnumDiskFault.NONE

    def open(self, probe: Callable[[str], None]) -> Handle:
        return MemoryStore(self.tables)

    def crash(self, handle: Handle) -> None:
        if self.tables.owner is handle:
            self.tables.owner = None

    def take_ownership(self) -> None:
        self.tables.owner = None

    def set_fault(self, fault: EnumDiskFault) -> None:
        self._fault = fault

    def refuses(self) -> OnexError | None:
        error = _ERRORS.get(self._fault)
        return None if error is None else error(f"{self._fault}, as the simulation had it")

    def lease(self, key: WorkflowKey, lease_id: bytes | None, until_us: int) -> bool:
        stored = self.tables.stored.get(key)
        if stored is None:
            return False
        self.tables.stored[key] = stored._replace(lease_id=lease_id, lease_until_us=until_us)
        return True

    def turn(self, n: int, column: str, chance: Random) -> bool:
        entry = self.tables.log[n - 1]
        of_row = column in entry.row._fields
        value = turned(getattr(entry.row if of_row else entry, column), chance)
        if value is not None:
            change = {column: value}
            self.tables.log[n - 1] = (
                entry._replace(row=entry.row._replace(**change)) if of_row else entry._replace(**change)  # type: ignore[arg-type]  # of the type it had
            )
        return value is not None

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
        self._fault = EnumDiskFault.NONE
        self._elsewhere: sqlite3.Connection | None = None

    def open(self, probe: Callable[[str], None]) -> Handle:
        core = SqliteCore(self.path, synchronous="off", wait_ms=0, probe=probe)
        self._open.append(core)
        _break_disk(core, self._fault)
        return core

    def crash(self, handle: Handle) -> None:
        assert isinstance(handle, SqliteCore)
        handle.drop()
        if handle in self._open:
            self._open.remove(handle)

    def take_ownership(self) -> None:
        raise SimulationError(f"{self.path} has an owner's lock: it is freed by a crash")

    def set_fault(self, fault: EnumDiskFault) -> None:
        other = self._other()
        if other.in_transaction:
            other.execute("rollback")
        self._fault = fault
        for core in self._open:
            _break_disk(core, fault)
        if fault is EnumDiskFault.BUSY:
            other.execute("begin immediate")

    def refuses(self) -> OnexError | None:
        return None

    def lease(self, key: WorkflowKey, lease_id: bytes | None, until_us: int) -> bool:
        if self._fault is not EnumDiskFault.NONE:
            return False
        written = self._other().execute(
            "update workflow_state set lease_id = ?, lease_until_us = ? where workflow_type = ? and instance_id = ?",
            (lease_id, until_us, *key),
        )
        return written.rowcount == 1

    def turn(self, n: int, column: str, chance: Random) -> bool:
        (before,) = self._other().execute(f"select {column} from log where n = ?", (n,)).fetchone()  # noqa: S608 - a name of ours
        value = turned(before, chance)
        if value is not None:
            self._other().execute(f"update log set {column} = ? where n = ?", (value, n))  # noqa: S608 - a name of ours
        return value is not None

    def _other(self) -> sqlite3.Connection:
        """Another process's connection."""
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


def turned(value: object, chance: Random) -> object | None:
    """``value`` with one bit of it the other way, still of its type; None where there is nothing to turn."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(20)
    raw = bytearray(value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b"")
    if not raw:
        return None
    raw[chance.randrange(len(raw))] ^= 1
    return raw.decode() if isinstance(value, str) else bytes(raw)


def _break_disk(core: SqliteCore, fault: EnumDiskFault) -> None:
    """Full is a file that must not grow from here: SQLite itself then says so, in mid transaction."""
    ask = core._connection.execute  # the core has no way to fall ill by request, and needs none
    with suppress(sqlite3.ProgrammingError):  # its process has closed it
        ask("pragma busy_timeout = 0").fetchall()  # a wait for the other writer would be real time
        ask(f"pragma max_page_count = {1 if fault is EnumDiskFault.FULL else 1 << 30}").fetchall()
        ask(f"pragma query_only = {int(fault is EnumDiskFault.READ_ONLY)}").fetchall()
