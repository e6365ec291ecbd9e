"""The errors of SQLite as errors of ONEX. ``sqlite3.Error`` never leaves this adapter: ``translates_errors`` sees to it."""

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
from ..store_errors import DiskFull, NotAStore, StoreBusy, StoreReadOnly

P = ParamSpec("P")
R = TypeVar("R")


class StoreLinked(DatabaseConnectionError):
    """The file has a second name that cannot be followed. SQLite would keep a WAL beside each of its names."""

    code = "store_linked"


class StoreReplaced(DatabaseConnectionError, OwnershipLost):
    """The file under the store's name is not the one that was opened: it was removed, moved or replaced."""

    code = "store_replaced"
    retryable = False


class StoreTooOldToSearch(DatabaseConnectionError):
    """The store has an older schema, without the tables of search. The next engine that opens it adds them."""

    code = "store_too_old_to_search"


class StoreIsHistory(DatabaseConnectionError):
    """The store was made from imported runs. It can be read and replayed, but no engine runs on it."""

    code = "store_is_history"


class StoreIsBackup(DatabaseConnectionError):
    """The file is a backup. It can be read, but no engine runs on it: ``onex restore`` makes a store of it."""

    code = "store_is_backup"


class NotABackup(DatabaseConnectionError):
    """The file to restore is a store, and not one that ``onex backup`` wrote."""

    code = "not_a_backup"


class StoreTaken(DatabaseConnectionError):
    """A file exists at the path where a new store should be made."""

    code = "store_taken"


class HasPath(Protocol):
    @property
    def path(self) -> Path: ...

    def reads_damaged_text(self) -> bool:
        """From now on, replace bytes that are not UTF-8 when text is read. False: it does so already, or never."""


S = TypeVar("S", bound=HasPath)

_NO_TEXT = "Could not decode to UTF-8"
_PRIMARY = 0xFF  # the low byte of an extended result code is its class


def translated(error: sqlite3.Error, path: Path) -> OnexError:
    """The ONEX error for an error of SQLite. The caller raises it ``from`` that error."""
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
    """Wrap a method of an object with a ``path``, so that only errors of ONEX leave it."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                return method(self, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if not str(error).startswith(_NO_TEXT) or not self.reads_damaged_text():
                    raise
            return method(self, *args, **kwargs)  # read again, so that one damaged text does not hide the other rows
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        except OverflowError as error:
            raise ValidationError(
                "a number is beyond 64 bits, the most a store can hold; give a smaller one"
            ) from error
        except UnicodeDecodeError as error:
            raise StateConsistencyError(
                f"{self.path} holds text that is not UTF-8: {error}", path=str(self.path)
            ) from error
        except UnicodeEncodeError as error:
            raise ValidationError(f"text for a store must be Unicode: {error.object!a} is not") from error

    return call
