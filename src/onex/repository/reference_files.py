"""The files that a contract may refer to: those below the root of its repository, and never one outside it.

A link is followed as long as it stays inside. The file that is read is the very file that was checked: it is opened from the root
downwards, folder by folder, and through no link. So nobody can replace a folder by a link between the check and the opening.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from ..contracts.text.include import IncludedFile, IncludeMissing, IncludeRefused
from ..contracts.text.yaml_tree import BYTES_MAX
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding

_MARKS = (".git", "pyproject.toml")


class UnreadableContract(ContractError):
    """A contract's file that cannot be read as text, with the finding that says why."""

    def __init__(self, path: str, code: str, message: str, fix: str, line: int = 0) -> None:
        finding = Finding(code, EnumSeverity.ERROR, path, line, 1 if line else 0, message, fix)
        super().__init__(f"{path}: {message}", (finding,))
        self.finding = finding


class Repository:
    """A ``Fetch`` over the files below ``root``. ``shown`` is how the user wrote it; files are named by it."""

    def __init__(self, root: Path, shown: Path) -> None:
        self.root = root
        self.shown = shown

    @classmethod
    def holding(cls, path: Path, given: Path | None = None) -> Repository:
        """The nearest folder above ``path`` with .git or pyproject.toml; without one ``given``, or the folder of it."""
        real = Path(os.path.realpath(path))
        folder = real if real.is_dir() else real.parent
        for near in (folder, *folder.parents):
            if any((near / mark).exists() for mark in _MARKS):
                return cls(near, _shown(near, path, real))
        root = Path(os.path.realpath(given)) if given is not None else folder
        if not real.is_relative_to(root):  # a link: what it leads to is not in what was given
            root = folder
        return cls(root, _shown(root, path, real))

    def __call__(self, including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing:
        """``including`` is a path as this repository shows it, or as the user wrote it."""
        wanted = PurePosixPath(reference)
        if wanted.is_absolute() or ".." in wanted.parts or "\0" in reference:
            return IncludeRefused("reference_refused", f"{reference!r} leaves this folder", "name a file below it")
        try:
            place = Path(os.path.realpath(including)).parent / wanted
            real = Path(os.path.realpath(place))
            if not real.is_relative_to(self.root):
                message = f"{reference} leads to {real}, outside the repository {self.shown}"
                return IncludeRefused("reference_outside", message, "copy the file into the repository")
            shown = self.show(real)
            return IncludedFile(_text(self._bytes(real), shown), shown)
        except UnreadableContract as error:
            return IncludeRefused("reference_unreadable", f"{reference}: {error.finding.message}", error.finding.fix)
        except (FileNotFoundError, NotADirectoryError):
            return IncludeMissing(self.show(place))
        except OSError as error:
            return IncludeRefused(
                "reference_unreadable", f"{reference} cannot be read: {error.strerror}", "let it be read"
            )

    def show(self, path: Path) -> str:
        """``path`` under the name the user gave the root."""
        try:
            return str(self.shown / path.relative_to(self.root))
        except ValueError:
            return str(path)

    def _bytes(self, real: Path) -> bytes:
        """Raises OSError; for a link that was put there since the path was judged as well."""
        parts = real.relative_to(self.root).parts
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                os.close(folder)
                folder = below
            if not parts:
                raise IsADirectoryError(None, "it is a folder", str(real))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return _read(os.open(parts[-1], flags, dir_fd=folder), self.show(real))
        finally:
            os.close(folder)


def contract_text(path: Path, shown: str = "") -> str:
    """The text of a contract's file, no larger than a contract may be. Raises Unreadable."""
    name = shown or str(path)
    try:
        data = _read(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), name)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise UnreadableContract(name, "unreadable", message, "let it be read, or leave it out") from error
    except ValueError as error:  # a NUL in the path
        raise UnreadableContract(name, "unreadable", f"cannot be read: {error}", "name a file that exists") from error
    return _text(data, name)


def _read(descriptor: int, shown: str) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableContract(shown, "unreadable", "is no plain file", "name a file")
        data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        message = f"the file has more than {BYTES_MAX:,} bytes"
        raise UnreadableContract(shown, "yaml_too_large", message, "split the contract into several workflows")
    return data


def _text(data: bytes, shown: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"byte {error.start} is not UTF-8"
        raise UnreadableContract(shown, "not_utf8", message, "save the file as UTF-8", line) from error


def _shown(root: Path, path: Path, real: Path) -> Path:
    """``root`` as the user would have written it beside ``path``: relative as long as ``path`` is and leads there."""
    if path.is_absolute():
        return root
    try:
        climb = len(real.relative_to(root).parts)
        here = Path(os.path.normpath(path))
        if real == Path(os.path.normpath(Path.cwd() / here)) and len(here.parts) >= climb and ".." not in here.parts:
            return Path(*here.parts[: len(here.parts) - climb])
        return Path(os.path.relpath(root))
    except (OSError, ValueError):
        return root
