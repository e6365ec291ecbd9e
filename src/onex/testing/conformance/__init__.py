"""Suites that say what a store is, and what a bus is. Subclass one, say how yours is opened, and run pytest on it.

Theory of operation
    A behaviour is a coroutine ``test_...(self, place)`` of one of six classes: ownership, commits, outbox, refusals, reading
    and projections. ``behaviour`` makes it a test without a pytest plugin. Each one gets an empty folder of its own.
    ``place.open()`` gives another handle on the same store, as another process would have it. ``place.owner()`` gives one
    that owns the store, as an ``Owner``: it makes changes on what it has seen, commits them, and remembers what was applied.
    Only the ports are used, so the suite knows nothing of how rows are kept. Each behaviour must hold in any order of the
    tests. What a subclass says: ``open``; ``crash``, how a process of this store dies (without it, those behaviours are
    skipped); ``persistent``, whether anything remains after the last handle; ``rejections_kept``, a small limit to reach.
    The embedded stores pass it in tests/conformance/test_stores.py. ``ShardConformance`` is the same for a store with many shards
    that workers share.

``BusConformance`` says the same way what a bus is: subclass it, say how yours is reached, and how it goes away and comes back.
"""

from __future__ import annotations

from .bus import BusConformance
from .owner import AnySharedStore, AnyStore
from .store import ShardConformance, StoreConformance

__all__ = ["AnySharedStore", "AnyStore", "BusConformance", "ShardConformance", "StoreConformance"]
