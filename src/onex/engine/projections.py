"""Projections: tables built from the log, each by a pure function of one row, kept at a watermark that never runs ahead.

One materializer follows the log of one shard. A turn (``catch_up``) goes like this:

1. Read the watermark in the store: the position of the last row applied. What this object remembers does not count.
2. Read the next rows of the log, at most ``batch``, and call the projection's function on each. It is code of the user. At
   the first row on which it raises, or returns what no table takes, the turn stops before that row (``ProjectionFailed``).
3. Write the new rows and the watermark in one transaction, on the condition that the watermark is still where step 1 found
   it. So a crash between two batches, or a second materializer of the same name, applies no row twice and skips none: the
   one who comes second writes nothing, and reads the watermark again.
4. Tell those who wait for a position.

``_follow`` takes turns whenever something was committed. It reads the signal's count before the turn: a commit during the turn
then starts another. If the store fails for now, it tries again after 0.1 s, because no commit may come to wake it. Any other error
ends it, ``failed`` keeps the reason, and whoever waits gets that error at once. It stands still until the process starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import (
    DatabaseConnectionError,
    OnexError,
    ProjectionLagging,
    ValidationError,
    WorkflowExecutionError,
)
from ..kernel.user_code import a_type, caught, describe, plain_text
from ..ports import Clock, LogEntry, Position, ProjectionRow, Projections, Reader
from .encode import check_json
from .log_tail import ChangeSignal
from .metrics import Latency

WORKFLOW = "workflow"
PROJECTION_BATCH_SIZE = 100
WAIT_S = 1.0
LARGEST = 2**63

Project = Callable[[LogEntry], ProjectionRow | None]


def latest(entry: LogEntry) -> ProjectionRow:
    """The built-in projection ``workflow``: per instance its version, its status as tag, and the last action."""
    return ProjectionRow(entry.key, entry.version, entry.row.status, entry.row.kind, b"{}")


class ProjectionFailed(WorkflowExecutionError):
    """A projection's own function failed on a row of the log: it stands still before that row until the function is fixed."""

    code = "projection_failed"


@dataclass(frozen=True, slots=True)
class Lag:
    """``rows`` behind the end of the log; ``lag_ms`` since the oldest row not yet applied was issued, 0 when none."""

    watermark: Position
    rows: int
    lag_ms: float


class ProjectionBatch(NamedTuple):
    """The rows to upsert, of the first ``applied`` entries; ``failed`` says why not of more."""

    rows: list[ProjectionRow]
    applied: int
    failed: ProjectionFailed | None = None


async def lag_of(reader: Reader, tables: Projections, name: str, now_us: int, *, shard: int = 0) -> Lag:
    """Where a projection stands, for any process that may read. A projection that was never kept stands at 0."""
    # the watermark is read first: what is committed meanwhile can only make the lag larger
    at = Position(shard, await tables.watermark(name, shard))
    waited_ms = await _waited_ms(reader, at, now_us)
    return Lag(at, await rows_after(reader, at), waited_ms)


async def rows_after(reader: Reader, at: Position) -> int:
    """How many rows of this shard follow. Positions have no gap, so the last one is found by doubling, then halving."""
    step = 1
    while await reader.log(Position(at.shard, at.n + step - 1), 1):
        step *= 2
    low, high = step // 2, step - 1  # at least ``low`` follow, and at most ``high``
    while low < high:
        middle = (low + high + 1) // 2
        if await reader.log(Position(at.shard, at.n + middle - 1), 1):
            low = middle
        else:
            high = middle - 1
    return low


async def _waited_ms(reader: Reader, at: Position, now_us: int) -> float:
    behind = await reader.log(at, 1)
    return max(0.0, (now_us - behind[0].row.issued_us) / 1000) if behind else 0.0


