"""What was there before: rows of a store that was plain are encrypted, and data keys are wrapped under another master key.

``encrypt_old`` goes from instance to instance, one transaction each, while no engine runs. An instance that is encrypted wholly is
passed over, so a run that was cut off is begun again. What belongs to no instance (refusals, tries, messages) is left: it goes by
itself, messages after an hour and the rest after seven days.

``rotate`` changes wrapped keys only, so engines may run: no value is read or written, and what engines know of data keys stays
true. A key that another process wraps or destroys meanwhile is left to it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ...codec import MASTER_KEY_BYTES, Sealable, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import CodecKeyMissing, WrappedKey
from ...ports import Pointer
from .envelope import DataKey, is_sealed, is_sealed_blob, is_sealed_intents
from .key_ring import KeyRing, unwrap, wrap
from .rows import bound_to_fields, bound_to_result, bound_to_state, bound_to_step, owner_of
from .sealed_store import SealedStore

PAGE = 500


class EncryptedRows(NamedTuple):
    """How many instances were encrypted, and how many were so already or are erased."""

    encrypted: int
    before: int


class OldRows:
    """The values of one instance, encrypted where they are not. See ``codec.Sealing``."""

    def __init__(self, key: DataKey, ring: KeyRing) -> None:
        self._key, self._ring = key, ring

    def row(
        self, version: int, action_id: bytes, payload: bytes, intents: bytes, body_hash: bytes, state_hash: bytes
    ) -> tuple[bytes, bytes, bytes, bytes]:
        key = self._key
        if not is_sealed(payload):
            payload = key.seal(payload, bound_to_step(b"payload", version, action_id))
            body_hash, state_hash = key.keyed_pair(body_hash, state_hash, version)
        if intents and not is_sealed_intents(intents):
            intents = key.seal_intents(intents, bound_to_step(b"intents", version, action_id))
        return payload, intents, body_hash, state_hash

    def state(self, version: int, state: bytes, state_hash: bytes) -> tuple[bytes, bytes]:
        if is_sealed(state):
            return state, state_hash
        return self._key.seal(state, bound_to_state(version)), self._key.keyed(state_hash, b"state", version)

    def result(self, pointer: Pointer, result: bytes) -> bytes:
        if not result or is_sealed(result):
            return result
        return self._key.seal_result(result, bound_to_result(pointer))

    def fields(self, name: str, version: int, fields: bytes) -> bytes:
        return fields if is_sealed(fields) else self._key.seal(fields, bound_to_fields(name, version))

    def blob(self, digest: bytes, data: bytes) -> tuple[WrappedKey | None, bytes]:
        if is_sealed_blob(data):
            return None, data
        made = self._ring.make(blob_owner(digest))
        key = self._ring[blob_owner(digest)]
        assert isinstance(key, DataKey), "it was just made"
        return made, key.seal_blob(data, b"blob\0" + digest.hex().encode())


def sealed_store(store: Sealable) -> SealedStore:
    """What was opened with master keys is one."""
    assert isinstance(store, SealedStore), "master keys are named"
    return store


async def encrypt_old(store: SealedStore) -> EncryptedRows:
    """Every instance. The caller owns the store. Raises CodecKeyMissing."""
    ring, inner = store.ring, store.inner
    masters = ring.masters
    if masters is None:
        raise CodecKeyMissing("no master keys are named here; set ONEX_CODEC_KEYS")
    done = before = 0
    after: WorkflowKey | None = None
    while rows := await inner.instances(None, None, after, PAGE):
        owners = [owner_of(row.key) for row in rows]
        known = await inner.data_keys(owners)
        for row, owner in zip(rows, owners, strict=True):
            wrapped = known.get(owner)
            if wrapped is not None and (wrapped.erased_us or not wrapped.plain_until):
                before += 1
                continue
            secret = os.urandom(MASTER_KEY_BYTES) if wrapped is None else unwrap(masters, wrapped)
            sealing = OldRows(DataKey(owner, secret), ring)
            await inner.rewrite(row.key, wrap(masters, owner, secret, 0), sealing)
            done += 1
        ring.forget(owners)
        after = rows[-1].key
    return EncryptedRows(done, before)


async def rotate(store: SealedStore) -> int:
    """Wrap every data key under the current master key; how many were. Raises CodecKeyMissing, CodecKeyWrong."""
    masters, inner = store.ring.masters, store.inner
    if masters is None:
        raise CodecKeyMissing("no master keys are named here; set ONEX_CODEC_KEYS")
    done, after = 0, ""
    while found := await inner.keys_under_others(masters.current, after, PAGE):
        pairs = [(one, wrap(masters, one.owner, unwrap(masters, one), one.plain_until)) for one in found]
        done += await inner.rewrap(pairs)
        after = found[-1].owner
    return done
