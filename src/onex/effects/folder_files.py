"""FolderFiles: the six operations on files below one root, and its quota. Blocking: the effect calls it in threads.

Each operation says what shall be, so doing it twice is doing it once:

    write   the file has these bytes         delete  there is no such file
    copy    ``to`` has the bytes of ``path``     move    ``to`` is there, and ``path`` is not

Theory of operation of a write: the bytes go into a new file in the same folder, with a random name that begins with ``.onex-``,
readable by its owner only. They are brought to the disk, the file is renamed to its name, and the folder is brought to the disk.
A crash leaves the old file or the new one, whole, and perhaps a ``.onex-`` file: the next process that works here removes those
that are an hour old.

The quota counts what lies below the root: looked up at the first write, then kept by what this process does, and looked up again
when a write would not fit or a minute is over. Other processes are seen at that look only, so the sum may be passed for so long
by what they write.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from blake3 import blake3

from ..kernel.errors import EffectFailed, EffectUnknown
from ..ports import Clock
from .rooted_path import RootedFolder, names_of, opened_file, path_refused

PART_OF_A_FILE: Final = ".onex-"
LEFTOVER_S: Final = 3600
LOOK_AGAIN_S: Final = 60.0
ENTRIES_MOST: Final = 1000
_CHUNK: Final = 1 << 20


class FileInfo(NamedTuple):
    """``digest`` is BLAKE3 in hex; ``changed``: this call did something."""

    path: str
    size: int
    digest: str
    changed: bool


class FolderEntry(NamedTuple):
    """``kind``: ``file`` or ``folder``."""

    name: str
    kind: str
    size: int


class FolderFiles:
    """Below one root. Paths are texts as ``names_of`` takes them. Any method raises EffectFailed, and OSError as it comes: then
    nothing was done. What was done and is perhaps not on the disk is EffectUnknown."""

    def __init__(self, root: str, clock: Clock, *, max_bytes: int | None, max_file_bytes: int) -> None:
        self.root = RootedFolder(root)
        self._clock, self._max_bytes, self._max_file_bytes = clock, max_bytes, max_file_bytes
        self._turn = threading.Lock()
        self._used: int | None = None
        self._looked_s = 0.0

    def write(self, path: str, data: bytes, *, replace: bool) -> FileInfo:
        names = names_of(path)
        if len(data) > self._max_file_bytes:
            raise EffectFailed(
                f"{path!a} would have {len(data):,} bytes; the target allows {self._max_file_bytes:,} (max_file_bytes)",
                code="file_too_large",
            )
        digest = blake3(data).hexdigest()
        with self.root.folder_of(names, make=True) as folder:
            there = self._there(folder, names[-1], path)
            if there is not None and there.size == len(data) and there.digest == digest:
                return there
            if there is not None and not replace:
                raise EffectFailed(f"{path!a} is there with other content, and was left as it is", code="already_there")
            grows = len(data) - (0 if there is None else there.size)
            with self._room(grows, path):
                _write_whole(folder, names[-1], data, replace=replace)
        return FileInfo(path, len(data), digest, True)

    def read(self, path: str) -> bytes:
        names = names_of(path)
        with self.root.folder_of(names) as folder:
            return self._content(folder, names[-1], path)

    def copy(self, path: str, to: str, *, replace: bool) -> FileInfo:
        return self.write(to, self.read(path), replace=replace)

    def move(self, path: str, to: str, *, replace: bool) -> FileInfo:
        names, target = names_of(path), names_of(to)
        moved = self._moved(names, target, path, to, replace=replace)
        if moved is not None:
            return moved
        try:
            with self.root.folder_of(target) as into:
                there = self._there(into, target[-1], to)
        except FileNotFoundError:
            there = None
        if there is None:
            raise EffectFailed(f"{path!a} is not there", code="no_such_file")
        return there  # it was moved before

    def _moved(
        self, names: tuple[str, ...], target: tuple[str, ...], path: str, to: str, *, replace: bool
    ) -> FileInfo | None:
        """None, and nothing is done, where there is no file to move."""
        with suppress(FileNotFoundError), self.root.folder_of(names) as folder:
            moved = self._there(folder, names[-1], path)
            if moved is None or names == target:
                return moved
            with self.root.folder_of(target, make=True) as into:
                there = self._there(into, target[-1], to)
                if there is not None and not replace:
                    raise EffectFailed(f"{to!a} is there, and was left as it is", code="already_there")
                os.rename(names[-1], target[-1], src_dir_fd=folder, dst_dir_fd=into)
                _bring_to_disk(into, folder)
            if there is not None:
                self._count(-there.size)
            return moved._replace(path=to, changed=True)
        return None

    def delete(self, path: str) -> FileInfo:
        names = names_of(path)
        try:
            with self.root.folder_of(names) as folder:
                found = os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    raise path_refused(path, "it is a folder; only files are deleted")
                os.unlink(names[-1], dir_fd=folder)
                _bring_to_disk(folder)
        except FileNotFoundError:
            return FileInfo(path, 0, "", False)
        self._count(-found.st_size)
        return FileInfo(path, found.st_size, "", True)

    def list(self, path: str) -> list[FolderEntry]:
        """By name, links and other things left out; ``.`` is the root itself."""
        found: list[FolderEntry] = []
        with self.root.folder(() if path == "." else names_of(path)) as folder, os.scandir(folder) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.name.startswith(PART_OF_A_FILE) or not (is_folder or entry.is_file(follow_symlinks=False)):
                    continue
                size = 0 if is_folder else entry.stat(follow_symlinks=False).st_size
                found.append(FolderEntry(entry.name, "folder" if is_folder else "file", size))
                if len(found) > ENTRIES_MOST:
                    raise EffectFailed(f"{path!a} holds more than {ENTRIES_MOST:,} entries", code="too_many_entries")
        return sorted(found)

    def close(self) -> None:
        self.root.close()

    # --- content ----------------------------------------------------------------------------------------------------------

    def _there(self, folder: int, name: str, path: str) -> FileInfo | None:
        """The plain file that has this name now. A link there is not followed, and not taken for a file."""
        try:
            descriptor = opened_file(folder, name, path)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            seen, size = blake3(), 0
            while chunk := file.read(_CHUNK):
                seen.update(chunk)
                size += len(chunk)
        return FileInfo(path, size, seen.hexdigest(), False)

    def _content(self, folder: int, name: str, path: str) -> bytes:
        with os.fdopen(opened_file(folder, name, path), "rb") as file:
            data = file.read(self._max_file_bytes + 1)
        if len(data) > self._max_file_bytes:
            raise EffectFailed(
                f"{path!a} has more than {self._max_file_bytes:,} bytes (max_file_bytes of the target)",
                code="file_too_large",
            )
        return data

    # --- quota ------------------------------------------------------------------------------------------------------------

    def _room(self, grows: int, path: str) -> _Room:
        if self._max_bytes is None and self._used is None:
            self._look()  # once, for what a crash left
        if self._max_bytes is not None:
            with self._turn:
                old = self._clock.monotonic() - self._looked_s > LOOK_AGAIN_S
                if self._used is None or old or self._used + grows > self._max_bytes:
                    self._look()
                assert self._used is not None, "it was looked up"
                if grows > 0 and self._used + grows > self._max_bytes:
                    raise EffectFailed(
                        f"{path!a} does not fit: the root holds {self._used:,} bytes of {self._max_bytes:,} (max_bytes); "
                        "delete something, then try again",
                        retryable=True,
                        code="quota_exceeded",
                    )
                self._used += grows
        return _Room(self, grows)

    def _count(self, grows: int) -> None:
        if self._max_bytes is not None:
            with self._turn:
                if self._used is not None:
                    self._used = max(0, self._used + grows)

    def _look(self) -> None:
        """What lies below the root; leftovers of crashes go."""
        used, before_s = 0, self._clock.now_us() / 1_000_000 - LEFTOVER_S
        for folder, name, found in self._walk():
            if name.startswith(PART_OF_A_FILE) and found.st_mtime < before_s:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
            else:
                used += found.st_size
        self._used, self._looked_s = used, self._clock.monotonic()

    def _walk(self) -> Iterator[tuple[int, str, os.stat_result]]:
        with self.root.folder(()) as top:
            for _, _, files, folder in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                for name in files:
                    with suppress(OSError):
                        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield folder, name, found


class _Room:
    """Room that is taken in the quota; given back when what it was taken for fails."""

    def __init__(self, files: FolderFiles, grows: int) -> None:
        self._files, self._grows = files, grows

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._files._count(-self._grows)


def _write_whole(folder: int, name: str, data: bytes, *, replace: bool) -> None:
    made = f"{PART_OF_A_FILE}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(made, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.rename(made, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(made, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)  # never replaces
            os.unlink(made, dir_fd=folder)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(made, dir_fd=folder)
        if isinstance(error, FileExistsError):
            raise EffectFailed(f"{name!a} came there meanwhile, and was left as it is", code="already_there") from error
        raise
    _bring_to_disk(folder)


def _bring_to_disk(*folders: int) -> None:
    """The names in them. An error is unknown: the change is there, and may be gone after a power cut."""
    try:
        for folder in folders:
            os.fsync(folder)
    except OSError as error:
        raise EffectUnknown(
            f"the folder was changed, and is not on the disk: {error.strerror}", code="not_on_disk"
        ) from error
