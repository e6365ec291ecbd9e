"""Encryption of a store, where it is wanted: what is opened as stored rows is given on as a store of plain values.

A store is encrypted when it holds a key of its own (``STORE_OWNER``), and becomes so when an engine begins on it with
``ONEX_CODEC_KEYS`` set. Where neither is, nothing of the codec is imported and the store is given on as it is.

- A process that may write needs the key: CodecKeyMissing, CodecKeyWrong, and nothing was changed.
- One that only reads shows marks in place of values when it has no key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..codec import STORE_OWNER, KnownKeys, Sealable, SharedSealable
from ..kernel.data_key import CodecKeyMissing
from ..kernel.errors import DependencyResolutionError
from ..settings import read_settings


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


async def is_encrypted(tables: KnownKeys, *, read_only: bool) -> bool:
    """Whether its values are encrypted, or are to be from now on. Raises CodecKeyMissing."""
    has_keys = bool(read_settings().codec_keys)
    if not await tables.data_keys([STORE_OWNER]):
        return has_keys
    if not has_keys and not read_only:
        raise CodecKeyMissing(
            "this store is encrypted, and no master keys are named here; set ONEX_CODEC_KEYS to where they are: env:NAME, "
            "file:PATH or command:WORDS. Nothing was changed"
        )
    return True


async def encrypted(store: Sealable, *, read_only: bool) -> Sealable:
    """The store as the engine sees it. On an error it is closed.

    Raises CodecKeyMissing, CodecKeyWrong, InvalidCodecKeys, DependencyResolutionError.
    """
    try:
        if not await is_encrypted(store, read_only=read_only):
            return store
        with needs_codec():
            from .sealed_run import sealed
        return await sealed(store, read_only=read_only)
    except BaseException:
        await store.close()
        raise


async def encrypted_shared(store: SharedSealable, *, read_only: bool) -> SharedSealable:
    """The same of one that workers share."""
    try:
        if not await is_encrypted(store, read_only=read_only):
            return store
        with needs_codec():
            from .sealed_run import sealed_shared
        return await sealed_shared(store, read_only=read_only)
    except BaseException:
        await store.close()
        raise


def as_stored(store: Sealable) -> Sealable:
    """The rows as they stand in the store, without their values decrypted: what an archive holds."""
    inner: Sealable = getattr(store, "inner", store)
    return inner


def new_master_key(name: str) -> str:
    """A line ``NAME:KEY`` of a new master key. Raises InvalidCodecKeys, DependencyResolutionError."""
    with needs_codec():
        from ..adapters.codec.master_keys import new_master_key as made
    return made(name)
