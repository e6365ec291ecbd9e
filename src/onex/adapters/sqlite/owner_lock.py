"""The lock unconditional a store that says who owns it: held by one open file, freed by the kernel when its process dies.

In the locked file stand three things, each where it can be written at one stroke and outlives its writer: a sign that
senders leave after their commit, which file the store was when it was taken (``sqlite_place``), and what its owner is
judging.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes
from struct import Struct
from threading import Lock
from typing import Final
from zlib import crc32

from ...kernel.errors import DatabaseConnectionError
from ..fork_cleanup import release_in_forked_child
from ..store_limits import JUDGING_BYTES

WAKE_TOKEN_BYTES: Final = 8
IDENTITY_AT: Final = 16
IDENTITY_BYTES: Final = 48
_RECORD_AT: Final = IDENTITY_AT + IDENTITY_BYTES
_HEAD: Final = Struct("<II")  # length and CRC-32 of the record, which stands behind them
_NOTHING: Final = _HEAD.pack(0, 0)


def lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-owner")


class OwnerLock:
    """``flock`` belongs to the open file, so a second lock in the same process is refused like any other.

    It is not taken on the database file itself, whose every closed descriptor would drop SQLite's own locks on it: a
    second *name* of that file is found by where it stands, or refused (``sqlite_place``). A forked child lets go of it.
    """

    def __init__(self, path: Path, mode: int = 0o644) -> None:
        """``mode`` for the file when it is made: who may write the store may leave its sign here."""
        self.path = path
        self._mode = mode
        self._descriptor: int | None = None
        self._using = Lock()  # a descriptor's number is given again: none may be written to after it was closed
        release_in_forked_child(self)

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def take(self) -> bool:
        """False: somebody holds it. Raises DatabaseConnectionError when the file cannot be made."""
        if self._descriptor is not None:
            return False
        while True:
            try:
                descriptor = self._opened()
            except FileNotFoundError:  # there a moment ago
                continue
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

    def _opened(self) -> int:
        if not self.path.parent.is_dir():
            raise NotADirectoryError(f"there is no folder {self.path.parent}")
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._mode)
        except FileExistsError:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        with suppress(OSError):  # what the umask took away; where modes are not kept there is nothing to give
            os.fchmod(descriptor, self._mode)
        return descriptor

    def write(self, record: bytes) -> None:
        """The record from now on, as far as the machine stays up; b'' clears it. From any thread; never waits for the disk.

        One over 64 KiB is kept as none, and so is any while the lock is not held. A full disk keeps the old one or none.
        """
        fits = 0 < len(record) <= JUDGING_BYTES
        # never cut: the room of an old record is room for the next one, also when the disk is full
        self._put(_HEAD.pack(len(record), crc32(record)) + record if fits else _NOTHING, _RECORD_AT)

    def read(self) -> bytes:
        """The record as it stands; b'' where there is none, where it is torn, and while the lock is not held."""
        found = self._got(_HEAD.size + JUDGING_BYTES, _RECORD_AT)
        if len(found) < _HEAD.size:
            return b""
        length, checksum = _HEAD.unpack_from(found)
        record = found[_HEAD.size : _HEAD.size + length]
        return record if len(record) == length and crc32(record) == checksum else b""

    def write_identity(self, identity: bytes) -> None:
        """Which file this owner owns; b'' for none."""
        self._put(identity.ljust(IDENTITY_BYTES, b"\0"), IDENTITY_AT)

    def wake_token(self) -> bytes:
        """What the last sender left here: another value than before means that somebody has sent."""
        return self._got(WAKE_TOKEN_BYTES, 0)

    def _put(self, data: bytes, at: int) -> None:
        with self._using:
            if self._descriptor is not None:
                with suppress(OSError):
                    os.pwrite(self._descriptor, data, at)

    def _got(self, size: int, at: int) -> bytes:
        with self._using:
            if self._descriptor is not None:
                with suppress(OSError):
                    return os.pread(self._descriptor, size, at)
        return b""

    def free(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        with self._using:
            if self._descriptor is not None:
                with suppress(OSError):  # a copy of the descriptor that somebody else has must not keep the lock
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                os.close(self._descriptor)
                self._descriptor = None

    def forget_parent(self) -> None:
        """Closed, not undone: the parent's lock is this one's too."""
        self._using = Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def leave_wake_token(path: Path) -> None:
    """Tell the owner whose lock stands at ``path`` that something was sent. Nobody may be there, or not be to be told."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, token_bytes(WAKE_TOKEN_BYTES), 0)
        finally:
            os.close(descriptor)


def owner_of(path: Path) -> int | None:
    """The living process that took the lock at ``path``, by the system's lists; None: none, or it cannot be told."""
    try:
        inode = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # "1: FLOCK  ADVISORY  WRITE 4711 08:01:1337 0 EOF"
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].split(":")[-1] == inode and words[4].isdecimal():
            pid = int(words[4])
            # who took it may have ended while a child keeps it; its number may even be another's by now
            return pid if pid and _has_open(pid, path) is not False else None
    return None


def holders_of(path: Path) -> list[int]:
    """Living processes that have the file at ``path`` open, as far as this one may look."""
    try:
        pids = sorted(int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
    except OSError:
        return []
    return [pid for pid in pids if _has_open(pid, path)]


def _has_open(pid: int, path: Path) -> bool | None:
    """None: it is there and does not let us look."""
    try:
        ours, folder = path.stat(), Path(f"/proc/{pid}/fd")
        for one in folder.iterdir():
            with suppress(OSError):
                found = one.stat()
                if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                    return True
    except PermissionError:
        return None
    except OSError:
        return False
    return False
