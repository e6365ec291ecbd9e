"""The stores of a machine by their URL: opened to read or to send, by any process, without an app or an engine.

Commands that only look at a store, or only send to one, import this file and nothing of an engine: that keeps them fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

from ..adapters.clock import UuidV7
from ..adapters.sqlite.commit_watch import CommitWatch
from ..adapters.sqlite.location import real_path
from ..adapters.sqlite.owner_lock import lock_path, owner_of
from ..adapters.sqlite.store import SqliteStore
from ..kernel.errors import DatabaseConnectionError, ValidationError
from ..ports import Projections, Reader, Sender
from ..settings import read_settings


class InvalidStoreUrl(ValidationError):
    """The URL of a store names no known kind of store."""

    code = "invalid_store_url"


class StoreUrl(NamedTuple):
    """``kind`` is ``sqlite`` or ``memory``; ``path`` is the file, None for memory."""

    kind: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """``sqlite:///FILE``, where a fourth slash begins an absolute path, or ``memory:``. Raises InvalidStoreUrl."""
        if text in ("memory:", "memory://"):
            return cls("memory", None)
        scheme, found, path = text.partition(":///")
        if scheme == "sqlite" and found and path:
            return cls("sqlite", Path(path))
        hint = f"did you mean sqlite:///{text}?" if ":" not in text and text else "for example sqlite:///.onex/store.db"
        raise InvalidStoreUrl(f"{text!r} is not the URL of a store; write sqlite:///FILE, {hint}", url=text)

    @property
    def file(self) -> Path:
        """Raises InvalidStoreUrl for a memory store: no other process can use it."""
        if self.path is None:
            raise InvalidStoreUrl("a memory: store exists only in the process that made it; use sqlite:///FILE")
        return self.path

    def make_folder(self) -> None:
        """Makes the store's folder if it is ``.onex``; any other folder is the user's. Raises DatabaseConnectionError."""
        if self.file.parent.name == ".onex":
            try:
                self.file.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise DatabaseConnectionError(
                    f"the folder {self.file.parent} of the store cannot be made: {error}", path=str(self.file)
                ) from error


class ClosableSender(Sender, Protocol):
    def watch(self) -> CommitWatch:
        """For one who waits for an answer."""

    async def close(self) -> None: ...


class ReadableStore(Reader, Projections, Protocol):
    """What any process may read: the log, states, outbox, and projections."""


class WatchedReader(ReadableStore, Protocol):
    """One that also tells when something was committed."""

    def watch(self) -> CommitWatch:
        """For one who waits for a change."""


async def open_reader(store_url: str | None = None) -> WatchedReader:
    """A read-only store, also while an engine runs on it. Raises DatabaseConnectionError when there is no store."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    return await SqliteStore.open(url.file, read_only=True)


async def open_sender(store_url: str | None = None) -> ClosableSender:
    """Submits without owning the store, which is made if there is none. Raises DatabaseConnectionError."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    url.make_folder()
    return await SqliteStore.open(url.file)


def new_action_id() -> UUID:
    """A UUIDv7 as the engine makes them, for a client that may have to send its action again."""
    return UUID(bytes=UuidV7().new())


def owner_pid(store_url: str) -> int | None:
    """The process whose engine runs on the store, by the system's list of locks. None: no engine, or not known.

    Raises DatabaseConnectionError for a path that no store can have.
    """
    path = StoreUrl.parse(store_url).path
    return None if path is None else owner_of(lock_path(real_path(path)))
