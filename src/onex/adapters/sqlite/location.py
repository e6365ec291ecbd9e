"""Where a store stands: its one name, and whether the files under it are still those that were opened.

SQLite goes on with the files it opened, also when others stand under their names by now; what it writes then is answered
as durable, and nobody finds it again. So they are known by device and inode, and looked at before anything is answered.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from ...kernel.errors import DatabaseConnectionError, TemporaryDatabaseError
from .errors import NotAStore, StoreLinked, StoreReplaced
from .owner_lock import IDENTITY_AT, IDENTITY_BYTES, lock_path

Identity = tuple[int, int]

_RECORD: Final = Struct("<IQQQQI")  # CRC-32 of the rest, device and inode of the file and of its WAL, the WAL's salt
_SALT: Final = Struct(">I")  # in the WAL's header; one more each time the WAL begins anew
_SALT_AT: Final = 16
_BEGINNINGS: Final = 1 << 24  # of one WAL: a file made since has a salt by chance
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
    """The one name of a store: absolute, with every link followed, so that one file has one WAL and one owner.

    Nothing need be there. Raises NotAStore for what is no file, StoreLinked for a file with a second name, which no
    following of links could find, DatabaseConnectionError for a path that leads nowhere.
    """
    try:
        real = Path(os.path.realpath(path))
        found = os.stat(real)
    except FileNotFoundError:
        return real
    except (OSError, ValueError) as error:
        raise DatabaseConnectionError(f"{str(path)!a} leads nowhere: {error}; name another path") from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise NotAStore(f"{path} is {kind}, and a store is a file; name another path", path=str(path))
    if found.st_nlink > 1:
        raise StoreLinked(
            f"{path} is one file with {found.st_nlink} names (hard links), and SQLite would keep a WAL unconditional each of "
            "them. Remove the other names, or copy the file and open the copy",
            path=str(path),
        )
    return real


def check_mount(path: Path) -> None:
    """Raises StoreLinked for a file that is mounted by itself: its WAL would stand in another folder than its maker's."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:  # no such list on this system
        return
    if any(words[4] == _octal(str(path)) for words in map(str.split, lines) if len(words) > 4):
        raise StoreLinked(
            f"{path} is a file mounted by itself: its WAL and its owner's lock would stand in another folder than those of "
            "who uses it under its first name. Mount its folder",
            path=str(path),
        )


def _octal(path: str) -> str:
    """As the list of mounts writes it."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


class StoreFiles:
    """The files of an open store: what stood under their names before SQLite opened them must go on standing there."""

    def __init__(self, path: Path) -> None:
        """Before SQLite opens it. ``path`` is ``real_path``."""
        self.path = path
        self._seen: dict[str, Identity | None] = {}
        self.watch(path)

    def watch(self, path: Path) -> None:
        """From now on this one is looked at too."""
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
        """The file's bytes. One look for each name, 1 us each.

        Raises StoreReplaced; TemporaryDatabaseError when a name cannot be looked at now.
        """
        size = -1
        for name, seen in self._seen.items():
            try:  # asked at every commit, so the common case is as short as it can be
                now = os.stat(name)
                if seen == (now.st_dev, now.st_ino):
                    size = now.st_size if size < 0 else size
                    continue
            except OSError:
                pass  # looked at once more below, which tells one reason from another
            found, there = self._look(name)
            if found != seen:
                raise self._replaced(name, "nothing stands there" if found is None else "another file stands there")
            if size < 0:  # the first is the store itself
                size = there
        return size

    def _replaced(self, name: str, now: str) -> StoreReplaced:
        return StoreReplaced(
            f"{name} was removed, moved or replaced while the store was open here: {now}. What was answered before may be "
            "in the file that was taken away; nothing more is answered as durable. Stop every process on it, put the "
            "right store in place, without a -wal and -shm that are not its own, and start again",
            path=str(self.path),
        )

    def other_store(self, what: str) -> StoreReplaced:
        """The same file, and in it another store than this owner wrote."""
        return StoreReplaced(
            f"{self.path} holds an older copy of the store than was written here: {what}. It was put in place while it was "
            "open; nothing more is answered as durable. Stop every process on it, put the copy in place again, without "
            "-wal and -shm, and start again",
            path=str(self.path),
        )

    def record(self) -> bytes:
        """For ``check_wal_belongs`` of whoever opens the store after this owner. b'' when there is no WAL to tell of."""
        wal_name = wal_path(self.path)
        file, wal, salt = self._seen[str(self.path)], self._seen.get(str(wal_name)), _salt(wal_name)
        if file is None or wal is None or salt is None:
            return b""
        told = _RECORD.pack(0, *file, *wal, salt)[4:]
        return _RECORD.pack(crc32(told), *file, *wal, salt)


def check_wal_belongs(path: Path) -> None:
    """Before SQLite opens it: that the WAL unconditional the file is not that of a file which stood here before.

    Somebody put a backup in place and left the old WAL there: SQLite would write the old pages over the backup. Raises
    StoreReplaced, whether that WAL's owner still runs or died with it.
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
            f"{path} is not the file that {wal.name} belongs to: another one was put in its place, and the WAL of the old "
            f"one was left. Stop every process on it, move {wal.name} and {path.name}-shm away, and open it again; opened "
            "as it is, the file would be damaged",
            path=str(path),
        )


def _salt(wal: Path) -> int | None:
    """None: there is no WAL, or nothing in it. SQLite keeps no lock on this file that closing it here could drop."""
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
