"""The errors that stores on disk have in common, whatever keeps their rows."""

from __future__ import annotations

from ..kernel.errors import DatabaseConnectionError, TemporaryDatabaseError


class StoreTooNew(DatabaseConnectionError):
    """A newer ONEX has made the store, and this one could misread it. Use the newer ONEX."""

    code = "store_too_new"


class NotAStore(DatabaseConnectionError):
    """Something is there, and it is not an ONEX store."""

    code = "not_a_store"


class StoreReadOnly(DatabaseConnectionError):
    """The store, or this handle on it, allows reading only."""

    code = "store_read_only"


class StoreMissing(DatabaseConnectionError):
    """There is no store at this place, or no place to make one in."""

    code = "store_missing"


class DiskFull(TemporaryDatabaseError):
    """The disk is full; nothing was applied."""

    code = "disk_full"


class StoreBusy(TemporaryDatabaseError):
    """Another process held the store for too long; nothing was applied."""

    code = "store_busy"
