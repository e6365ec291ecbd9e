"""The files of a store: their one real path, and whether they are still those that were opened.

Theory of operation. SQLite goes on with the files it has open, also when other files stand under their names by now. What
it writes then would be answered as durable, and nobody would find it again. Four cases are distinguished:

- One file with two names would get two WALs and two owners. ``real_path`` follows links; a hard link, or a file that is
  mounted by itself (``check_mount``), cannot be followed and is refused (StoreLinked).
- A file is moved, removed or replaced while it is open. ``StoreFiles`` knows each file by device and inode and compares them
  before each answer: one ``stat`` per file, 1 us each (StoreReplaced).
- The same file gets the content of an older copy. ``core`` sees it by the fence and the last position (``other_store``).
- A backup is put in place while the old WAL is left beside it. SQLite would write the old pages over the backup. So the
  owner records in its lock file which file belongs to which WAL (``record``), and ``check_wal_belongs`` compares them
  before SQLite opens anything. A WAL that begins anew counts its salt up by one, so the salt distinguishes it from a new file.

What may go wrong: a name that cannot be looked at proves nothing. That is TemporaryDatabaseError before a commit, and
CommitUnknown after one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from ...kernel.errors import DatabaseConnectionError, TemporaryDatabaseError
from ..owner_lock import IDENTITY_AT, IDENTITY_BYTES, lock_path
from ..store_errors import NotAStore
from .errors import StoreLinked, StoreReplaced

Identity = tuple[int, int]

_RECORD: Final = Struct("<IQQQQI")  # CRC-32 of the rest, device and inode of the file and of its WAL, the WAL's salt
_SALT: Final = Struct(">I")  # in the WAL's header; SQLite adds one each time the WAL begins anew
_SALT_AT: Final = 16
_BEGINNINGS: Final = 1 << 24  # how far the salt of one WAL may have moved; a new file has a random salt
MOUNTS: Final = Path("/proc/self/mountinfo")
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def wal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def real_path(path: Path) -> Path:
    """The one real path of a store: absolute, with every link followed, so that one file has one WAL and one owner.

    The file need not exist. Raises NotAStore for what is not a file, StoreLinked for a file with a hard link, whose other
    name cannot be found, and DatabaseConnectionError for a path that cannot be followed.
    """
    try:
        real = Path(os.path.realpath(path))
        found = os.stat(real)
    except FileNotFoundError:
        return real
    except (OSError, ValueError) as error:
        raise DatabaseConnectionError(
            f"the path {str(path)!a} cannot be followed: {error}; name another path"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "not a file")
        raise NotAStore(f"{path} is {kind}, and a store is a file; name another path", path=str(path))
    if found.st_nlink > 1:
        raise StoreLinked(
            f"{path} is one file with {found.st_nlink} names (hard links), and SQLite would keep a WAL beside each "
            "name. Remove the other names, or copy the file and open the copy",
            path=str(path),
        )
    return real


def check_mount(path: Path) -> None:
    """Raises StoreLinked for a file that is mounted by itself, since its WAL would stand in another folder than the file's own."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:  # no such list on this system
        return
    if any(words[4] == _octal(str(path)) for words in map(str.split, lines) if len(words) > 4):
        raise StoreLinked(
            f"{path} is a file mounted by itself. Whoever uses it under its first name has its WAL and its lock in another "
            "folder. Mount the whole folder instead",
            path=str(path),
        )


