"""The SQLite store as the ports want it: coroutines that hand each call to a thread. The work is done in ``core`` and ``read``.

Theory of operation. Three threads, each with a connection of its own:

- ``onex-sqlite-write`` runs everything that writes, one call after the other (``core``).
- ``onex-sqlite-read`` runs the reads. They never wait behind a commit. They see each commit that was answered before they
  began, since a read opens its view of the WAL after that.
- ``onex-sqlite-checkpoint`` copies the WAL into the file while the writer goes on (``threads.Checkpointer``).

A call that was handed over is executed even when its caller is cancelled; only its result is dropped. Before each call the
thread checks that the files are still those that were opened.

``woken`` polls every 25 ms. Senders leave a wake token in the owner's file after their commit. One that may not write there
is found by the WAL's time and size; SQLite itself is asked only after these have changed. Such a signal can be lost, so it
returns after 5 s without one: a read in five seconds is no load.

``close`` ends in a fixed order: reads, checkpoints, then the writer, which copies the rest of the WAL and frees the owner's
lock. An open reader would keep it from copying all. A disk that hangs could hold it for ever, so after 10 s the lock
is freed and the thread is left behind. Its fence keeps that safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ...code_use import CodeUse
from ...codec import ErasedRows, Sealing
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import EngineClosed
from ...kernel.search import SearchCode, SearchField, SearchFill, SearchSpec
from ...kernel.search_query import SearchPlace, SearchQuery
from ...ports import (
    Applied,
    Attempt,
    Code,
    Commit,
    Conflict,
    Counts,
    Cut,
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
from ..store_errors import StoreReadOnly
from ..store_limits import REJECTIONS_MAX
from . import retention, search
from .commit_watch import CommitWatch
from .core import OWNER_WAIT_MS, SqliteCore
from .data_keys import erase_rows, keys_under_others, rewrap
from .location import real_path, wal_path
from .read import SqliteReads
from .rewriting import rewrite_rows
from .schema import SHARDS
from .threads import CLOSE_S, Checkpointer, StoreThread, in_thread, set_done

WATCH_S: Final = 0.025
LOOK_S: Final = 5.0
TICK_NS: Final = 20_000_000
"""A file's times move in ticks of the kernel: two writes within one tick may show the same time."""


