"""The composition root: the only package that knows which adapter is used. ``engine.open`` makes an engine of a URL and an app.

What any process may do with a store, without an engine, is named here. ``engine`` imports all that an engine needs, so only
those who open one import it.
"""

from __future__ import annotations

from ..adapters.store_errors import StoreMissing
from .store_access import (
    ClosableSender,
    InvalidStoreUrl,
    ReadableStore,
    StoreUrl,
    WatchedReader,
    engine_runs,
    new_action_id,
    open_reader,
    open_sender,
    open_shared,
    owner_pid,
    shown_url,
    workers_of,
)

__all__ = [
    "ClosableSender",
    "InvalidStoreUrl",
    "ReadableStore",
    "StoreMissing",
    "StoreUrl",
    "WatchedReader",
    "engine_runs",
    "new_action_id",
    "open_reader",
    "open_sender",
    "open_shared",
    "owner_pid",
    "shown_url",
    "workers_of",
]
