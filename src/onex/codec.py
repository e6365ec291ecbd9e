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
from .ports import Projections, Reader, Retention, SearchTables, Sender, ShardLeases, Store

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

    async def overwrite(self) -> bool:
        """Let nothing stand in the files of the store of what was deleted; False where that cannot be done now, or not at all."""


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
