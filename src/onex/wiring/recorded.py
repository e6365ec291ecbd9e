"""Recorded runs: a store, or an exported file, opened for replay, what-if and export. Nothing is ever run from them.

Theory of operation. ``RunSource`` is a plain value that travels to other processes; each opens its own connection with
``opened``, for as long as that block lasts. A SQLite store and a file are read in the calling thread, not in the store's reader
threads: a process that folds has nothing else to do, and a switch of threads costs more than reading a page. A PostgreSQL store
is read over its own connection in the event loop of the process that folds (``adapters/postgres/run.py``).

- A store may grow while it is read: an engine may run on it. Rows are read page by page. Several processes may share the
  instances of one run; only share 0 checks the structure of the file, since that is the same for all.
- ``StoreImport`` makes a store from files. Rows are written into a temporary file with their original positions, keys and code
  ids; ``finish`` makes it durable under its own name. If the block ends without ``finish``, the temporary file is
  removed, so a half-made store is never seen. Two files with the same instance are refused: StateConsistencyError.
- A store made from redacted files holds, in a projection named REDACTED, which fields of which versions were replaced. Replay
  then reports these rows as unverified, not as a mismatch.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from ..adapters.read_ahead import LONG, ReadAhead
from ..adapters.sqlite.import_runs import REDACTED, SqliteImport
from ..adapters.sqlite.read import SqliteReads
from ..adapters.store_errors import StoreMissing
from ..codec import KnownKeys
from ..kernel.action import WorkflowKey
from ..kernel.data_key import EnumUnreadable, WrappedKey, unreadable
from ..ports import Code, Env, LogEntry, SnapshotRow, Stored
from ..records import Damage
from ..replay.history_export import Exported, Redacted, redacted_since
from ..replay.history_reader import HistoryReader
from ..settings import read_settings
from .encrypted import is_encrypted, needs_codec
from .store_access import InvalidStoreUrl, StoreUrl, needs_driver, open_kept, shown_url

PAGE = 1000


class RecordedRun(Exported, Protocol):
    """What replay, what-if and export read from a run."""

    @property
    def actions(self) -> int:
        """How many actions the run has."""

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]: ...

    async def redacted(self, key: WorkflowKey) -> Redacted: ...

    async def redacted_since(self, key: WorkflowKey) -> int: ...

    async def damaged(self, part: int) -> Sequence[Damage]:
        """Damage in the run. Share 0 of several readers also checks the structure of the file."""

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        """Rows whose checksum was made again, rows that have none, and what was found."""


class RunSource(NamedTuple):
    """A store's URL, or an exported file when ``file`` is not ''. Can be pickled."""

    store_url: str = ""
    file: str = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RecordedRun]:
        """The run, as long as the block lasts. Raises HistoryUnreadable, InvalidStoreUrl, DatabaseConnectionError, OSError."""
        if self.file:
            with HistoryReader.open(Path(self.file)) as file:
                async with _with_keys(file) as run:
                    yield run
            return
        address = StoreUrl.parse(self.store_url).address
        if address is None:
            with closing(RecordedStore(self.store_url)) as store:
                yield await _readable(store, store)
            return
        with needs_driver():
            from ..adapters.postgres.run import PostgresRun
        run = await PostgresRun.open(address)
        try:
            yield await _readable(run, run)
        finally:
            await run.close()

    def __str__(self) -> str:
        """As it may be shown: without a password."""
        return self.file or shown_url(self.store_url)


@asynccontextmanager
async def _with_keys(file: HistoryReader) -> AsyncIterator[RecordedRun]:
    """An exported file is read as it is. An archive of an encrypted store holds no keys: they are in that store, the one of
    ``ONEX_STORE``. Where it is not here, or has not these keys, the values stay encrypted."""
    first = await file.instances(None, None, None, 1)
    if not first or unreadable(first[0].state) is not EnumUnreadable.ENCRYPTED:
        yield file
        return
    try:
        store = await open_kept(StoreUrl.parse(read_settings().store_url), read_only=True)
    except (StoreMissing, InvalidStoreUrl):
        yield file
        return
    try:
        yield await _readable(file, store)
    finally:
        await store.close()


