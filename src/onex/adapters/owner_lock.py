"""The lock beside a store that says who owns it: held by one open file, freed by the kernel when its process dies.

In the locked file stands one record: what its owner is judging. It survives the owner, so the next one knows what the
last one died over.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Final
from zlib import crc32

from ..kernel.errors import DatabaseConnectionError

RECORD_BYTES: Final = 65_536
_HEAD: Final = Struct("<II")  # length and CRC-32 of the record, which stands behind them
_NOTHING: Final = _HEAD.pack(0, 0)


class OwnerLock:
    """``flock`` belongs to the open file, so a second lock in the same process is refused like any other.

    A process that is forked (not started anew) while the lock is held shares the open file and keeps it locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._using = Lock()  # a descriptor's number is given again: none may be written to after it was closed

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def take(self) -> bool:
        """False: somebody holds it. Raises DatabaseConnectionError when the file cannot be made."""
        if self._descriptor is not None:
            return False
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise DatabaseConnectionError(
                    f"the owner's lock {self.path} cannot be made: {error}; check owner and mode of its folder",
                    path=str(self.path),
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = os.fstat(descriptor)
                found = os.stat(self.path)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except FileNotFoundError:  # removed between open and lock: what we hold is a file nobody else will find
                os.close(descriptor)
                continue
            if (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino):
                self._descriptor = descriptor
                return True
            os.close(descriptor)

    def write(self, record: bytes) -> None:
        """The record from now on, as far as the machine stays up; b'' clears it. From any thread; never waits for the disk.

        One over 64 KiB is kept as none, and so is any while the lock is not held. A full disk keeps the old one or none.
        """
        fits = 0 < len(record) <= RECORD_BYTES
        # never cut: the room of an old record is room for the next one, also when the disk is full
        written = _HEAD.pack(len(record), crc32(record)) + record if fits else _NOTHING
        with self._using:
            if self._descriptor is not None:
                try:
                    os.pwrite(self._descriptor, written, 0)
                except OSError:
                    return

    def read(self) -> bytes:
        """The record as it stands; b'' where there is none, where it is torn, and while the lock is not held."""
        with self._using:
            if self._descriptor is None:
                return b""
            try:
                found = os.pread(self._descriptor, _HEAD.size + RECORD_BYTES, 0)
            except OSError:
                return b""
        if len(found) < _HEAD.size:
            return b""
        length, checksum = _HEAD.unpack_from(found)
        record = found[_HEAD.size : _HEAD.size + length]
        return record if len(record) == length and crc32(record) == checksum else b""

    def free(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        with self._using:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
