"""What SQLite writes and syncs, recorded in its order, and the files that a power cut would leave.

Theory of operation. ``recording`` puts a shim into SQLite's own VFS, by ctypes: the functions that write, cut and sync a file note
what they do and then call the original. So the store's real adapter runs on the real sqlite3 module, and nothing of it knows.

A disk keeps what was synced. Of what was written since, a power cut leaves anything: each write was done, or was not, or stopped in
the middle, whatever became of the writes before and after it. ``left_at`` draws one such outcome per file. It follows what SQLite
itself assumes of a disk: a write never damages bytes beside its range, and a sync that has returned holds.

Files that exist at the beginning are taken as synced. That a file was made or removed is taken as done.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

SECTOR: Final = 512
_VERSION_3: Final = 3


class NoShim(Exception):
    """This Python's SQLite cannot be reached, or is another than the one of ctypes."""


_Open = CFUNCTYPE(
    c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p
)  # SQLite keeps the pointer to the name: it is passed on as it is
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Methods(Structure):
    """``sqlite3_io_methods``, of any version that this knows."""

    _fields_: ClassVar = [
        ("version", c_int), ("close", c_void_p), ("read", c_void_p), ("write", _Write), ("truncate", _Truncate), ("sync", _Sync),
        ("rest", c_void_p * 12),
    ]  # fmt: skip


class _Vfs(Structure):
    """``sqlite3_vfs``."""

    _fields_: ClassVar = [
        ("version", c_int), ("file_bytes", c_int), ("path_bytes", c_int), ("next", c_void_p), ("name", c_char_p),
        ("data", c_void_p), ("open", _Open), ("rest", c_void_p * 14),
    ]  # fmt: skip


class Event(NamedTuple):
    """``data`` at ``offset`` was written; without data the file was cut to ``offset``; ``synced``: all before is on the disk."""

    path: str
    offset: int = 0
    data: bytes | None = None
    synced: bool = False


class RecordedDisk:
    """``events`` in their order. ``before[path]`` are the bytes of each file at the beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = {str(one): one.read_bytes() for one in folder.iterdir() if one.is_file()}
        self.events: list[Event] = []

    def left_at(self, end: int, chance: random.Random) -> Mapping[str, bytes]:
        """The files after a power cut behind ``events[:end]``."""
        paths = {*self.before, *(one.path for one in self.events[:end])}
        return {path: self._left(path, end, chance) for path in sorted(paths)}

    def _left(self, path: str, end: int, chance: random.Random) -> bytes:
        events = [one for one in self.events[:end] if one.path == path]
        synced = max((n for n, one in enumerate(events, 1) if one.synced), default=0)
        kept = bytearray(self.before.get(path, b""))
        for one in events[:synced]:
            _apply(kept, one)
        share = chance.random()  # of what was under way: sometimes nearly all of it, sometimes nearly nothing
        for one in events[synced:]:
            if chance.random() < share:
                _apply(kept, _torn(one, chance))
        return bytes(kept)


def _apply(file: bytearray, one: Event) -> None:
    if one.synced:
        return
    if one.data is None:
        del file[one.offset :]
        return
    file.extend(bytes(max(0, one.offset - len(file))))
    file[one.offset : one.offset + len(one.data)] = one.data


def _torn(one: Event, chance: random.Random) -> Event:
    """A write of several sectors may stop in the middle, or begin there."""
    if one.data is None or len(one.data) <= SECTOR or chance.random() < 0.5:
        return one
    at = SECTOR * chance.randrange(1, -(-len(one.data) // SECTOR))
    if chance.random() < 0.5:
        return one._replace(data=one.data[:at])
    return one._replace(data=one.data[at:], offset=one.offset + at)


@contextmanager
def recording(folder: Path) -> Iterator[RecordedDisk]:
    """Connections that are opened in the block are recorded, as far as their file lies in ``folder``. Raises NoShim.

    They must be closed before the block ends.
    """
    library = _library()
    disk = RecordedDisk(folder)
    names: dict[int, str] = {}  # of open files, by the address of SQLite's object
    original = _Vfs.from_address(library.sqlite3_vfs_find(None))
    shims: dict[int, _Methods] = {}  # by the address of the original methods; kept alive as long as files use them

    def methods_of(address: int) -> _Methods:
        if address not in shims:
            of = _Methods.from_address(address)
            shim = _Methods.from_buffer_copy(of)

            def write(file: int, data: int, size: int, offset: int) -> int:
                if file in names:
                    disk.events.append(Event(names[file], offset, ctypes.string_at(data, size)))
                return int(of.write(file, data, size, offset))

            def truncate(file: int, size: int) -> int:
                if file in names:
                    disk.events.append(Event(names[file], size))
                return int(of.truncate(file, size))

            def sync(file: int, flags: int) -> int:
                done = int(of.sync(file, flags))
                if file in names:
                    disk.events.append(Event(names[file], synced=True))
                return done

            shim.write, shim.truncate, shim.sync = _Write(write), _Truncate(truncate), _Sync(sync)
            shims[address] = shim
        return shims[address]

    def opened(vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        done = int(original.open(vfs, name, file, flags, out))
        pointer = ctypes.cast(file, POINTER(c_void_p))
        names.pop(file, None)
        if done == 0 and pointer[0]:
            path = "" if name is None else ctypes.string_at(name).decode()
            if Path(path).parent == folder:
                names[file] = path
            pointer[0] = ctypes.addressof(methods_of(pointer[0]))
        return done

    shim = _Vfs.from_buffer_copy(original)
    shim.name, shim.open = b"recorded", _Open(opened)
    library.sqlite3_vfs_register(ctypes.byref(shim), 1)
    try:
        yield disk
    finally:
        library.sqlite3_vfs_register(ctypes.byref(original), 1)
        library.sqlite3_vfs_unregister(ctypes.byref(shim))


def _library() -> ctypes.CDLL:
    """The SQLite that the sqlite3 module uses."""
    for name in (_sqlite3.__file__, "libsqlite3.so.0"):
        try:
            library = ctypes.CDLL(name)
            library.sqlite3_libversion.restype = c_char_p
            library.sqlite3_vfs_find.restype = c_void_p
            library.sqlite3_vfs_find.argtypes = [c_char_p]
            same = library.sqlite3_libversion().decode() == sqlite3.sqlite_version
        except (OSError, AttributeError, TypeError):
            continue
        if same and _Vfs.from_address(library.sqlite3_vfs_find(None)).version >= _VERSION_3:
            return library
    raise NoShim("the SQLite of this Python cannot be reached by ctypes")
