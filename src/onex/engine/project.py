"""Projections: tables built from the log, each a pure function of one row, kept at a watermark that never runs ahead.

Rows and watermark move in one transaction, from exactly where the watermark was: a second materializer of the same name, or a
crash between two batches, changes nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..kernel.action import WorkflowKey
from ..kernel.errors import DatabaseConnectionError, OnexError, ProjectionLagging, WorkflowExecutionError
from ..kernel.user_code import caught, describe, plain_text
from ..ports import Clock, LogEntry, Position, ProjectionRow, Projections, Reader
from .tail import Bell, LogTail

WORKFLOW = "workflow"
PROJECTION_BATCH_SIZE = 100
WAIT_S = 1.0
LARGEST = 2**63

Project = Callable[[LogEntry], ProjectionRow | None]


def latest(entry: LogEntry) -> ProjectionRow:
    """The built-in projection ``workflow``: per instance its version, its status as tag, and the last action."""
    return ProjectionRow(entry.key, entry.version, entry.row.status, entry.row.kind, b"{}")


class ProjectionFailed(WorkflowExecutionError):
    """A projection's own function raised on a row of the log: it stands still before that row until it is mended."""

    code = "projection_failed"


@dataclass(frozen=True, slots=True)
class Lag:
    """``rows`` behind the end of the log; ``lag_ms`` since the oldest row not yet applied was issued, 0 when none."""

    watermark: Position
    rows: int
    lag_ms: float


async def lag_of(reader: Reader, tables: Projections, name: str, now_us: int, *, shard: int = 0) -> Lag:
    """Where a projection stands, for any process that may read. 0 rows for one that nobody ever kept, on an empty log."""
    # the watermark first: what is committed meanwhile can only make the answer larger, never negative
    at = Position(shard, await tables.watermark(name, shard))
    waited_ms = await _waited_ms(reader, at, now_us)
    return Lag(at, (await reader.counts()).actions - at.n, waited_ms)


async def _waited_ms(reader: Reader, at: Position, now_us: int) -> float:
    behind = await reader.log(at, 1)
    return max(0.0, (now_us - behind[0].row.issued_us) / 1000) if behind else 0.0


class ProjectionMaterializerService:
    """Keeps one projection of one shard. ``project`` gives the row an action leads to, or None for no change.

    ``failed`` says why it stands still, when it does: ProjectionFailed, or that the store is no longer ours to read.
    """

    def __init__(
        self,
        reader: Reader,
        tables: Projections,
        bell: Bell,
        clock: Clock,
        name: str = WORKFLOW,
        project: Project = latest,
        *,
        shard: int = 0,
        batch: int = PROJECTION_BATCH_SIZE,
    ) -> None:
        self.reader, self.tables, self.bell, self.clock = reader, tables, bell, clock
        self.name, self.shard, self.batch = name, shard, batch
        self._project = project
        self._moved = Bell()
        self.failed: OnexError | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"onex-projection-{self.name}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def catch_up(self) -> int:
        """Apply what the log has; the number of rows. The watermark in the store says where it stands, not this object."""
        done = 0
        while True:
            at = await self.tables.watermark(self.name, self.shard)
            tail = LogTail(self.reader, self.bell, Position(self.shard, at), page=self.batch)
            rows = await tail.read()
            if not rows:
                self._moved.ring()  # another of the same name may have moved it
                return done
            if await self.tables.project(self.name, self.shard, at, rows[-1].position.n, self._rows(rows)):
                done += len(rows)
            self._moved.ring()

    async def rows(
        self,
        tag: str | None = None,
        after: WorkflowKey | None = None,
        limit: int = 100,
        *,
        reached: Position | None = None,
    ) -> Sequence[ProjectionRow]:
        """A page of the projection, at ``reached`` or later. Raises what ``wait`` raises."""
        if reached is not None:
            await self.wait(reached)
        return await self.tables.projected(self.name, tag, after, limit)

    async def wait(self, reached: Position) -> None:
        """Raises ProjectionLagging when the watermark is not there within a second, ProjectionFailed when it never will be."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    seen = self._moved.rung
                    at = await self.tables.watermark(self.name, self.shard)
                    if at >= reached.n:
                        return
                    if self.failed is not None:
                        raise self.failed
                    await self._moved.after(seen)
        except TimeoutError:
            at = await self.tables.watermark(self.name, self.shard)
            if at >= reached.n:
                return
            raise ProjectionLagging(
                f"projection {self.name!r} is at {at}, {reached.n - at} behind what you ask for; ask again", at=at
            ) from None

    async def lag(self) -> Lag:
        return await lag_of(self.reader, self.tables, self.name, self.clock.now_us(), shard=self.shard)

    async def lag_ms(self) -> float:
        """Of ``lag`` what costs next to nothing to ask: a status line does so twice a second."""
        at = Position(self.shard, await self.tables.watermark(self.name, self.shard))
        return await _waited_ms(self.reader, at, self.clock.now_us())

    def _rows(self, entries: Sequence[LogEntry]) -> list[ProjectionRow]:
        newest: dict[WorkflowKey, ProjectionRow] = {}
        for entry in entries:
            where = f"{entry.position.shard}:{entry.position.n} ({entry.key}, {entry.row.kind!r})"
            try:
                row = self._project(entry)
                wrong = _misfit(row)
            except BaseException as error:
                told = caught(error)
                raise ProjectionFailed(f"projection {self.name!r} raised at {where}: {told}") from error
            if wrong:
                raise ProjectionFailed(
                    f"projection {self.name!r} gave back {wrong} at {where}; return a ProjectionRow, or None"
                )
            if row is not None:
                newest[row.key] = row
        return list(newest.values())

    async def _run(self) -> None:
        """Ends only with a reason in ``failed``: whoever waits is told, and nobody waits for a task that has died."""
        try:
            await self._follow()
        except Exception as error:
            self._stand_still(WorkflowExecutionError(f"projection {self.name!r} stopped: {describe(error)}"))

    def _stand_still(self, error: OnexError) -> None:
        self.failed = error
        self._moved.ring()

    async def _follow(self) -> None:
        while True:
            seen = self.bell.rung
            try:
                await self.catch_up()
            except OnexError as error:
                # a store that cannot be written now may be again, and nothing else would begin this once more
                if not error.retryable and not isinstance(error, DatabaseConnectionError):
                    self._stand_still(error)
                    return
                await self.clock.sleep(0.1)
                continue
            await self.bell.after(seen)


def _misfit(row: object) -> str:
    """What is wrong with what a projection's function gave back; '' when the tables can take it."""
    if row is None:
        return ""
    if type(row) is not ProjectionRow:
        return f"a {type(row).__name__}"
    types = (tuple, int, str, str, bytes)
    for name, value, wanted in zip(ProjectionRow._fields, row, types, strict=True):
        if not isinstance(value, wanted):
            return f"a row whose {name} is a {type(value).__name__}"
    texts: tuple[object, ...] = (*row.key, row.tag, row.last_action)
    if len(texts) != 4 or any(not isinstance(text, str) or plain_text(text, len(text)) != text for text in texts):
        return "a row with text that no store takes"
    return "" if abs(row.version) < LARGEST else "a row whose version no store takes"
