"""The PostgreSQL store as the ports want it: one schema of one database, owned by one process, or shared by many.

Theory of operation. Connections, opened again when they are lost (``link``):

- One writes: commits, sends, projections (``writer``); the locks of an owner belong to its session (``ownership``).
- One reads, and is told by the server what others have sent and committed (``watch``). A read sees each commit that was answered
  before it began. It also tells others of our commits, after them and once for several.
- One for the beats of a worker, opened with the first.

A call that writes goes on to its end when its caller is cancelled; only its result is dropped. ``woken`` waits for the
notification that senders leave with their rows, and returns after 10 s without one. So an idle owner costs a query in 10 s.

What user code was running at a crash (``judging``) must be kept without a wait, so it is kept on this machine, in a file
of its temporary folder, whose lock also tells other processes here who owns the store. Each worker has such a file, and one that
starts uses that of a dead one. An owner on another machine does not find it: there an action that kills its process is counted
from the beginning.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

from ...codec import ErasedRows, Sealing
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import DatabaseConnectionError, OnexError
from ...kernel.membership import LiveWorker, Membership, ShardOwner, Worker
from ...kernel.search import SearchField, SearchFill, SearchSpec
from ...kernel.size_limits import check_body
from ...ports import Applied, Code, Commit, Conflict, Cut, Env, ProjectionRow
from ..owner_lock import OwnerLock
from ..store_errors import StoreReadOnly
from ..store_limits import REJECTIONS_MAX
from .address import Address, owner_file
from .link import CLOSE_S, Connection, Link
from .ownership import OWNED, OWNERS, WORKERS, ShardOwnership
from .read import PostgresReads
from .schema import check, make
from .watch import Channel, Notified
from .writer import Writer

R = TypeVar("R")


class PostgresStore(PostgresReads):
    """Store, Reader, Sender, ShardLeases and Projections of one schema. A process that does not call ``own`` may read and send.

    Made by ``open``. It belongs to one event loop. Any method raises EngineClosed after ``close``, and StoreReadOnly when it
    writes and may not.
    """

    def __init__(self, address: Address, *, read_only: bool, rejections_kept: int) -> None:
        super().__init__(Link(address, read_only=read_only, on_open=self._opened))
        self.address = address
        self.shards = 1
        self._ownership = ShardOwnership(address)
        self._writer = None if read_only else Writer(self._ownership, rejections_kept)
        self._committed = Channel(self._link, address.channel("committed"))
        self._sent = Channel(self._link, address.channel("sent"), self._has_one_of)
        self._moved = Channel(self._link, address.channel("workers"))
        self._workers_changed = Notified(self._moved)
        self._woken = Notified(self._sent)
        self._lock = OwnerLock(owner_file(address), 0o600)
        self._judged_before = b""
        self._telling: asyncio.Task[None] | None = None
        self._untold = False
        self._under_way: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(
        cls, address: Address, *, read_only: bool = False, create: bool = True, rejections_kept: int = REJECTIONS_MAX
    ) -> PostgresStore:
        """Make the store when there is none, unless ``read_only`` or not ``create``.

        Raises ServerUnreachable, StoreMissing, NotAStore, StoreTooNew, StoreTooOld, OtherShards and other kinds of
        DatabaseConnectionError.
        """
        store = cls(address, read_only=read_only, rejections_kept=rejections_kept)
        try:
            await store._link.open()
            if store._writer is None or not create:
                store.shards = await store._link.use(lambda connection: check(connection, store.address))
            else:
                store.shards = await store._writer.link.use(lambda connection: make(connection, store.address))
            if store._writer is not None:
                store._writer.shards = store.shards
        except BaseException:
            store.drop()
            raise
        return store

    async def _opened(self, connection: Connection) -> None:
        for channel in (self._sent, self._committed, self._moved):
            await channel.listen_on(connection)

    async def settle(self) -> None:
        if self._writer is not None:
            await self._writer.settle()

    @property
    def _writes(self) -> Writer:
        if self._writer is None:
            raise StoreReadOnly(f"{self.address.shown} was opened for reading only; open it without read_only to write")
        return self._writer

    async def _whole(self, work: Coroutine[Any, Any, R]) -> R:
        """Run it to its end, also when the caller is cancelled."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: the caller may be gone

    # --- the only owner ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        return await self._whole(self._own(owner))

    async def _own(self, owner: str) -> Mapping[int, int]:
        writer = self._writes
        if self._lock.held or not self._take_file():
            return {}
        try:
            fences = await self._ownership.own(owner)
        except BaseException:
            self._lock.free()
            raise
        if not fences:
            self._lock.free()
            return {}
        self._judged_before = self._lock.read()
        writer.forget(fences)
        return fences

    def _take_file(self) -> bool:
        folder = self._lock.path.parent
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                raise PermissionError("it belongs to another user")
        except OSError as error:
            raise DatabaseConnectionError(
                f"the folder {folder} for the owner of {self.address.shown} cannot be used: {error}", path=str(folder)
            ) from error
        return self._lock.take()

    def owned(self) -> list[int] | None:
        one = self._ownership
        return sorted(one.fences) if one.alone or one.worker else None

    def _has_one_of(self, told: str) -> bool:
        """``told``: the shards that something was sent to, or nothing when that is not said."""
        fences = self._ownership.fences
        return not told or any(shard.isdecimal() and int(shard) in fences for shard in told.split(","))

    # --- one of many --------------------------------------------------------------------------------------------------

    async def join(self, worker: Worker) -> None:
        await self._whole(self._join(worker))

    async def _join(self, worker: Worker) -> None:
        """The file of this worker is the first that no living one of this machine has: so that of one that has died."""
        writer = self._writes
        await self._ownership.join(worker)
        for place in count():
            self._lock = OwnerLock(owner_file(self.address, f"worker-{place}"), 0o600)
            if self._take_file():
                break
        self._judged_before = self._lock.read()
        writer.forget(range(self.shards))

    async def beat(self) -> Membership:
        return await self._ownership.beat()

    async def look(self) -> Membership:
        workers = tuple(LiveWorker(Worker(*row[:3]), row[3], row[4]) for row in await self._fetch(WORKERS))
        return Membership(workers, tuple(ShardOwner(*row) for row in await self._fetch(OWNERS)))

    async def is_owned(self) -> bool:
        """Whether an engine runs on it now, on whatever machine: one for itself, or workers. Its session holds a lock."""
        return bool((await self._fetch(OWNED, self.address.lock_key("owner")))[0][0])

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        return await self._whole(self._take(shards))

    async def _take(self, shards: Collection[int]) -> Mapping[int, int]:
        taken = await self._ownership.take(shards)
        self._writes.forget(taken)
        return taken

    async def give(self, shards: Collection[int]) -> None:
        await self._whole(self._ownership.give(shards))

    async def leave(self) -> None:
        await self._whole(self._leave())

    async def _leave(self) -> None:
        if self._ownership.worker is not None:
            self._lock.write(b"")
            await self._ownership.leave()
            self._lock.free()
            self._lock = OwnerLock(owner_file(self.address), 0o600)

    async def workers_changed(self) -> None:
        await self._workers_changed.changed()

    # --- writing ------------------------------------------------------------------------------------------------------

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        return await self._whole(self._writes.intern(code, env))

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        outcomes = await self._whole(self._writes.commit(commit))
        self._untold = True
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_committed())
        return outcomes

    async def _tell_committed(self) -> None:
        """Wake who waits for commits: once for all since the last time. Lost, it costs those some seconds."""
        while self._untold:
            self._untold = False
            with suppress(OnexError):
                await self._link.use(
                    lambda connection: connection.execute("select pg_notify($1, '')", self._committed.name)
                )

    def judging(self, record: bytes) -> None:
        self._lock.write(record)

    async def judged(self) -> bytes:
        return self._judged_before

    def crash_file(self) -> int | None:
        """See ``OwnerLock.crash_file``."""
        return self._lock.crash_file()

    async def woken(self) -> None:
        await self._woken.changed()

    async def close(self) -> None:
        """Free what was owned. Idempotent. Calls that write are ended first; one that hangs is given up after 10 s."""
        if self._under_way:
            _, hanging = await asyncio.wait(set(self._under_way), timeout=CLOSE_S)
            if hanging and self._writer is not None:
                self._writer.link.drop()
        self._lock.write(b"")
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=CLOSE_S)
        await self._ownership.close()
        await self._link.close()
        self._lock.free()

    def drop(self) -> None:
        """Do what the death of the process does: no connection is ended orderly. For tests; ``close`` still follows."""
        self._link.drop()
        self._ownership.drop()
        self._lock.free()

    # --- any process --------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        return (await self.send_all([body], at_us, [shard]))[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        checked = [check_body(body) for body in bodies]
        return await self._whole(self._writes.send_all(checked, at_us, shards or [0] * len(checked)))

    def watch(self) -> Notified:
        """For one who waits for a commit of another process, such as an answer."""
        return Notified(self._committed)

    async def answer(self, ticket: int) -> bytes | None:
        return (await self.answers([ticket])).get(ticket)

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        return await self._whole(self._writes.cut(cuts, at_us, dry=dry))

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        return await self._whole(self._writes.unnamed_blobs(after, before_us, limit))

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        return await self._whole(self._writes.drop_blobs(digests))

    async def expire(self, at_us: int, *, dry: bool = False) -> int:
        return await self._whole(self._writes.expire(at_us, dry=dry))

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        await self._whole(self._writes.add_data_keys(keys))

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        return await self._whole(self._writes.erase(key, by, at_us))

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        await self._whole(self._writes.rewrite(key, wrapped, sealing))

    async def keys_under_others(self, master: str, after: str, limit: int) -> Sequence[WrappedKey]:
        rows = await self._fetch(
            "select owner, master, wrapped, plain_until, erased_us from data_keys where master <> $1 and erased_us = 0"
            " and owner > $2 order by owner limit $3",
            master, after, limit,
        )  # fmt: skip
        return [WrappedKey(*row) for row in rows]

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        return await self._whole(self._writes.rewrap(pairs))

    async def overwrite(self, *, whole: bool = False) -> bool:
        """False: what a server keeps of old versions of rows, it keeps."""
        return False

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return await self._whole(self._writes.project(name, shard, from_n, to_n, rows))

    # --- search -------------------------------------------------------------------------------------------------------

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        return await self._whole(self._writes.declare_search(wanted))

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        await self._whole(self._writes.fill_search(rows))

    async def search_filled(self, spec: SearchSpec) -> bool:
        return await self._whole(self._writes.search_filled(spec))
