"""The owner's lock: a file beside the store (``FILE-owner``) that one process locks, and the kernel frees at its death.

Theory of operation. The lock is ``flock``, which belongs to an open file. It is not taken on the database file itself: closing
any descriptor of that file would drop SQLite's own locks on it. The locked file also holds four values. Each outlives the process
that wrote it, and the first three are written by one ``pwrite``:

    bytes  0-7   wake token: random, written by a sender after its commit, so that the owner looks into the inbox
    bytes 16-63  identity: device, inode and WAL of the store when it was taken (``location.StoreFiles.record``)
    bytes 64-    judging: length, CRC-32, and what the owner's engine was judging, up to 64 KiB
    bytes 128Ki- crash: the traceback of a step that did not return, written from C by the process that it ended

What may go wrong:

- The file is removed between its opening and its locking: then we hold a file that nobody else will find. So the inode is
  compared after locking, and taking begins again.
- A value is half written at a crash: the CRC-32 does not fit, and the value is read as none.
- The disk is full: the old value or none stays. A missing token costs a sender some waiting; a missing identity or record
  costs a check, never an action.
- A forked child inherits the lock: it closes its copy at once (``fork_cleanup``). ``free`` unlocks before it closes, so a copy
  that somebody else still has does not keep the lock.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from secrets import token_bytes
from struct import Struct
from threading import Lock
from typing import Final
from zlib import crc32

from ..kernel.errors import DatabaseConnectionError
from ..ports import STUCK
from .fork_cleanup import release_in_forked_child
from .store_limits import JUDGING_BYTES

WAKE_TOKEN_BYTES: Final = 8
IDENTITY_AT: Final = 16
IDENTITY_BYTES: Final = 48
_RECORD_AT: Final = IDENTITY_AT + IDENTITY_BYTES
_HEAD: Final = Struct("<II")  # length and CRC-32 of the record, which stands behind them
_NOTHING: Final = _HEAD.pack(0, 0)
_CRASH_AT: Final = 128 << 10
_CRASH_BYTES: Final = 4096
_OURS: Final = os.fsencode(Path(__file__).resolve().parents[1])
_FRAME: Final = re.compile(rb'File "([^"\n]+)", line (\d+) in ([^\n]+)')


def lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-owner")


class OwnerLock:
    """The lock and the four values. A second lock on the same file is refused, also in the same process."""

    def __init__(self, path: Path, mode: int = 0o644) -> None:
        """``mode`` is given to a new file: whoever may write the store may leave a wake token here."""
        self.path = path
        self._mode = mode
        self._descriptor: int | None = None
        self._using = Lock()  # numbers of descriptors are reused: none may be written to after it was closed
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
            except FileNotFoundError:  # it was there a moment ago; begin again
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
            except FileNotFoundError:  # removed between open and lock: nobody else would find the file we hold
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
        with suppress(OSError):  # give back what the umask took away; some file systems keep no modes
            os.fchmod(descriptor, self._mode)
        return descriptor

    def write(self, record: bytes) -> None:
        """Keep the judging record as long as the machine stays up; b'' clears it. From any thread; never waits for the disk.

        A record over 64 KiB is kept as none, and so is any while the lock is not held. A full disk keeps the old one or none.
        """
        fits = 0 < len(record) <= JUDGING_BYTES
        # The file is never made shorter: so a full disk still has the room of the old record for the next one.
        self._put(_HEAD.pack(len(record), crc32(record)) + record if fits else _NOTHING, _RECORD_AT)

    def read(self) -> bytes:
        """The judging record. b'' when there is none, when it is half written, and while the lock is not held.

        Where a crash was written, ``STUCK``, where that was, and a line feed stand before it. It is told once.
        """
        crash = self._got(_CRASH_BYTES, _CRASH_AT).strip(b"\0")
        if not crash:
            return self._record()
        self._put(bytes(_CRASH_BYTES), _CRASH_AT)
        return STUCK + _where(crash) + b"\n" + self._record()

    def _record(self) -> bytes:
        found = self._got(_HEAD.size + JUDGING_BYTES, _RECORD_AT)
        if len(found) < _HEAD.size:
            return b""
        length, checksum = _HEAD.unpack_from(found)
        record = found[_HEAD.size : _HEAD.size + length]
        return record if len(record) == length and crc32(record) == checksum else b""

    def write_identity(self, identity: bytes) -> None:
        """Keep which file this owner owns; b'' for none."""
        self._put(identity.ljust(IDENTITY_BYTES, b"\0"), IDENTITY_AT)

    def wake_token(self) -> bytes:
        """The token of the last sender. Another value than before means that somebody has sent."""
        return self._got(WAKE_TOKEN_BYTES, 0)

    def crash_file(self) -> int | None:
        """A descriptor of its own, for the caller to close: what is written there is a crash. None while the lock is not held."""
        with self._using:
            if self._descriptor is None:
                return None
            with suppress(OSError):
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
                os.lseek(descriptor, _CRASH_AT, os.SEEK_SET)
                return descriptor
        return None

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
        """Free the lock. Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        with self._using:
            if self._descriptor is not None:
                with suppress(OSError):  # unlock first: a copy of the descriptor elsewhere must not keep the lock
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                os.close(self._descriptor)
                self._descriptor = None

    def forget_parent(self) -> None:
        """Close without unlocking, which would free the parent's lock too."""
        self._using = Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _where(crash: bytes) -> bytes:
    """Of a traceback of ``faulthandler``, innermost first: the user's function that ours called, and what it is in."""
    frames = [b"%b:%b in %b" % found.groups() for found in _FRAME.finditer(crash)]
    of_user = list(takewhile(lambda frame: not frame.startswith(_OURS), frames)) or frames or [b"?"]
    return b", ".join(dict.fromkeys((of_user[-1], of_user[0])))


def leave_wake_token(path: Path) -> None:
    """After a send, wake the owner whose lock is at ``path``. Does nothing without an owner, or without the right to write."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, token_bytes(WAKE_TOKEN_BYTES), 0)
        finally:
            os.close(descriptor)


def owner_of(path: Path) -> int | None:
    """The living process that took the lock at ``path``, as ``/proc/locks`` lists it. None: there is none, or nobody can say."""
    try:
        inode = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # "1: FLOCK  ADVISORY  WRITE 4711 08:01:1337 0 EOF"
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].split(":")[-1] == inode and words[4].isdecimal():
            pid = int(words[4])
            # It may have ended while a child keeps the lock, and its number may belong to another process by now.
            return pid if pid and _has_open(pid, path) is not False else None
    return None


def holders_of(path: Path) -> list[int]:
    """Living processes that have the file at ``path`` open, of those whose files this process may list."""
    try:
        pids = sorted(int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
    except OSError:
        return []
    return [pid for pid in pids if _has_open(pid, path)]


def _has_open(pid: int, path: Path) -> bool | None:
    """None: the process is there, and its files may not be listed."""
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
