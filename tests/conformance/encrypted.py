"""Stores with encryption on, for the suites: each handle has a ring of its own, as each process has."""

from __future__ import annotations

from onex.adapters.codec.key_ring import KeyRing
from onex.adapters.codec.master_keys import parse_master_keys
from onex.adapters.codec.sealed_shared import SharedSealedStore
from onex.adapters.codec.sealed_store import SealedStore
from onex.codec import Sealable, SharedSealable

MASTER = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
MASTERS = parse_master_keys(MASTER, "test")


def sealed(store: Sealable) -> SealedStore:
    return SealedStore(store, KeyRing(store, MASTERS))


def sealed_shared(store: SharedSealable) -> SharedSealedStore:
    return SharedSealedStore(store, KeyRing(store, MASTERS))
