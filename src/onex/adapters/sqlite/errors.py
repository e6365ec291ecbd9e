"""What SQLite says, told once as the errors of the house: ``sqlite3.Error`` never leaves this adapter."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from ...kernel.errors import (
    DatabaseConnectionError,
    OnexError,
    OwnershipLost,
    StateConsistencyError,
    TemporaryDatabaseError,
    ValidationError,
)

P = ParamSpec("P")
R = TypeVar("R")


class StoreTooNew(DatabaseConnectionError):
    """The store was made by a newer ONEX than this one; what it holds would be misread."""

    code = "store_too_new"


class NotAStore(DatabaseConnectionError):
    """The file is there and is something else."""

    code = "not_a_store"


class StoreLinked(DatabaseConnectionError):
    """The file has a second name that cannot be followed: SQLite would keep a WAL of its own beside each."""

    code = "store_linked"


class StoreReplaced(DatabaseConnectionError, OwnershipLost):
    """What stands under the store's name is not what was opened: it was removed, moved, or another was put in its place."""

    code = "store_replaced"
    retryable = False


class StoreReadOnly(DatabaseConnectionError):
    """The file, its folder or this handle allows reading only."""

    code = "store_read_only"


class StoreIsHistory(DatabaseConnectionError):
    """The store was made of imported runs: it is there to be read and replayed, and nothing in it goes on."""

    code = "store_is_history"


class StoreTaken(DatabaseConnectionError):
    """Something is at the path where a new store was to be made."""

    code = "store_taken"


class StoreMissing(DatabaseConnectionError):
    """There is no store at this path, or no folder to make it in."""

    code = "store_missing"


class DiskFull(TemporaryDatabaseError):
    """No room for what was to be written; nothing was applied."""

    code = "disk_full"


class StoreBusy(TemporaryDatabaseError):
    """Another process held the store for longer than we wait; nothing was applied."""

    code = "store_busy"


class HasPath(Protocol):
    @property
    def path(self) -> Path: ...

    def reads_damaged_text(self) -> bool:
        """Read text that is no UTF-8 with its bytes replaced, from now on. False: it does so already, or never."""


S = TypeVar("S", bound=HasPath)

_NO_TEXT = "Could not decode to UTF-8"
_PRIMARY = 0xFF  # the low byte of an extended result code is its class


def translated(error: sqlite3.Error, path: Path) -> OnexError:
    """The error of the house for this one of SQLite's, which becomes its cause."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    match code:
        case sqlite3.SQLITE_FULL:
            return DiskFull(f"the disk of {path} is full; free some space, then send again", path=str(path))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"{path} is held by another writer; send again", path=str(path))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreReadOnly(f"{path} cannot be written: {error}; check its owner and mode", path=str(path))
        case sqlite3.SQLITE_NOTADB:
            return NotAStore(f"{path} is not an ONEX store: {error}; name another path", path=str(path))
        case sqlite3.SQLITE_CORRUPT:
            return StateConsistencyError(f"{path} is damaged: {error}; restore a backup", path=str(path))
        case sqlite3.SQLITE_CANTOPEN:
            return DatabaseConnectionError(f"{path} cannot be opened: {error}; check path and mode", path=str(path))
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_INTERRUPT | sqlite3.SQLITE_NOMEM:
            return TemporaryDatabaseError(
                f"{path}: {error} ({getattr(error, 'sqlite_errorname', 'no code')}); look at the disk", path=str(path)
            )
    if isinstance(error, sqlite3.ProgrammingError):
        return DatabaseConnectionError(f"{path} is closed here: {error}", path=str(path))
    return StateConsistencyError(f"{path} did not accept a statement: {error}", path=str(path))


def translates_errors(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Wraps a method of an object with a ``path`` so that only named errors leave it."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                return method(self, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if not str(error).startswith(_NO_TEXT) or not self.reads_damaged_text():
                    raise
            return method(self, *args, **kwargs)  # one row's damage is that row's: the others are read
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        except OverflowError as error:
            raise ValidationError(
                "a number is beyond 64 bits, and no store counts so far; name a smaller one"
            ) from error
        except UnicodeDecodeError as error:
            raise StateConsistencyError(f"{self.path} holds text that is none: {error}", path=str(self.path)) from error
        except UnicodeEncodeError as error:
            raise ValidationError(f"text for a store must be Unicode: {error.object!a} is not") from error

    return call
