"""A folder that nothing gets out of: every path below it is walked name by name, and no symbolic link is followed.

Theory of operation. The root is opened once, as a descriptor. A path is a list of names, none of them empty, ``.`` or ``..``, none
with a slash or a NUL. Each folder on the way is opened relative to the descriptor of the one before, with ``O_NOFOLLOW`` and
``O_DIRECTORY``; the file itself is opened, renamed or removed relative to the last of them. So no name is ever looked up from the
top, and between two looks nobody can put a link in the way: a name that has become a link is refused at that step
(``ELOOP`` or ``ENOTDIR``), and a folder that is moved while it is open stays the folder that it was.

A rename replaces the name, not what a link there points to. A file is never written in place, so a hard link to a file outside
is not written through either.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..kernel.errors import EffectFailed

NAME_BYTES: Final = 255
NAMES_MOST: Final = 32
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSED = (errno.ELOOP, errno.ENOTDIR)


def path_refused(text: str, why: str) -> EffectFailed:
    return EffectFailed(f"the path {text[:200]!a} is refused: {why}", code="path_refused")


def names_of(text: str) -> tuple[str, ...]:
    """The names of a path below a root. Raises EffectFailed ``path_refused`` for any that could lead elsewhere."""
    names = tuple(text.split("/"))
    if len(names) > NAMES_MOST:
        raise path_refused(text, f"it has more than {NAMES_MOST} names")
    for name in names:
        if name in ("", ".", ".."):
            why = "it begins at the top" if text.startswith("/") else "an empty name, . and .. lead elsewhere"
            raise path_refused(text, why)
        if not name.isprintable() and any(unicodedata.category(one) in ("Cc", "Cs") for one in name):
            raise path_refused(text, "it holds a control character, or a half of one that is no text")
        if len(name.encode()) > NAME_BYTES:
            raise path_refused(text, f"a name has at most {NAME_BYTES} bytes")
    return names


class RootedFolder:
    """The root. Its methods may be called from several threads."""

    def __init__(self, path: str) -> None:
        """Raises EffectFailed."""
        self.path = Path(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise EffectFailed(
                f"the root {path!a} cannot be opened: {why}; make this folder", retryable=True, code="root_missing"
            ) from error

    @contextmanager
    def folder_of(self, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder that holds the last name. ``make``: folders on the way are made, for their owner only.

        Raises FileNotFoundError, EffectFailed.
        """
        with self.folder(names[:-1], make=make) as descriptor:
            yield descriptor

    @contextmanager
    def folder(self, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """A descriptor of this folder. Raises FileNotFoundError, EffectFailed."""
        descriptor = os.dup(self._descriptor)
        try:
            for name in names:
                below = _opened_folder(descriptor, name, "/".join(names), make=make)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _opened_folder(parent: int, name: str, shown: str, *, make: bool) -> int:
    try:
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            os.fsync(parent)
        except FileExistsError:
            pass  # another call made it just now
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _REFUSED:
            raise path_refused(shown, f"{name!a} is a link or no folder") from error
        raise


def opened_file(folder: int, name: str, shown: str) -> int:
    """A descriptor of a plain file, to read. Raises FileNotFoundError, EffectFailed for a link, folder, pipe or device."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (*_REFUSED, errno.ENXIO, errno.EISDIR):
            raise path_refused(shown, f"{name!a} is no plain file") from error
        raise
    if not _is_plain(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise path_refused(shown, f"{name!a} is no plain file")
    return descriptor


def _is_plain(mode: int) -> bool:
    return mode & 0o170000 == 0o100000
