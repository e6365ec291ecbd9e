"""A file that appears under its name whole and durable, or not at all, and never in place of another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..kernel.errors import TransactionError, ValidationError


class FileTaken(ValidationError):
    """A file exists under the name that a new one should get."""

    code = "file_taken"


class FileUnwritable(TransactionError):
    """There is no folder to write into, no space, or no permission."""

    code = "file_unwritable"


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file to write into. It is ``path`` when the block has ended without an error; otherwise nothing is left.

    Raises FileTaken, FileUnwritable.
    """
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with made.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(made, path)  # unlike a rename, it never replaces a file that appeared meanwhile
        _sync(path.parent)
    except FileExistsError as error:
        raise FileTaken(f"{path} exists; name another file") from error
    except OSError as error:
        raise FileUnwritable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """The name of a file is durable when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
