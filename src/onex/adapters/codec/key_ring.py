"""KeyRing: the data keys of a store as one process needs them: asked for, unwrapped, made, and kept in memory for a while.

An owner of the store is the only one who adds a key to an instance or destroys it, so its ring keeps what it knows. Any other
process asks again for each page that it reads: a key may have come or been destroyed since. To unwrap costs some microseconds, and
is done once for the same wrapped bytes.

Without master keys nothing is opened: each owner that has a key is ``Closed``, with the mark that stands in place of its values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...codec import MASTER_KEY_BYTES, STORE_OWNER, KnownKeys, MasterKeys
from ...kernel.data_key import DAMAGED_MARK, CodecKeyMissing, CodecKeyWrong, WrappedKey, encrypted_mark, erased_mark
from .envelope import NONCE, DataKey

KEPT: Final = 65_536


class Closed(NamedTuple):
    """The values of this owner cannot be read here; ``mark`` stands in their place."""

    mark: bytes
    erased: bool = False


Key = DataKey | Closed | None
"""None: the owner has no key, so its values are plain."""


class KeyRing:
    """``owns``: whether this process alone adds and destroys the keys that it asks for."""

    def __init__(self, tables: KnownKeys, masters: MasterKeys | None) -> None:
        self.tables, self.masters = tables, masters
        self.owns = False
        self._known: dict[str, Key] = {}
        self._opened: dict[bytes, DataKey] = {}

    async def learn(self, owners: Iterable[str]) -> None:
        """After it, ``self[owner]`` tells of each of them."""
        if len(self._known) > KEPT:
            self._known.clear()
            self._opened.clear()
        asked = {*owners, STORE_OWNER}
        missing = [one for one in asked if one not in self._known] if self.owns else list(asked)
        if not missing:
            return
        found = await self.tables.data_keys(missing)
        for owner in missing:
            wrapped = found.get(owner)
            self._known[owner] = None if wrapped is None else self._key(wrapped)

    def __getitem__(self, owner: str) -> Key:
        return self._known[owner]

    def knows(self, owner: str) -> bool:
        return owner in self._known

    @property
    def store(self) -> Key:
        """The key of what belongs to no instance."""
        return self._known.get(STORE_OWNER)

    def make(self, owner: str, plain_until: int = 0) -> WrappedKey:
        """A new key, in use from now on. Raises CodecKeyMissing."""
        if self.masters is None:
            raise CodecKeyMissing("this store is encrypted, and no master keys are named; set ONEX_CODEC_KEYS")
        secret = os.urandom(MASTER_KEY_BYTES)
        made = wrap(self.masters, owner, secret, plain_until)
        self._known[owner] = DataKey(owner, secret, plain_until)
        return made

    def forget(self, owners: Iterable[str] | None = None) -> None:
        """These are asked for again; None: all."""
        if owners is None:
            self._known.clear()
            self._opened.clear()
            return
        for owner in owners:
            self._known.pop(owner, None)

    def close(self, owner: str, by: str, erased_us: int) -> None:
        """The key of this owner was destroyed."""
        self._known[owner] = Closed(erased_mark(erased_us, by), erased=True)
        self._opened.clear()

    def _key(self, wrapped: WrappedKey) -> Key:
        if wrapped.erased_us:
            return Closed(erased_mark(wrapped.erased_us, wrapped.master), erased=True)
        if self.masters is None or self.masters.key(wrapped.master) is None:
            return Closed(encrypted_mark(wrapped.master))
        key = self._opened.get(wrapped.wrapped)
        if key is None or key.plain_until != wrapped.plain_until:
            try:
                key = DataKey(wrapped.owner, unwrap(self.masters, wrapped), wrapped.plain_until)
            except CodecKeyWrong:  # of one row: it is damaged. Of the store's own key, ``check`` has raised it
                return Closed(DAMAGED_MARK)
            self._opened[wrapped.wrapped] = key
        return key


def wrap(masters: MasterKeys, owner: str, secret: bytes, plain_until: int) -> WrappedKey:
    """Under the current master key, bound to its owner."""
    master = masters.key(masters.current)
    assert master is not None, "the current master key is known"
    nonce = os.urandom(NONCE)
    bound = _bound(owner, masters.current, plain_until)
    return WrappedKey(owner, masters.current, nonce + AESGCM(master).encrypt(nonce, secret, bound), plain_until)


def unwrap(masters: MasterKeys, wrapped: WrappedKey) -> bytes:
    """The data key. Raises CodecKeyMissing, CodecKeyWrong."""
    master = masters.key(wrapped.master)
    if master is None:
        raise CodecKeyMissing(
            f"this store is encrypted under master key {wrapped.master}, and {masters.source} does not hold it; add it there"
        )
    bound = _bound(wrapped.owner, wrapped.master, wrapped.plain_until)
    try:
        return AESGCM(master).decrypt(wrapped.wrapped[:NONCE], wrapped.wrapped[NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise CodecKeyWrong(
            f"the master key {wrapped.master} of {masters.source} does not open this store: it is another key under the same name, "
            "or the store is damaged. Give the key that the store was encrypted with"
        ) from error


def _bound(owner: str, master: str, plain_until: int) -> bytes:
    return f"{owner}\0{master}\0{plain_until}".encode()


async def check(tables: KnownKeys, masters: MasterKeys) -> None:
    """Whether these master keys open the store, if it is encrypted. Raises CodecKeyMissing, CodecKeyWrong."""
    for wrapped in (await tables.data_keys([STORE_OWNER])).values():
        unwrap(masters, wrapped)
