"""What a process needs that only folds: a store read in the calling thread, and code with nothing behind its effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from ..adapters.sqlite_read import SqliteReads
from ..adapters.watchdog import Watchdog
from ..app import load_app
from ..engine.budget import Budgeted
from ..engine.registry import ReducerRegistry, Workflow
from ..kernel.action import WorkflowKey
from ..kernel.errors import EffectFailed
from ..kernel.intent import ModelIntent
from ..ports import Code, Counts, LogEntry, Result, SnapshotRow, Stored
from ..settings import read_settings
from . import InvalidStoreUrl, StoreUrl


class FoldingReader:
    """A store read without threads: nothing else wants to go on meanwhile, and a hop to a thread costs more than the read."""

    def __init__(self, store_url: str | None = None) -> None:
        """Raises InvalidStoreUrl, DatabaseConnectionError when there is no store."""
        url = StoreUrl.parse(store_url or read_settings().store_url)
        if url.path is None:
            raise InvalidStoreUrl("a memory: store lives in the process that made it; nobody else can read it")
        self._reads = SqliteReads(url.path)

    async def codes(self) -> Mapping[int, Code]:
        return self._reads.codes()

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return self._reads.instances(workflow_type, status, after, limit)

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return self._reads.history(key, after, limit)

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return self._reads.snapshot(key, at_most)

    async def counts(self) -> Counts:
        return self._reads.counts()

    def close(self) -> None:
        self._reads.close()


class Boundary:
    """Where effects would leave. It counts what comes this far and lets nothing out; after any fold ``fired`` is to be 0."""

    def __init__(self) -> None:
        self.fired = 0

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.fired += 1
        raise EffectFailed(f"{intent.name!r} reached the outside of a process that only folds", code="folding")


class InertApp:
    """The code in a folder, ready to be folded and for nothing else. A step that never ends is ended after its budget."""

    def __init__(self, app: Path) -> None:
        """Raises ContractError."""
        self.boundary = Boundary()
        self._watchdog = Watchdog(read_settings().step_budget_s)
        loaded = load_app(app).workflows.values()
        self.registry = ReducerRegistry(
            tuple(
                Workflow(
                    Budgeted(one.reducer, self._watchdog),
                    one.code,
                    dict.fromkeys((*one.effects, *one.computes), self.boundary),
                    one.unleased,
                    one.migrations,
                )
                for one in loaded
            )
        )

    def close(self) -> None:
        self._watchdog.close()
