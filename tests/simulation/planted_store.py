"""Bugs in what a store promises: one transaction, judged inside it, and nothing forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import orjson

from onex.adapters.memory.store import MemoryStore
from onex.adapters.sqlite.core import SqliteCore
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import FencedError
from onex.kernel.step import ROLLBACK
from onex.ports import (
    Applied,
    Commit,
    Conflict,
    EnumOutboxState,
    KeyChange,
    LogEntry,
    NewIntent,
    OutboxRow,
    Pointer,
    ProjectionRow,
)
from tests.simulation.planting import planted, swapped

LATER_S = 0.03


def later(write: Callable[[], None]) -> None:
    """In a transaction of its own, unless the process dies before."""
    asyncio.get_running_loop().call_later(LATER_S, write)


@planted
def fence_not_compared() -> Iterator[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        return await right(self, commit._replace(fences={0: self.tables.fence}))

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def ids_not_unique_in_the_store() -> Iterator[None]:
    """The look-up remains, the unique index is gone: what was folded twice is applied twice."""
    right = MemoryStore._conflict

    def wrong(self: MemoryStore, change: KeyChange) -> Conflict | None:
        kept, self.tables.actions = self.tables.actions, {}
        try:
            return right(self, change)
        finally:
            self.tables.actions = kept

    with swapped(MemoryStore, "_conflict", wrong):
        yield


@planted
def ids_forgotten_after_thirty_rows() -> Iterator[None]:
    """A window for duplicates that is shorter than clients remember."""
    right = MemoryStore._conflict
    look_up = MemoryStore.applied

    def young(self: MemoryStore) -> dict[tuple[WorkflowKey, bytes], int]:
        actions = self._tables.actions
        return {one: n for one, n in actions.items() if n > len(self._tables.log) - 30}

    def wrong(self: MemoryStore, change: KeyChange) -> Conflict | None:
        kept, self.tables.actions = self.tables.actions, young(self)
        try:
            return right(self, change)
        finally:
            self.tables.actions = kept

    async def forgetful(self: MemoryStore, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        return await look_up(self, key, action_id) if (key, action_id) in young(self) else None

    # the judge's own look at the log is not the engine's: only what an owner asks is forgotten
    with swapped(MemoryStore, "_conflict", wrong), swapped(MemoryStore, "applied", _of_owners(forgetful, look_up)):
        yield


def _of_owners(
    wrong: Callable[[MemoryStore, WorkflowKey, bytes], object],
    right: Callable[[MemoryStore, WorkflowKey, bytes], object],
) -> Callable[[MemoryStore, WorkflowKey, bytes], object]:
    def choose(self: MemoryStore, key: WorkflowKey, action_id: bytes) -> object:
        return (wrong if self._tables.owner is self else right)(self, key, action_id)

    return choose


@planted
def lease_not_compared() -> Iterator[None]:
    right = MemoryStore._conflict

    def wrong(self: MemoryStore, change: KeyChange) -> Conflict | None:
        stored = self.tables.stored.get(change.key)
        return right(self, change._replace(lease_seen=None if stored is None else stored.lease_id))

    with swapped(MemoryStore, "_conflict", wrong):
        yield


@planted
def position_drawn_before_the_transaction() -> Iterator[None]:
    """A commit that fails leaves a gap."""

    def wrong(self: SqliteCore, commit: Commit, rows: int) -> int:
        fence = commit.fences.get(0)
        drawn = "update shards set n = n + ? where shard = 0 and fence = ? returning n"
        found = self._cursor.execute(drawn, (rows, fence)).fetchall()
        if not found:
            raise FencedError("another owner", fence=fence)
        self._cursor.execute("begin immediate")
        n: int = found[0][0]
        return n

    with swapped(SqliteCore, "_begin", wrong):
        yield


@planted
def outbox_in_a_second_transaction() -> Iterator[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        bare = [one._replace(rows=tuple(row._replace(outbox=()) for row in one.rows)) for one in commit.changes]
        answers = await right(self, commit._replace(changes=tuple(bare)))
        left: list[tuple[LogEntry, NewIntent]] = []
        for change, answer in zip(commit.changes, answers, strict=True):
            if isinstance(answer, Applied):
                entries = self._tables.log[answer.first.n - 1 :]
                left += [(entry, new) for entry, row in zip(entries, change.rows, strict=False) for new in row.outbox]

        def emit() -> None:
            for entry, new in left if not self._closed else ():
                self._emit(entry, new)

        later(emit)
        return answers

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def outbox_rows_deleted_in_a_second_transaction() -> Iterator[None]:
    """The outcome stands in the log, and its row still says that it waits."""
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        kept = tuple(change._replace(settled=()) for change in commit.changes)
        answers = await right(self, commit._replace(changes=kept))

        def delete() -> None:
            for change, answer in zip(commit.changes, answers, strict=True):
                for pointer in change.settled if isinstance(answer, Applied) else ():
                    self._tables.outbox.pop(pointer, None)

        later(delete)
        return answers

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def rejections_in_a_second_transaction() -> Iterator[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        bare = tuple(change._replace(rejections=()) for change in commit.changes)
        answers = await right(self, commit._replace(changes=bare, rejections=()))
        rejections = [*commit.rejections, *(one for change in commit.changes for one in change.rejections)]

        def reject() -> None:
            for one in rejections if not self._closed else ():
                self._reject(one)

        later(reject)
        return answers

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def blobs_not_written() -> Iterator[None]:
    right = SqliteCore._finish

    def wrong(self: SqliteCore, commit: Commit, beside: object) -> None:
        right(self, commit._replace(blobs=()), beside)  # type: ignore[arg-type]  # whatever it was given

    with swapped(SqliteCore, "_finish", wrong):
        yield


@planted
def blobs_in_a_second_transaction() -> Iterator[None]:
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        answers = await right(self, commit._replace(blobs=()))
        later(lambda: self._tables.blobs.update({blob.digest: blob for blob in commit.blobs}))
        return answers

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def conflict_leaves_its_answers() -> Iterator[None]:
    """What was judged on a change is written though the change is not."""
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        answers = [*commit.answers, *(one for change in commit.changes for one in change.answers)]
        rejections = [*commit.rejections, *(one for change in commit.changes for one in change.rejections)]
        return await right(self, commit._replace(answers=tuple(answers), rejections=tuple(rejections)))

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def conflict_settles_its_rows() -> Iterator[None]:
    """The row of an outcome is gone though the outcome was left out: after a crash nobody knows that there was one."""
    right = MemoryStore.commit

    async def wrong(self: MemoryStore, commit: Commit) -> Sequence[Applied | Conflict]:
        settled = [*commit.settled, *(pointer for change in commit.changes for pointer in change.settled)]
        return await right(self, commit._replace(settled=tuple(settled)))

    with swapped(MemoryStore, "commit", wrong):
        yield


@planted
def dead_rows_shown_as_waiting() -> Iterator[None]:
    right = MemoryStore.waiting

    async def wrong(
        self: MemoryStore, after: Pointer | None, limit: int, timers_before_us: int | None
    ) -> Sequence[OutboxRow]:
        rows = list(await right(self, after, limit, timers_before_us))
        if timers_before_us is None:
            rows += [row for row in self._behind(after) if row.state is EnumOutboxState.DEAD]
        return sorted(rows, key=lambda row: row.pointer)[:limit]

    with swapped(MemoryStore, "waiting", wrong):
        yield


@planted
def snapshot_of_the_state_after() -> Iterator[None]:
    """At a change of code the state that is kept is the one the new code made."""
    right = MemoryStore._apply

    def wrong(self: MemoryStore, change: KeyChange) -> Applied:
        stale = change if change.snapshot_before is None else change._replace(snapshot_before=change.state)
        return right(self, stale)

    with swapped(MemoryStore, "_apply", wrong):
        yield


@planted
def rollback_cuts_the_history() -> Iterator[None]:
    right = MemoryStore._apply

    def wrong(self: MemoryStore, change: KeyChange) -> Applied:
        applied = right(self, change)
        for row in change.rows:
            if row.kind == ROLLBACK:
                versions = self.tables.versions[change.key]
                self.tables.versions[change.key] = versions[: orjson.loads(row.payload)["to_version"]] + versions[-1:]
        return applied

    with swapped(MemoryStore, "_apply", wrong):
        yield


@planted
def projection_without_compare_and_set() -> Iterator[None]:
    right = MemoryStore.project

    async def wrong(
        self: MemoryStore, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]
    ) -> bool:
        self.tables.watermarks[name, shard] = from_n
        return await right(self, name, shard, from_n, to_n, rows)

    with swapped(MemoryStore, "project", wrong):
        yield