class ProjectionMaterializerService:
    """Keeps one projection of one shard. ``project`` returns the row that an action leads to, or None for no change.

    ``failed`` is the reason why it stands still: ProjectionFailed, or an error of the store that no later try changes.
    ``materialized``: log rows applied here; ``batch_rows``: how many at a time.
    """

    def __init__(
        self,
        reader: Reader,
        tables: Projections,
        commit_signal: ChangeSignal,
        clock: Clock,
        name: str = WORKFLOW,
        project: Project = latest,
        *,
        shard: int = 0,
        batch: int = PROJECTION_BATCH_SIZE,
    ) -> None:
        self.reader, self.tables, self.commit_signal, self.clock = reader, tables, commit_signal, clock
        self.name, self.shard, self.batch = name, shard, batch
        self._project = project
        self._moved = ChangeSignal()
        self._at = 0  # the furthest watermark that was seen here: so that those who wait do not each ask the store
        self.failed: OnexError | None = None
        self.materialized, self.batch_rows = 0, Latency()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"onex-projection-{self.name}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def catch_up(self) -> int:
        """Apply what the log has; returns the number of rows applied. Raises ProjectionFailed, and what the store raises."""
        done = 0
        while True:
            at = await self.tables.watermark(self.name, self.shard)
            self._at = max(self._at, at)
            rows = await self.reader.log(Position(self.shard, at), self.batch)
            if not rows:
                self._moved.notify()  # another of the same name may have moved it
                return done
            batch = self._rows(rows)
            to = rows[batch.applied - 1].position.n if batch.applied else at
            if to > at and await self.tables.project(self.name, self.shard, at, to, batch.rows):
                done += batch.applied
                self.materialized += batch.applied
                self.batch_rows.add(batch.applied)
                self._at = max(self._at, to)
            self._moved.notify()
            if batch.failed is not None:
                raise batch.failed

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
        """Raises ProjectionLagging when the watermark is not at ``reached`` within a second; ``failed`` when it stands still."""
        try:
            async with asyncio.timeout(WAIT_S):
                seen = self._moved.count
                at = await self.tables.watermark(self.name, self.shard)
                while max(at, self._at) < reached.n:
                    if self.failed is not None:
                        raise self.failed
                    await self._moved.wait(seen)
                    seen = self._moved.count
                return
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
        """``lag().lag_ms`` alone, by two reads: a status line asks for it twice a second."""
        at = Position(self.shard, await self.tables.watermark(self.name, self.shard))
        return await _waited_ms(self.reader, at, self.clock.now_us())

    def _rows(self, entries: Sequence[LogEntry]) -> ProjectionBatch:
        """The rows of these entries, up to the first on which the function failed; the newest row per instance."""
        newest: dict[WorkflowKey, ProjectionRow] = {}
        for at, entry in enumerate(entries):
            try:
                row = self._project(entry)
                wrong = _misfit(row, entry.key)
            except BaseException as error:
                failed = self._failure(entry, "raised", f": {caught(error)}")
                failed.__cause__ = error
                return ProjectionBatch([*newest.values()], at, failed)
            if wrong:
                failed = self._failure(entry, f"returned {wrong}", "; return a ProjectionRow of the instance, or None")
                return ProjectionBatch([*newest.values()], at, failed)
            if row is not None:
                newest[row.key] = row
        return ProjectionBatch([*newest.values()], len(entries))

    def _failure(self, entry: LogEntry, did: str, why: str) -> ProjectionFailed:
        where = f"{entry.position.shard}:{entry.position.n} ({entry.key}, {entry.row.kind!r})"
        return ProjectionFailed(f"projection {self.name!r} {did} at {where}{why}")

    async def _run(self) -> None:
        """Ends only with a reason in ``failed``: whoever waits gets it, and nobody waits for a task that has ended."""
        try:
            await self._follow()
        except Exception as error:
            self._stand_still(WorkflowExecutionError(f"projection {self.name!r} stopped: {describe(error)}"))

    def _stand_still(self, error: OnexError) -> None:
        self.failed = error
        self._moved.notify()

    async def _follow(self) -> None:
        while True:
            seen = self.commit_signal.count
            try:
                await self.catch_up()
            except OnexError as error:
                # a store that cannot be written now may be writable later, and no commit may come to wake this loop
                if not error.retryable and not isinstance(error, DatabaseConnectionError):
                    self._stand_still(error)
                    return
                await self.clock.sleep(0.1)
                continue
            await self.commit_signal.wait(seen)


def _misfit(row: object, key: WorkflowKey) -> str:
    """What is wrong with what a projection's function returned; '' when the tables can take it."""
    if row is None:
        return ""
    if type(row) is not ProjectionRow:
        if type(row) is CoroutineType:
            row.close()  # it will never be awaited
        return a_type(row)
    types = (WorkflowKey, int, str, str, bytes)
    for name, value, wanted in zip(ProjectionRow._fields, row, types, strict=True):
        if type(value) is not wanted:
            return f"a row whose {name} is {a_type(value)}"
    if row.key != key:
        return f"a row of {plain_text(str(row.key), 300)}"
    if any(plain_text(text, len(text)) != text for text in (row.tag, row.last_action)):
        return "a row with text that no store takes"
    if row.fields != b"{}" and not _is_object(row.fields):
        return "a row whose fields are no JSON object"
    return "" if abs(row.version) < LARGEST else "a row whose version no store takes"


def _is_object(data: bytes) -> bool:
    try:
        return type(check_json(data)) is dict
    except ValidationError:
        return False
