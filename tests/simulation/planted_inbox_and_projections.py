"""Bugs beside the engine's middle: the inbox, those who follow the log, and the projections built from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onex.engine.inbox import Inbox
from onex.engine.log_tail import LogTail
from onex.engine.projections import ProjectionBatch, ProjectionMaterializerService
from onex.ports import InboxRow, LogEntry, Position
from tests.simulation.planting import planted, swapped


@planted
def inbox_row_passed_over_when_the_mailbox_is_full() -> Iterator[None]:
    right = Inbox.drain
    seen: set[int] = set()

    async def wrong(self: Inbox) -> int:
        rows: Sequence[InboxRow] = await self.service.store.inbox(0, 100)
        skip = max((row.ticket for row in rows if row.ticket in seen), default=0)
        seen.update(row.ticket for row in rows)
        self._taken = max(self._taken, skip)
        return await right(self)

    with swapped(Inbox, "drain", wrong):
        yield


@planted
def log_tail_skips_a_row_after_a_page() -> Iterator[None]:
    right = LogTail.read

    async def wrong(self: LogTail) -> Sequence[LogEntry]:
        rows = await right(self)
        if len(rows) > 3:
            self.position = self.position._replace(n=self.position.n + 1)
        return rows

    with swapped(LogTail, "read", wrong):
        yield


@planted
def watermark_ahead_of_its_rows() -> Iterator[None]:
    right = ProjectionMaterializerService._rows

    def wrong(self: ProjectionMaterializerService, entries: Sequence[LogEntry]) -> ProjectionBatch:
        return right(self, entries[:-1])._replace(applied=len(entries))

    with swapped(ProjectionMaterializerService, "_rows", wrong):
        yield


@planted
def watermark_moved_before_its_rows() -> Iterator[None]:
    """Two transactions: whoever asks in between is shown what was, as what is."""

    async def wrong(self: ProjectionMaterializerService) -> int:
        at = await self.tables.watermark(self.name, self.shard)
        rows = await LogTail(self.reader, self.commit_signal, Position(self.shard, at), page=self.batch).read()
        if not rows:
            self._moved.notify()
            return 0
        await self.tables.project(self.name, self.shard, at, rows[-1].position.n, ())
        self._moved.notify()
        await self.tables.project(
            self.name, self.shard, rows[-1].position.n, rows[-1].position.n, self._rows(rows).rows
        )
        return len(rows)

    with swapped(ProjectionMaterializerService, "catch_up", wrong):
        yield


@planted
def unreadable_inbox_row_never_answered() -> Iterator[None]:
    """What cannot be read is passed over, and who sent it waits for ever."""
    right = Inbox._take

    async def wrong(self: Inbox, row: InboxRow) -> None:
        if b"workflow_key" in row.body:
            await right(self, row)

    with swapped(Inbox, "_take", wrong):
        yield
