"""The lock beside a store that says who owns it: held by one open file, freed by the kernel when its process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..kernel.errors import DatabaseConnectionError


class OwnerLock:
    """``flock`` belongs to the open file, so a second lock in the same process is refused like any other.

    A process that is forked (not started anew) while the lock is held shares the open file and keeps it locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def take(self) -> bool:
        """False: somebody holds it. Raises DatabaseConnectionError when the file cannot be made."""
        if self._descriptor is not None:
            return False
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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

    def free(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
