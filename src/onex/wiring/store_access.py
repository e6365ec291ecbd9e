"""The stores of a machine by their URL: opened to read or to send, by any process, without an app or an engine.

Commands that only look at a store, or only send to one, import this file and nothing of an engine: that keeps them fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

from ..adapters.clock import UuidV7
from ..adapters.memory.store import MemoryStore
from ..adapters.owner_lock import holders_of, lock_path, owner_of
from ..adapters.postgres.address import SCHEMES, Address, owner_file
from ..adapters.sqlite.location import real_path
from ..adapters.sqlite.store import SqliteStore
from ..adapters.store_errors import StoreMissing
from ..code_use import CodeUses
from ..codec import KeyTables
from ..kernel.action import WorkflowKey
from ..kernel.errors import DatabaseConnectionError, OwnershipLost, StateConsistencyError, ValidationError
from ..kernel.membership import Membership
from ..ports import LogEntry, Projections, Reader, Retention, SearchReads, SearchTables, Sender, ShardLeases, Store
from ..settings import read_settings
from .encrypted import encrypted, encrypted_shared


class InvalidStoreUrl(ValidationError):
    """The URL of a store names no known kind of store."""

    code = "invalid_store_url"


class StoreNotShared(ValidationError):
    """Several workers were to share a store that takes one process at a time."""

    code = "store_not_shared"


class PostgresMissing(DatabaseConnectionError):
    """The URL names a PostgreSQL store, and its driver is not installed."""

    code = "postgres_missing"


class StoreBlobs:
    """Reads blobs of a store, for effects and compute. Raises StateConsistencyError for a blob that is not stored."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, digest: bytes) -> bytes:
        data = await self._reader.blob(digest)
        if data is None:
            raise StateConsistencyError(
                f"there is no blob {digest.hex()[:16]}; it was deleted while something refers to it, or the store is damaged"
            )
        return data


class StoreUrl(NamedTuple):
    """``kind`` is ``sqlite``, ``memory`` or ``postgres``; ``path`` is the file of SQLite, ``address`` what PostgreSQL needs."""

    kind: str
    path: Path | None
    address: Address | None = None

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """``sqlite:///FILE``, where a fourth slash begins an absolute path, ``postgres://HOST/DATABASE``, or ``memory:``.

        Raises InvalidStoreUrl, InvalidPostgresUrl.
        """
        if text in ("memory:", "memory://"):
            return cls("memory", None)
        scheme, found, path = text.partition(":///")
        if scheme == "sqlite" and found and path:
            return cls("sqlite", Path(path))
        if scheme.partition("://")[0] in SCHEMES:
            return cls("postgres", None, Address.parse(text))
        hint = f"did you mean sqlite:///{text}?" if ":" not in text and text else "for example sqlite:///.onex/store.db"
        raise InvalidStoreUrl(f"{text!r} is not the URL of a store; write sqlite:///FILE, {hint}", url=text)

    @property
    def file(self) -> Path:
        """Raises InvalidStoreUrl for a store that is no file: no other process can use one in memory."""
        if self.address is not None:
            raise InvalidStoreUrl(
                f"this needs a store in a file, and {self.address.shown} is a server's; use sqlite:///FILE"
            )
        if self.path is None:
            raise InvalidStoreUrl("a memory: store exists only in the process that made it; use sqlite:///FILE")
        return self.path

    def make_folder(self) -> None:
        """Makes the store's folder if it is ``.onex``; any other folder is the user's. A server's store has none.

        Raises DatabaseConnectionError.
        """
        if self.address is None and self.file.parent.name == ".onex":
            try:
                self.file.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise DatabaseConnectionError(
                    f"the folder {self.file.parent} of the store cannot be made: {error}", path=str(self.file)
                ) from error


class Watch(Protocol):
    """For one who waits. Look first, then ``changed``, then look again."""

    async def changed(self) -> None:
        """Returns when something may have been committed since the last look."""


class ClosableSender(Sender, Protocol):
    def watch(self) -> Watch:
        """For one who waits for an answer."""

    async def close(self) -> None: ...


class ReadableStore(Reader, Projections, CodeUses, SearchReads, Protocol):
    """What any process may read: the log, states, outbox, and projections."""


class WatchedReader(ReadableStore, Protocol):
    """One that also tells when something was committed."""

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        """The log row of this action."""

    def watch(self) -> Watch:
        """For one who waits for a change."""


class KeptStore(Store, Reader, CodeUses, Sender, Projections, Retention, SearchTables, KeyTables, Protocol):
    """All that one handle on a store can do which outlives its process."""

    def watch(self) -> Watch:
        """For one who waits for a commit of another process."""

    def crash_file(self) -> int | None:
        """A descriptor for what this process says when it is ended; ``judged`` tells it to the next owner. None: nowhere."""


class OwnerStore(Store, ReadableStore, Sender, SearchTables, Protocol):
    """A store for its owner, who reads it too."""

    def crash_file(self) -> int | None:
        """As of a KeptStore."""


class SharedStore(KeptStore, ShardLeases, Protocol):
    """One that several processes may have together, each some of its shards."""

    async def is_owned(self) -> bool:
        """Whether an engine runs on it now, in whatever process of whatever machine."""


