"""Encryption at rest: what it asks of others. Keys come from outside by ``MasterKeys``; a store keeps wrapped ones: ``KeyTables``.

Each instance has a data key of its own, so destroying that one key makes all its values unreadable (``adapters/codec`` does the
encryption, and docs/decisions/0040 says why it is so). A data key is kept encrypted under a master key, which no store ever holds.
An *owner* of a data key is an instance as text (``type:id``), a blob (``#blob:HEX``), or the store itself (``STORE_OWNER``). The
store's key is for what belongs to no instance, as messages in the inbox and refusals. ``#`` begins no key of an instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from .code_use import CodeUses
from .kernel.action import WorkflowKey
from .kernel.data_key import WrappedKey
from .ports import Pointer, Projections, Reader, Retention, SearchTables, Sender, ShardLeases, Store

STORE_OWNER: Final = "#store"
MASTER_KEY_BYTES: Final = 32


class MasterKeys(Protocol):
    """The master keys that this process may use, by name. They are read once, when a store is opened."""

    @property
    def current(self) -> str:
        """The name of the one under which new data keys are wrapped."""

    @property
    def source(self) -> str:
        """Where they come from, for errors. No secret."""

    def key(self, name: str) -> bytes | None:
        """32 bytes; None for a name that is not known here."""


class ErasedRows(NamedTuple):
    """What an erasure did. ``intents`` were open, and are dead now. ``overwritten``: nothing of the key is left in the files of the
    store; False where somebody reads it just now, or where the store is a server's."""

    intents: int
    blobs: int
    overwritten: bool = False


class Sealing(Protocol):
    """How stored values of one instance are to be stored from now on. What is so already is given back as it is."""

    def row(
        self, version: int, action_id: bytes, payload: bytes, intents: bytes, body_hash: bytes, state_hash: bytes
    ) -> tuple[bytes, bytes, bytes, bytes]:
        """Payload, intents, body hash and state hash of a row of the log."""

    def state(self, version: int, state: bytes, state_hash: bytes) -> tuple[bytes, bytes]:
        """A state, current or kept, and its hash."""

    def result(self, pointer: Pointer, result: bytes) -> bytes: ...

    def fields(self, name: str, version: int, fields: bytes) -> bytes:
        """Of a row of the projection ``name``."""

    def blob(self, digest: bytes, data: bytes) -> tuple[WrappedKey | None, bytes]:
        """With a new key; None where it has one."""


class KnownKeys(Protocol):
    """Where wrapped keys are read."""

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        """Those that there are. Nothing in a store that has never been encrypted."""


class KeyTables(KnownKeys, Protocol):
    """What a store keeps of data keys. Any process may ask; who adds keys with a commit owns the shard."""

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        """Keep them, in one transaction. An owner that has a key keeps the one it has."""

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        """Destroy the data key of this instance, in one transaction, with all that is not under it. What is open of it is dead.
        None: there is no such instance. Asked by the owner, or where nobody owns the store."""

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        """Give the instance this key, and write its values again as ``sealing`` makes them, with their checksums, in one
        transaction. Asked by the owner."""

    async def keys_under_others(self, master: str, after: str, limit: int) -> Sequence[WrappedKey]:
        """Keys that were not destroyed and are wrapped under another master key than this, by owner, behind ``after``."""

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        """In place of the first of each pair, where it is still stored so, the second; how many were replaced."""

    async def overwrite(self, *, whole: bool = False) -> bool:
        """Let nothing stand in the files of the store of what was deleted; False where that cannot be done now, or not at all.
        ``whole``: also of what was changed before the store was encrypted, so each page is written."""


def blob_owner(digest: bytes) -> str:
    """The owner of the data key of a blob."""
    return f"#blob:{digest.hex()}"


@runtime_checkable
class Erasable(Protocol):
    """A store whose instances can be erased."""

    async def erase_instance(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows:
        """Destroy the data key of this instance, which may be erased already. Raises NotFound, NotEncrypted."""


class StoreChanges(Protocol):
    """For one who waits. Look first, then ``changed``, then look again."""

    async def changed(self) -> None: ...


class Sealable(Store, Reader, CodeUses, Sender, Projections, Retention, SearchTables, KeyTables, Protocol):
    """A store whose values can be encrypted: it keeps wrapped keys beside its rows."""

    def watch(self) -> StoreChanges: ...

    def crash_file(self) -> int | None: ...


class SharedSealable(Sealable, ShardLeases, Protocol):
    """One that workers share."""

    async def is_owned(self) -> bool: ...
