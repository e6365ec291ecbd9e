"""Recorded: what was once done, to be folded and never to go on: a store, an imported store, or an exported file.

Read in the calling thread: nothing else waits meanwhile, and a hop to a thread costs more than what is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from ..adapters.sqlite.import_runs import REDACTED, SqliteImport
from ..adapters.sqlite.read import SqliteReads
from ..kernel.action import WorkflowKey
from ..ports import Code, Env, LogEntry, SnapshotRow, Stored
from ..records import Damage
from ..replay.history_export import Exported, Redacted, redacted_since
from ..replay.history_reader import HistoryReader
from . import InvalidStoreUrl, StoreUrl

PAGE = 1000


class RecordedRun(Exported, Protocol):
    """Whatever holds a run: what a replay and an export ask of it."""

    @property
    def actions(self) -> int:
        """How many there are."""

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]: ...

    async def redacted(self, key: WorkflowKey) -> Redacted: ...

    async def redacted_since(self, key: WorkflowKey) -> int: ...

    async def damaged(self, part: int) -> Sequence[Damage]:
        """What the run says against itself. Of several that ask, the first, 0, is told of the file's own structure too."""

    def close(self) -> None: ...


class RunSource(NamedTuple):
    """Where a run is: a store's URL, or a file when ``file`` is not ''. Travels to another process."""

    store_url: str = ""
    file: str = ""

    def open(self) -> RecordedRun:
        """Raises HistoryUnreadable, InvalidStoreUrl, DatabaseConnectionError, OSError."""
        if self.file:
            return HistoryReader.open(Path(self.file))
        return RecordedStore(self.store_url)

    def __str__(self) -> str:
        return self.file or self.store_url


class RecordedStore:
    """A SQLite store as a run."""

    def __init__(self, store_url: str) -> None:
        """Raises InvalidStoreUrl, DatabaseConnectionError when there is no store."""
        url = StoreUrl.parse(store_url)
        if url.path is None:
            raise InvalidStoreUrl("a memory: store lives in the process that made it; nobody else can read it")
        self._reads = SqliteReads(url.path)
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
        return self._reads.instances(workflow_type, status, after, limit)

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return self._reads.history(key, after, limit)

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return self._reads.snapshot(key, at_most)

    async def redacted(self, key: WorkflowKey) -> Redacted:
        """What an import noted of it; nothing in a store that an engine wrote."""
        rows = self._reads.projected(REDACTED, str(key), None, 1) if self._marked else ()
        return {int(version): tuple(paths) for row in rows for version, paths in json.loads(row.fields).items()}

    async def redacted_since(self, key: WorkflowKey) -> int:
        return redacted_since(await self.redacted(key))

    async def damaged(self, part: int) -> Sequence[Damage]:
        return self._reads.damaged(pages=part == 0)

    def close(self) -> None:
        self._reads.close()


class StoreImport:
    """A new store made of files. Leaving the ``with`` block without ``finish`` leaves nothing behind."""

    def __init__(self, store_url: str) -> None:
        """Raises InvalidStoreUrl, StoreTaken, DatabaseConnectionError and its kinds."""
        url = StoreUrl.parse(store_url)
        if url.path is None:
            raise InvalidStoreUrl("a memory: store would be gone when this command ends; write sqlite:///FILE")
        if url.path.parent.name == ".onex":
            url.path.parent.mkdir(exist_ok=True)
        self._store = SqliteImport(url.path)
        self.instances = self.actions = 0
        self._told: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.__exit__(kind, error, trace)

    async def take(self, run: HistoryReader, went: Callable[[int], None] = lambda actions: None) -> None:
        """All instances of a file. Raises HistoryUnreadable, StateConsistencyError: it is not the only one of its key."""
        store = self._store
        store.begin(await run.codes(), await run.envs())
        self._told.append(run.source)
        after: WorkflowKey | None = None
        while found := await run.instances(None, None, after, PAGE):
            for stored in found:
                store.instance(stored, await run.redacted(stored.key))
                version = 0
                while rows := await run.history(stored.key, version, PAGE):
                    store.rows(rows)
                    version = rows[-1].version
                    self.actions += len(rows)
                    went(len(rows))
                kept = await run.snapshot(stored.key, stored.version)
                while kept is not None:
                    store.keep(kept)
                    kept = await run.snapshot(stored.key, kept.version - 1)
                self.instances += 1
            after = found[-1].key

    def finish(self) -> None:
        """The store is there, whole and durable. Raises StoreTaken."""
        self._store.finish(", ".join(self._told))
