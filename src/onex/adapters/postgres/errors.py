"""The errors of PostgreSQL and its driver as errors of ONEX. No error of asyncpg leaves this adapter."""

from __future__ import annotations

import asyncpg

from ...kernel.errors import (
    DatabaseConnectionError,
    OnexError,
    StateConsistencyError,
    TemporaryDatabaseError,
    ValidationError,
)
from ..store_errors import DiskFull, StoreMissing, StoreReadOnly


class StoreTooOld(DatabaseConnectionError):
    """The store has an older schema than this ONEX works with, and nothing here upgrades it."""

    code = "store_too_old"


class OtherShards(DatabaseConnectionError):
    """The URL asks for another number of shards than the store was made with. It cannot be changed."""

    code = "other_shards"


class ServerUnreachable(DatabaseConnectionError):
    """No connection to the database server could be opened."""

    code = "server_unreachable"


class ServerRefused(DatabaseConnectionError):
    """The server does not let this user in, or has no such database."""

    code = "server_refused"


class ConnectionLost(TemporaryDatabaseError):
    """The connection to the database server ended. Nothing of this call was applied; the next one connects anew."""

    code = "connection_lost"


class SerializationFailed(TemporaryDatabaseError):
    """The server ended the transaction because of another one: a serialization failure or a deadlock. Nothing was applied."""

    code = "serialization_failed"


class StoreTimeout(TemporaryDatabaseError):
    """A statement or a lock took longer than it may. Nothing was applied."""

    code = "store_timeout"


class StandbyOnly(TemporaryDatabaseError):
    """The server takes reads only now, as a standby does. Nothing was applied; the next call connects anew."""

    code = "standby_only"


DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What asyncpg raises."""

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,
    OSError,
)
_VALUE = asyncpg.DataError  # text that the server cannot hold, a number beyond 64 bits, a value of a wrong type


def said(error: BaseException) -> str:
    """The error's text; the name of its class where it has none."""
    return str(error) or type(error).__name__


def translated(error: Exception, shown: str) -> OnexError:
    """The ONEX error for an error of ``DRIVER_ERRORS``. The caller raises it ``from`` that error."""
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError | asyncpg.LockNotAvailableError):
        return StoreTimeout(f"{shown} did not answer in time: {said(error)}; send again", store=shown)
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return StandbyOnly(f"{shown} takes reads only now: {error}; send again when it takes writes", store=shown)
    if isinstance(error, _LOST):
        return ConnectionLost(f"the connection to {shown} was lost: {said(error)}", store=shown)
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        return SerializationFailed(f"{shown} ended the transaction: {error}; send again", store=shown)
    if isinstance(error, asyncpg.DiskFullError):
        return DiskFull(f"the disk of {shown} is full: {error}; free some space, then send again", store=shown)
    if isinstance(error, asyncpg.InsufficientResourcesError):
        return TemporaryDatabaseError(f"{shown} has no room for this now: {error}; send again", store=shown)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError):
        return ServerRefused(f"{shown} refuses the connection: {error}; check user, password and database", store=shown)
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StoreReadOnly(f"{shown} does not allow this: {error}; grant the right to its user", store=shown)
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return StoreMissing(f"there is no store at {shown}; start an engine on it first", store=shown)
    if isinstance(error, _VALUE):
        return ValidationError(f"a value cannot be stored: {error}")
    if isinstance(error, asyncpg.InterfaceError):
        return ConnectionLost(f"the connection to {shown} cannot be used: {error}", store=shown)
    return StateConsistencyError(f"{shown} did not accept a statement: {error}", store=shown)