@contextmanager
def needs_driver() -> Iterator[None]:
    """What is imported in the block needs the extra ``postgres``. Raises PostgresMissing."""
    try:
        yield
    except ImportError as error:
        raise PostgresMissing(
            f"a store on PostgreSQL needs a library that is not here ({error}). Install the extra postgres of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[postgres]'"
        ) from error


async def open_kept(url: StoreUrl, *, read_only: bool = False, create: bool = True) -> KeptStore:
    """A store that outlives its process. Raises InvalidStoreUrl, PostgresMissing, DatabaseConnectionError."""
    if url.address is None:
        if not create and not url.file.exists():
            raise StoreMissing(f"there is no store at {url.file}; start an engine on it first", path=str(url.file))
        return await encrypted(await SqliteStore.open(url.file, read_only=read_only), read_only=read_only)
    return await _open_postgres(url.address, read_only=read_only, create=create)


async def open_shared(url: StoreUrl, *, create: bool = True) -> SharedStore:
    """One that workers share. Raises StoreNotShared, PostgresMissing, DatabaseConnectionError and its kinds."""
    if url.address is None:
        raise StoreNotShared(
            "workers share a PostgreSQL store: --store postgres://HOST/DATABASE. Any other takes one process at a time: onex run"
        )
    return await _open_postgres(url.address, read_only=False, create=create)


async def _open_postgres(address: Address, *, read_only: bool, create: bool) -> SharedStore:
    with needs_driver():
        from ..adapters.postgres.store import PostgresStore
    return await encrypted_shared(
        await PostgresStore.open(address, read_only=read_only, create=create), read_only=read_only
    )


def shown_url(store_url: str) -> str:
    """The URL as it may be printed: without a password."""
    address = StoreUrl.parse(store_url).address
    return store_url if address is None else address.shown


async def open_reader(store_url: str | None = None) -> WatchedReader:
    """A read-only store, also while an engine runs on it. Raises DatabaseConnectionError when there is no store."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    return await open_kept(url, read_only=True)


async def store_exists(store_url: str) -> bool:
    """Raises DatabaseConnectionError when that cannot be found out."""
    try:
        reader = await open_reader(store_url)
    except StoreMissing:
        return False
    await reader.close()
    return True


async def open_sender(store_url: str | None = None) -> ClosableSender:
    """Submits without owning the store, which is made if there is none. Raises DatabaseConnectionError."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    url.make_folder()
    return await open_kept(url)


async def open_sender_or_make(store_url: str) -> tuple[ClosableSender, bool]:
    """``open_sender``, and whether there was no store. Raises DatabaseConnectionError."""
    try:
        return await open_kept(StoreUrl.parse(store_url), create=False), False
    except StoreMissing:
        return await open_sender(store_url), True


def new_action_id() -> UUID:
    """A UUIDv7 as the engine makes them, for a client that may have to send its action again."""
    return UUID(bytes=UuidV7().new())


def owner_pid(store_url: str) -> int | None:
    """The process whose engine runs on the store, by this system's list of locks. Of several workers, the first of this machine.
    None: no engine here, or not known.

    Raises DatabaseConnectionError for a path that no store can have.
    """
    url = StoreUrl.parse(store_url)
    lock = owner_lock(url)
    found = None if lock is None else owner_of(lock)
    if found is None and url.address is not None:
        files = takewhile(Path.exists, (owner_file(url.address, f"worker-{place}") for place in count()))
        return next((pid for pid in map(owner_of, files) if pid is not None), None)
    return found


def owner_lock(url: StoreUrl) -> Path | None:
    """The file that the owner on this machine has locked. None for a store in memory."""
    if url.address is not None:
        return owner_file(url.address)
    return None if url.path is None else lock_path(real_path(url.path))


async def engine_runs(store_url: str) -> bool:
    """Whether an engine runs on the store now: a file's on this machine, a server's on any. Raises DatabaseConnectionError."""
    address = StoreUrl.parse(store_url).address
    if address is None or owner_pid(store_url) is not None:
        return owner_pid(store_url) is not None
    store = await _open_postgres(address, read_only=True, create=False)
    try:
        return await store.is_owned()
    finally:
        await store.close()


async def workers_of(store_url: str) -> Membership | None:
    """The workers that share the store, as it knows them now; None for a store that one process has for itself.

    Raises DatabaseConnectionError."""
    url = StoreUrl.parse(store_url)
    if url.address is None:
        return None
    store = await open_shared(url, create=False)
    try:
        return await store.look()
    finally:
        await store.close()


def owned_elsewhere(store_url: str) -> OwnershipLost:
    """The error that names who holds the store. Of an engine that has ended, the processes that it left are named."""
    pid = owner_pid(store_url)
    lock, store_url = owner_lock(StoreUrl.parse(store_url)), shown_url(store_url)
    left = holders_of(lock) if pid is None and lock is not None else []
    if left:
        who = ", ".join(map(str, left))
        return OwnershipLost(
            f"the engine that ran on {store_url} has ended, but a process that it started still holds the store: {who}. "
            "End that process, then start again"
        )
    who = f"process {pid}" if pid else "another process"
    return OwnershipLost(f"{who} runs on {store_url}; stop it, or submit to it: onex submit KEY TRIGGER", pid=pid)


async def open_owned(url: StoreUrl) -> OwnerStore:
    """For an engine of its own; the folder of the default store is made. Raises DatabaseConnectionError."""
    if url.kind == "memory":
        return await encrypted(MemoryStore(), read_only=False)
    url.make_folder()
    return await open_kept(url)
