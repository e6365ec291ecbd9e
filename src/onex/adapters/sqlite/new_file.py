"""A store's file that is filled under another name, and appears under its own whole or not at all.

The temporary name holds the process's id, so whoever makes a store in the folder later removes what a killed process left
(``schema.creation_lock``).
"""

from __future__ import annotations

import os
from pathlib import Path

from ..store_errors import StoreMissing
from .errors import StoreTaken
from .schema import creation_lock, sync_folder


def temporary(path: Path, what: str) -> Path:
    """The name to fill. ``path`` is real. Raises StoreTaken when a file is at ``path``."""
    if path.exists():
        raise StoreTaken(f"{path} exists; {what}, so name a path where no file is", path=str(path))
    return path.with_name(f"{path.name}.{os.getpid()}.import")


def publish(made: Path, path: Path) -> None:
    """Make ``made``, which is closed, durable under the name ``path``. Raises StoreTaken, StoreMissing."""
    try:
        with made.open("rb") as file:
            os.fsync(file.fileno())
        with creation_lock(path):
            if path.exists():
                raise StoreTaken(f"{path} exists by now; name a path where no file is", path=str(path))
            os.rename(made, path)
            sync_folder(path.parent)
    except OSError as error:
        raise StoreMissing(f"no store can be made at {path}: {error}", path=str(path)) from error