def _octal(path: str) -> str:
    """The path as the list of mounts writes it."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


class StoreFiles:
    """The files of an open store. The files that SQLite opened must stay under their names."""

    def __init__(self, path: Path) -> None:
        """Made before SQLite opens the file. ``path`` comes from ``real_path``."""
        self.path = path
        self._seen: dict[str, Identity | None] = {}
        self.watch(path)

    def watch(self, path: Path) -> None:
        """From now on ``check`` compares this file too."""
        name = str(path)
        self._seen[name] = self._look(name)[0]

    def _look(self, name: str) -> tuple[Identity | None, int]:
        try:
            found = os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return None, 0
        except OSError as error:
            raise TemporaryDatabaseError(f"{name} cannot be looked at: {error}", path=str(self.path)) from error
        return (found.st_dev, found.st_ino), found.st_size

    def check(self) -> int:
        """The size of the store's file in bytes. One ``stat`` for each name, 1 us each.

        Raises StoreReplaced; TemporaryDatabaseError when a name cannot be looked at now.
        """
        size = -1
        for name, seen in self._seen.items():
            try:  # called at every commit: the common case does no more than this
                now = os.stat(name)
                if seen == (now.st_dev, now.st_ino):
                    size = now.st_size if size < 0 else size
                    continue
            except OSError:
                pass  # ``_look`` below finds out which reason it was
            found, there = self._look(name)
            if found != seen:
                raise self._replaced(name, "no file is there" if found is None else "another file is there")
            if size < 0:  # the first is the store itself
                size = there
        return size

    def _replaced(self, name: str, now: str) -> StoreReplaced:
        return StoreReplaced(
            f"{name} was removed, moved or replaced while the store was open here: {now}. What was answered before may be "
            "in the file that was taken away; nothing more is answered as durable. Stop every process on it. Put the "
            "right store in place, without a -wal and -shm that are not its own, and start again",
            path=str(self.path),
        )

    def other_store(self, what: str) -> StoreReplaced:
        """The error for an open file whose content was replaced by that of an older copy."""
        return StoreReplaced(
            f"{self.path} holds an older copy of the store than was written here: {what}. It was put in place while it was "
            "open; nothing more is answered as durable. Stop every process on it. Put the copy in place again, without "
            "-wal and -shm, and start again",
            path=str(self.path),
        )

    def record(self) -> bytes:
        """Which file and WAL belong together, for ``check_wal_belongs`` of the next to open the store. b'': there is no WAL."""
        wal_name = wal_path(self.path)
        file, wal, salt = self._seen[str(self.path)], self._seen.get(str(wal_name)), _salt(wal_name)
        if file is None or wal is None or salt is None:
            return b""
        body = _RECORD.pack(0, *file, *wal, salt)[4:]
        return _RECORD.pack(crc32(body), *file, *wal, salt)


def check_wal_belongs(path: Path) -> None:
    """Call before SQLite opens the file. Raises StoreReplaced when the WAL beside it belongs to a file that stood here before.

    Then somebody put a backup in place and left the old WAL there, and SQLite would write the old pages over the backup. It
    does not matter whether the owner of that WAL still runs or has died. Without a record nothing is known, nor raised.
    """
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return
    try:
        raw = os.pread(descriptor, IDENTITY_BYTES, IDENTITY_AT)[: _RECORD.size]
    except OSError:
        return
    finally:
        os.close(descriptor)
    if len(raw) < _RECORD.size or crc32(raw[4:]) != _RECORD.unpack(raw)[0]:
        return
    _, device, inode, wal_device, wal_inode, then = _RECORD.unpack(raw)
    wal = wal_path(path)
    try:
        file_now, wal_now = os.stat(path), os.stat(wal)
    except OSError:
        return
    if (file_now.st_dev, file_now.st_ino) == (device, inode):
        return
    now = _salt(wal)
    if (wal_now.st_dev, wal_now.st_ino) != (wal_device, wal_inode) or now is None:
        return
    if (now - then) % (1 << 32) < _BEGINNINGS:
        raise StoreReplaced(
            f"{path} is not the file that {wal.name} belongs to: the file was replaced, and the WAL of the old one was left. "
            f"Stop every process on it, move {wal.name} and {path.name}-shm away, and open it again. Opened as it is, the "
            "file would be damaged",
            path=str(path),
        )


def _salt(wal: Path) -> int | None:
    """None: there is no WAL, or it is empty. Opening it here is safe: SQLite keeps no lock on it that closing could drop."""
    try:
        descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        raw = os.pread(descriptor, _SALT.size, _SALT_AT)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(raw) < _SALT.size:
        return None
    (salt,) = _SALT.unpack(raw)
    assert isinstance(salt, int)
    return salt
