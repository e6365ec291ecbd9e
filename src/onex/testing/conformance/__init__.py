"""One suite that says what a store is: subclass ``StoreConformance``, say how yours is opened, and run pytest on it."""

from __future__ import annotations

from .owner import AnyStore
from .store import StoreConformance

__all__ = ["AnyStore", "StoreConformance"]