async def _readable(run: RecordedRun, tables: KnownKeys) -> RecordedRun:
    """The run, with its values decrypted where they are encrypted. Raises CodecKeyWrong, InvalidCodecKeys."""
    if not await is_encrypted(tables, read_only=True):
        return run
    with needs_codec():
        from .sealed_run import SealedRun, ring_of
    return SealedRun(run, await ring_of(tables, read_only=True))


class RecordedStore:
    """A SQLite store as a run."""

    def __init__(self, store_url: str) -> None:
        """Raises InvalidStoreUrl, DatabaseConnectionError when there is no store."""
        self._reads = SqliteReads(StoreUrl.parse(store_url).file)
        self._ahead = ReadAhead(self._histories)
        self._marked = self._reads.watermark(REDACTED, 0) > 0

    @property
    def actions(self) -> int:
        return self._reads.counts().actions

    async def codes(self) -> Mapping[int, Code]:
        return self._reads.codes()

    async def envs(self) -> Mapping[int, Env]:
        return self._reads.envs()

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return self._reads.load(keys)

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        page = self._reads.instances(workflow_type, status, after, limit)
        self._ahead.begin(page)
        return page

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        whole = await self._ahead.whole(key) if after == 0 and limit >= LONG else None
        return self._reads.history(key, after, limit) if whole is None else whole

    async def _histories(self, instances: Sequence[Stored]) -> Mapping[WorkflowKey, Sequence[LogEntry]]:
        return self._reads.histories(instances)

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        return self._reads.data_keys(owners)

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return self._reads.snapshot(key, at_most)

    async def redacted(self, key: WorkflowKey) -> Redacted:
        """Replaced fields, as an import noted them; empty in a store that an engine wrote."""
        rows = self._reads.projected(REDACTED, str(key), None, 1) if self._marked else ()
        return {int(version): tuple(paths) for row in rows for version, paths in json.loads(row.fields).items()}

    async def redacted_since(self, key: WorkflowKey) -> int:
        return redacted_since(await self.redacted(key))

    async def damaged(self, part: int) -> Sequence[Damage]:
        return self._reads.damaged(pages=part == 0)

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        return self._reads.checksums(on_rows)

    def close(self) -> None:
        self._reads.close()


class StoreImport:
    """A new store made from files. Leaving the ``with`` block without ``finish`` removes it."""

    def __init__(self, store_url: str) -> None:
        """Raises InvalidStoreUrl, StoreTaken, DatabaseConnectionError and its kinds."""
        url = StoreUrl.parse(store_url)
        url.make_folder()
        self._store = SqliteImport(url.file)
        self.instances = self.actions = 0
        self._sources: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.__exit__(kind, error, trace)

    async def take(self, run: HistoryReader, on_actions: Callable[[int], None] = lambda actions: None) -> None:
        """Adds all instances of a file. Raises HistoryUnreadable; StateConsistencyError for a key that is there already."""
        store = self._store
        store.begin(await run.codes(), await run.envs(), run.shards)
        self._sources.append(run.source)
        after: WorkflowKey | None = None
        while found := await run.instances(None, None, after, PAGE):
            for stored in found:
                store.instance(stored, await run.redacted(stored.key))
                version = 0
                while rows := await run.history(stored.key, version, PAGE):
                    store.rows(rows)
                    version = rows[-1].version
                    self.actions += len(rows)
                    on_actions(len(rows))
                kept = await run.snapshot(stored.key, stored.version)
                while kept is not None:
                    store.keep(kept)
                    kept = await run.snapshot(stored.key, kept.version - 1)
                self.instances += 1
            after = found[-1].key

    def finish(self) -> None:
        """Makes the store visible, complete and durable. Raises StoreTaken."""
        self._store.finish(", ".join(self._sources))