class SqliteStore:
    """Store, Reader, Sender and Projections of one file. A process that does not call ``own`` may read and send.

    Made by ``open``. Any method raises EngineClosed after ``close``, and StoreReadOnly when it writes and may not.
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
        """Make the store when there is none (not when ``read_only``). Raises DatabaseConnectionError or a subclass.

        Links in ``path`` are followed once, here. A later change of a link or of the working directory has no effect.
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
            self._wake_token = (
                self._core.wake_token()
            )  # what was sent before this is found when the engine first reads the inbox
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

    def crash_file(self) -> int | None:
        """See ``OwnerLock.crash_file``."""
        return None if self._core is None else self._core.crash_file()

    async def woken(self) -> None:
        end_s = time.monotonic() + LOOK_S
        while True:
            if await self._written_elsewhere() or time.monotonic() >= end_s:
                return
            await asyncio.sleep(WATCH_S)

    async def _written_elsewhere(self) -> bool:
        """Compare the wake token that senders leave after their commit; then, for senders that may not leave one, the WAL.

        SQLite is asked only after the WAL has changed, so an idle store costs a few calls of ``stat`` and no query. A change of
        the WAL can be seen before its commit can. So a sender that left no token may be found only after the next change.
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
        """Whether another connection has written since the last call. Our own commits do not count."""
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
        """Free what was owned. Idempotent. It goes on to its end also when the caller is cancelled.

        Calls that were handed over before are executed first. One that hangs, because the disk does, is left behind after 10 s.
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

        def ended() -> None:
            if loop is not None and over is not None:
                set_done(loop, over)

        def last(core: SqliteCore) -> None:
            """Close the reads' connection first: while it is open the WAL cannot be emptied."""
            if folder is not None:
                folder.close()
            reads.join(CLOSE_S)
            core.close()

        reads.end(lambda core: core.close(), ended if self._write_thread is None else lambda: None)
        if self._write_thread is not None:
            self._write_thread.end(last, ended)

    async def drop(self) -> None:
        """Do what the death of the process does: no checkpoint, the owner's lock is free. For tests; ``close`` still follows."""
        await self._writes.call(lambda core: core.drop())

    # --- any process --------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        return (await self.send_all([body], at_us))[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        return await self._writes.call(lambda core: core.send_all(bodies, at_us))

    def watch(self) -> CommitWatch:
        """For one who waits for a commit of another process, such as an answer."""
        return CommitWatch(self._wal)

    async def answer(self, ticket: int) -> bytes | None:
        return (await self.answers([ticket])).get(ticket)

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        return await self._reads.call(lambda core: core.answers(tickets))

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

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        return await self._reads.call(lambda core: core.attempts(key, limit))

    async def blob(self, digest: bytes) -> bytes | None:
        return await self._reads.call(lambda core: core.blob(digest))

    async def counts(self) -> Counts:
        return await self._reads.call(lambda core: core.counts())

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        return await self._reads.call(lambda core: core.data_keys(owners))

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        await self._writes.call(lambda core: core.add_data_keys(keys))

    async def code_uses(self) -> Sequence[CodeUse]:
        return await self._reads.call(lambda core: core.code_uses())

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        rows = await self._writes.call(lambda core: core.transaction(lambda cursor: erase_rows(cursor, key, by, at_us)))
        return None if rows is None else rows._replace(overwritten=await self.overwrite())

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        await self._writes.call(
            lambda core: core.transaction(lambda cursor: rewrite_rows(cursor, key, wrapped, sealing))
        )

    async def keys_under_others(self, master: str, after: str, limit: int) -> Sequence[WrappedKey]:
        return await self._writes.call(
            lambda core: core.transaction(lambda cursor: keys_under_others(cursor.connection, master, after, limit))
        )

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        return await self._writes.call(lambda core: core.transaction(lambda cursor: rewrap(cursor, pairs)))

    async def overwrite(self, *, whole: bool = False) -> bool:
        return await self._writes.call(lambda core: core.overwrite(whole=whole))

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        return await self._reads.call(lambda core: core.in_flight(limit))

    async def watermark(self, name: str, shard: int) -> int:
        return await self._reads.call(lambda core: core.watermark(name, shard))

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return await self._writes.call(lambda core: core.project(name, shard, from_n, to_n, rows))

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        return await self._writes.call(
            lambda core: core.transaction(lambda cursor: retention.cut(cursor, cuts, at_us, dry=dry), keep=not dry)
        )

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        asked = (after, before_us, limit)
        return await self._writes.call(
            lambda core: core.transaction(lambda cursor: retention.unnamed_blobs(cursor, *asked))
        )

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        return await self._writes.call(
            lambda core: core.transaction(lambda cursor: retention.drop_blobs(cursor, digests))
        )

    async def expire(self, at_us: int, *, dry: bool = False) -> int:
        return await self._writes.call(
            lambda core: core.transaction(lambda cursor: retention.expire(cursor, at_us), keep=not dry)
        )

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        return await self._reads.call(lambda core: core.projected(name, tag, after, limit))

    # --- search -------------------------------------------------------------------------------------------------------

    async def search_specs(self) -> Mapping[str, SearchSpec]:
        return await self._reads.call(lambda core: core.search_specs())

    async def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        return await self._reads.call(lambda core: core.unfilled(spec, after, limit))

    async def find(
        self, query: SearchQuery, after: SearchPlace | None, limit: int
    ) -> Sequence[tuple[Stored, SearchCode]]:
        return await self._reads.call(lambda core: core.find(query, after, limit))

    async def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        return await self._reads.call(lambda core: core.tally(query, by))

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        return await self._writes.call(lambda core: core.transaction(lambda cursor: search.declare(cursor, wanted)))

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        await self._writes.call(lambda core: core.transaction(lambda cursor: search.fill(cursor, rows)))

    async def search_filled(self, spec: SearchSpec) -> bool:
        return await self._writes.call(lambda core: core.transaction(lambda cursor: search.mark_filled(cursor, spec)))
