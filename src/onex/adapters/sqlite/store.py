"""The SQLite store as ports: one thread writes, one reads, one folds the WAL back; everything else is the core's.

Reads have a connection of their own and never wait behind a commit; what a commit has answered they see.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ...kernel.action import WorkflowKey
from ...kernel.errors import EngineClosed
from ...ports import (
    Applied,
    Code,
    Commit,
    Conflict,
    Counts,
    EnumOutboxState,
    Env,
    InboxRow,
    InFlight,
    LogEntry,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    RejectionRow,
    SnapshotRow,
    Stored,
)
from ..store_limits import REJECTIONS_MAX
from .core import OWNER_WAIT_MS, SqliteCore
from .errors import StoreReadOnly
from .location import real_path, wal_path
from .read import SqliteReads
from .schema import SHARDS
from .threads import CLOSE_S, Checkpointer, StoreThread, in_thread, tell_over

WATCH_S: Final = 0.025
TICK_NS: Final = 20_000_000  # a file's times move in the kernel's ticks: younger than this, a second write may not show


class SqliteStore:
    """Store, Reader, Sender and Projections of one file. ``own`` makes this process its owner; without it, it sends.

    Made by ``open``. Any method raises EngineClosed after ``close``; StoreReadOnly where it would write and may not.
    """

    shards = SHARDS

    def __init__(self, reads: SqliteReads, core: SqliteCore | None) -> None:
        self.path = reads.path
        self._read_thread = StoreThread("onex-sqlite-read", reads)
        self._core = core
        self._write_thread = None if core is None else StoreThread("onex-sqlite-write", core)
        self._checkpointer: Checkpointer | None = None
        self._wal = wal_path(self.path)
        self._wal_seen: tuple[int, int] | None = None
        self._wal_quiet = False
        self._elsewhere = 0 if core is None else core.changed_elsewhere()
        self._wake_token = b""
        self._closed = False
        self._over: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls, path: Path, *, read_only: bool = False, wait_ms: int = OWNER_WAIT_MS, rejections_kept: int = REJECTIONS_MAX
    ) -> SqliteStore:
        """Makes the store when there is none (not when ``read_only``). Raises DatabaseConnectionError and its kinds.

        ``path`` is followed through links here and now: what changes of links or of the working directory changes nothing.
        """
        path = real_path(path)

        def opened() -> SqliteStore:
            core = None if read_only else SqliteCore(path, wait_ms=wait_ms, rejections_kept=rejections_kept)
            try:
                return cls(SqliteReads(path), core)
            except BaseException:
                if core is not None:
                    core.close()
                raise

        return await in_thread(opened, lambda store: store._end(None))

    @property
    def _reads(self) -> StoreThread[SqliteReads]:
        if self._closed:
            raise EngineClosed(f"the store {self.path} was closed here; open it again")
        return self._read_thread

    @property
    def _writes(self) -> StoreThread[SqliteCore]:
        if self._closed:
            raise EngineClosed(f"the store {self.path} was closed here; open it again")
        if self._write_thread is None:
            raise StoreReadOnly(f"{self.path} was opened for reading only; open it without read_only to write")
        return self._write_thread

    # --- the owner ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        fences = await self._writes.call(lambda core: core.own(owner))
        if fences and self._checkpointer is None and self._core is not None:
            self._wake_token = self._core.wake_token()  # what was sent before is found by the first look
            self._checkpointer = Checkpointer(self._core.files)
        return fences

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        return await self._writes.call(lambda core: core.intern(code, env))

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        answers = await self._writes.call(lambda core: core.commit(commit))
        if self._checkpointer is not None:
            self._checkpointer.written.set()
        return answers

    def judging(self, record: bytes) -> None:
        if self._core is not None:
            self._core.judging(record)

    async def judged(self) -> bytes:
        return b"" if self._core is None else self._core.judged()

    async def woken(self) -> None:
        while True:
            if await self._written_elsewhere():
                return
            await asyncio.sleep(WATCH_S)

    async def _written_elsewhere(self) -> bool:
        """Looks at the sign that senders leave behind their commit, and, for those that may not leave one, at the WAL.

        SQLite is asked only after the WAL has changed, so an idle store costs some looks at files and no query. A commit
        can be seen later than its WAL: who has left no sign may wait for the next look of somebody else.
        """
        if self._core is not None:
            self._core.files.check()
            token = self._core.wake_token()
            if token != self._wake_token:
                self._wake_token = token
                return True
        try:
            found = self._wal.stat()
        except FileNotFoundError:
            seen, quiet = None, True
        else:
            seen, quiet = (found.st_mtime_ns, found.st_size), time.time_ns() - found.st_mtime_ns > TICK_NS
        if seen == self._wal_seen and self._wal_quiet:
            return False
        self._wal_seen, self._wal_quiet = seen, quiet
        return await self.changed_elsewhere()

    async def changed_elsewhere(self) -> bool:
        """Whether another connection has written since this was last asked: our own commits do not count."""
        version = await self._writes.call(lambda core: core.changed_elsewhere())
        moved, self._elsewhere = version != self._elsewhere, version
        return moved

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        return await self._reads.call(lambda core: core.waiting(after, limit, timers_before_us))

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        return await self._reads.call(lambda core: core.inbox(after, limit))

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        return await self._reads.call(lambda core: core.applied(key, action_id))

    async def close(self) -> None:
        """Frees what was owned. Idempotent; ends all the same when nobody waits for it any more.

        What was handed over before is done first. A call that hangs, because the disk does, is left behind after 10 s.
        """
        loop = asyncio.get_running_loop()
        if self._over is None:
            self._over = loop.create_future()
            self._end(self._over)
        if self._over.done() or self._over.get_loop() is not loop:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.shield(self._over)
        except TimeoutError:
            if self._core is not None:
                self._core.abandon()

    def _end(self, over: asyncio.Future[None] | None) -> None:
        self._closed = True
        loop, reads, folder = None if over is None else over.get_loop(), self._read_thread, self._checkpointer

        def told() -> None:
            if loop is not None and over is not None:
                tell_over(loop, over)

        def last(core: SqliteCore) -> None:
            """The reads' connection first: with it open the WAL could not be folded whole."""
            if folder is not None:
                folder.close()
            reads.join(CLOSE_S)
            core.close()

        reads.end(lambda core: core.close(), told if self._write_thread is None else lambda: None)
        if self._write_thread is not None:
            self._write_thread.end(last, told)

    async def drop(self) -> None:
        """What the end of its process does: no fold, no word, the owner's lock is free. ``close`` it all the same."""
        await self._writes.call(lambda core: core.drop())

    # --- any process --------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int) -> int:
        return await self._writes.call(lambda core: core.send(body, at_us))

    async def answer(self, ticket: int) -> bytes | None:
        return await self._reads.call(lambda core: core.answer(ticket))

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return await self._reads.call(lambda core: core.load(keys))

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return await self._reads.call(lambda core: core.instances(workflow_type, status, after, limit))

    async def codes(self) -> Mapping[int, Code]:
        return await self._reads.call(lambda core: core.codes())

    async def envs(self) -> Mapping[int, Env]:
        return await self._reads.call(lambda core: core.envs())

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        return await self._reads.call(lambda core: core.log(after, limit))

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._reads.call(lambda core: core.history(key, after, limit))

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return await self._reads.call(lambda core: core.snapshot(key, at_most))

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        return await self._reads.call(lambda core: core.outbox(states, key, after, limit))

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        return await self._reads.call(lambda core: core.rejections(key, action_id, after, limit))

    async def blob(self, digest: bytes) -> bytes | None:
        return await self._reads.call(lambda core: core.blob(digest))

    async def counts(self) -> Counts:
        return await self._reads.call(lambda core: core.counts())

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        return await self._reads.call(lambda core: core.in_flight(limit))

    async def watermark(self, name: str, shard: int) -> int:
        return await self._reads.call(lambda core: core.watermark(name, shard))

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return await self._writes.call(lambda core: core.project(name, shard, from_n, to_n, rows))

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        return await self._reads.call(lambda core: core.projected(name, tag, after, limit))
