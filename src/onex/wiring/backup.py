"""A store saved into one file while it is in use, and made again of such a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..adapters.sqlite.backup import BackedUp, back_up, restore
from ..kernel.errors import ValidationError
from .store_access import StoreUrl

__all__ = ["BackedUp", "BackupByServer", "back_up_store", "restore_store"]

OnPages = Callable[[int, int], None]


class BackupByServer(ValidationError):
    """The store is on a server, which has its own means: pg_dump and pg_restore."""

    code = "backup_by_server"


def _file(store_url: str, tool: str) -> Path:
    url = StoreUrl.parse(store_url)
    if url.address is not None:
        raise BackupByServer(
            f"{url.address.shown} is on a server: use {tool}, as docs/guides/production.md#back-up-and-restore shows"
        )
    return url.file


def back_up_store(store_url: str, file: Path, on_pages: OnPages = lambda done, total: None) -> BackedUp:
    """Of a SQLite store, beside its engine, into a new file. Raises InvalidStoreUrl, BackupByServer, StoreTaken,
    DatabaseConnectionError."""
    return back_up(_file(store_url, "pg_dump"), file, time.time_ns() // 1000, on_pages)


def restore_store(
    file: Path, store_url: str, on_pages: OnPages = lambda done, total: None, *, damaged_too: bool = False
) -> BackedUp:
    """A new SQLite store of a backup. Raises also NotABackup, and StateConsistencyError for one that is damaged."""
    target = _file(store_url, "pg_restore")
    StoreUrl.parse(store_url).make_folder()
    return restore(file, target, on_pages, damaged_too=damaged_too)
