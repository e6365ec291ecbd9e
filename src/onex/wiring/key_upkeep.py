"""What an administrator does with the keys of an encrypted store: encrypt what was there before, and change master keys."""

from __future__ import annotations

from typing import NamedTuple

from ..codec import Sealable
from ..kernel.data_key import NotEncrypted
from ..settings import read_settings
from .store_access import StoreUrl, open_kept, owned_elsewhere

NO_KEYS = "no master keys are named here; set ONEX_CODEC_KEYS to where they are: env:NAME, file:PATH or command:WORDS"


class KeyUpkeep(NamedTuple):
    """How many were changed, and how many were so before. ``overwritten``: nothing of before is left in the files of the store."""

    changed: int
    before: int
    overwritten: bool


async def encrypt_store(store_url: str) -> KeyUpkeep:
    """Encrypt every instance that is stored plain, while no engine runs.

    Raises NotEncrypted without master keys, OwnershipLost, CodecKeyMissing, CodecKeyWrong, DatabaseConnectionError.
    """
    store = await _opened(store_url)
    try:
        from ..adapters.codec.old_rows import encrypt_old, sealed_store

        if not await store.own("onex store encrypt"):
            raise owned_elsewhere(store_url)
        done, before = await encrypt_old(sealed_store(store))
        return KeyUpkeep(done, before, await store.overwrite(whole=done > 0))
    finally:
        await store.close()


async def rotate_keys(store_url: str) -> KeyUpkeep:
    """Wrap every data key under the current master key, also while engines run. Raises as ``encrypt_store``, but OwnershipLost."""
    store = await _opened(store_url)
    try:
        from ..adapters.codec.old_rows import rotate, sealed_store

        done = await rotate(sealed_store(store))
        return KeyUpkeep(done, 0, await store.overwrite())
    finally:
        await store.close()


async def _opened(store_url: str) -> Sealable:
    if not read_settings().codec_keys:
        raise NotEncrypted(NO_KEYS)
    return await open_kept(StoreUrl.parse(store_url), create=False)
