"""Encryption of a store, where it is wanted: what is opened as plain rows is given on as a store of plain values.

A store is encrypted when it holds a key of its own (``STORE_OWNER``), and becomes so when an engine begins on it with
``ONEX_CODEC_KEYS`` set. Where neither is, nothing of the codec is imported and the store is given on as it is.

- A process that may write needs the key: CodecKeyMissing, CodecKeyWrong, and nothing was changed.
- One that only reads shows marks in place of values when it has no key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..codec import STORE_OWNER, KnownKeys
from ..kernel.data_key import CodecKeyMissing
from ..kernel.errors import DependencyResolutionError
from ..settings import read_settings

if TYPE_CHECKING:
    from ..adapters.codec.key_ring import KeyRing
    from ..adapters.codec.sealed_store import Sealable, SealedStore, SharedSealable, SharedSealedStore
    from .store_access import KeptStore


@contextmanager
def needs_codec() -> Iterator[None]:
    """What is imported in the block needs the extra ``codec``. Raises DependencyResolutionError."""
    try:
        yield
    except ImportError as error:
        raise DependencyResolutionError(
            f"an encrypted store needs a library that is not here ({error}). Install the extra codec of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[codec]'"
        ) from error


async def ring_of(tables: KnownKeys, *, read_only: bool) -> KeyRing | None:
    """The keys of an open store; None where it is not encrypted and is not to be.

    Raises CodecKeyMissing, CodecKeyWrong, InvalidCodecKeys, DependencyResolutionError.
    """
    source = read_settings().codec_keys
    is_encrypted = bool(await tables.data_keys([STORE_OWNER]))
    if not source and not is_encrypted:
        return None
    if not source and not read_only:
        raise CodecKeyMissing(
            "this store is encrypted, and no master keys are named here; set ONEX_CODEC_KEYS to where they are: env:NAME, "
            "file:PATH or command:WORDS. Nothing was changed"
        )
    with needs_codec():
        from ..adapters.codec.key_ring import KeyRing, check
        from ..adapters.codec.master_keys import read_master_keys
    masters = read_master_keys(source) if source else None
    if masters is not None:
        try:
            await check(tables, masters)
        except CodecKeyMissing:
            if not read_only:
                raise
            masters = None
    return KeyRing(tables, masters)


async def encrypted(store: Sealable, *, read_only: bool) -> Sealable | SealedStore:
    """The store as the engine sees it. On an error it is closed. Raises what ``ring_of`` raises."""
    try:
        ring = await ring_of(store, read_only=read_only)
    except BaseException:
        await store.close()
        raise
    if ring is None:
        return store
    from ..adapters.codec.sealed_store import SealedStore

    return SealedStore(store, ring)


async def encrypted_shared(store: SharedSealable, *, read_only: bool) -> SharedSealable | SharedSealedStore:
    """The same of one that workers share."""
    try:
        ring = await ring_of(store, read_only=read_only)
    except BaseException:
        await store.close()
        raise
    if ring is None:
        return store
    from ..adapters.codec.sealed_store import SharedSealedStore

    return SharedSealedStore(store, ring)


def as_stored(store: KeptStore) -> KeptStore:
    """The rows as they stand in the store, without their values decrypted: what an archive holds."""
    inner: KeptStore = getattr(store, "inner", store)
    return inner


def new_master_key(name: str) -> str:
    """A line ``NAME:KEY`` of a new master key. Raises InvalidCodecKeys, DependencyResolutionError."""
    with needs_codec():
        from ..adapters.codec.master_keys import new_master_key as made
    return made(name)
