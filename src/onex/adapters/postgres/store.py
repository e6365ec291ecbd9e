"""The PostgreSQL store as the ports want it: one schema of one database, owned by one process at a time.

Theory of operation. Two connections, opened again when they are lost (``link``):

- One writes: commits, sends, projections; the owner's lock belongs to its session (``writer``).
- One reads, and is told by the server what others have sent and committed (``watch``). A read sees each commit that was answered
  before it began.

A call that writes goes on to its end when its caller is cancelled; only its result is dropped. ``woken`` waits for the
notification that senders leave with their rows, and returns after 5 s without one. So an idle owner costs a query in 5 s.

What user code was running at a crash (``judging``) must be kept without a wait, so it is kept on this machine, in a file
of its temporary folder, whose lock also tells other processes here who owns the store. An owner on another machine does not
find it: there an action that kills its process is counted from the beginning.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from ...kernel.errors import DatabaseConnectionError
from ...kernel.size_limits import check_body
from ...ports import Applied, Code, Commit, Conflict, Env, ProjectionRow
from ..owner_lock import OwnerLock
from ..store_errors import StoreReadOnly
from ..store_limits import REJECTIONS_MAX
from .address import Address, owner_file
from .link import CLOSE_S, Connection, Link
from .read import PostgresReads
from .schema import SHARDS, check, make
from .watch import Channel, Notified
from .writer import Writer

R = TypeVar("R")


class PostgresStore(PostgresReads):
    """Store, Reader, Sender and Projections of one schema. A process that does not call ``own`` may read and send.

    Made by ``open``. It belongs to one event loop. Any method raises EngineClosed after ``close``, and StoreReadOnly when it
    writes and may not.
    """

    shards = SHARDS

    def __init__(self, address: Address, *, read_only: bool, rejections_kept: int) -> None:
        super().__init__(Link(address, read_only=read_only, on_open=self._opened))
        self.address = address
        self._writer = None if read_only else Writer(address, rejections_kept)
        self._committed = Channel(self._link, address.channel("committed"))
        self._sent = Channel(self._link, address.channel("sent"))
        self._woken = Notified(self._sent)
        self._lock = OwnerLock(owner_file(address), 0o600)
        self._judged_before = b""
        self._under_way: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(
        cls, address: Address, *, read_only: bool = False, create: bool = True, rejections_kept: int = REJECTIONS_MAX
    ) -> PostgresStore:
        """Make the store when there is none, unless ``read_only`` or not ``create``.

        Raises ServerUnreachable, StoreMissing, NotAStore, StoreTooNew, StoreTooOld and other kinds of
        DatabaseConnectionError.
        """
        store = cls(address, read_only=read_only, rejections_kept=rejections_kept)
        try:
            await store._link.open()
            if store._writer is None or not create:
                await store._link.use(lambda connection: check(connection, store.address))
            else:
                await store._writer.link.use(lambda connection: make(connection, store.address))
        except BaseException:
            store.drop()
            raise
        return store

    async def _opened(self, connection: Connection) -> None:
        for channel in (self._sent, self._committed):
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

    # --- the owner ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        return await self._whole(self._own(owner))

    async def _own(self, owner: str) -> Mapping[int, int]:
        writer = self._writes
        if self._lock.held or not self._take_file():
            return {}
        try:
            fence = await writer.own(owner)
        except BaseException:
            self._lock.free()
            raise
        if not fence:
            self._lock.free()
            return {}
        self._judged_before = self._lock.read()
        return {0: fence}

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

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        return await self._whole(self._writes.intern(code, env))

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        return await self._whole(self._writes.commit(commit))

    def judging(self, record: bytes) -> None:
        self._lock.write(record)

    async def judged(self) -> bytes:
        return self._judged_before

    async def woken(self) -> None:
        await self._woken.changed()

    async def close(self) -> None:
        """Free what was owned. Idempotent. Calls that write are ended first; one that hangs is given up after 10 s."""
        if self._under_way:
            _, hanging = await asyncio.wait(set(self._under_way), timeout=CLOSE_S)
            if hanging and self._writer is not None:
                self._writer.link.drop()
        self._lock.write(b"")
        if self._writer is not None:
            await self._writer.close()
        await self._link.close()
        self._lock.free()

    def drop(self) -> None:
        """Do what the death of the process does: no connection is ended orderly. For tests; ``close`` still follows."""
        self._link.drop()
        if self._writer is not None:
            self._writer.link.drop()
        self._lock.free()

    # --- any process --------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        return (await self.send_all([body], at_us))[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        return await self._whole(self._writes.send_all([check_body(body) for body in bodies], at_us))

    def watch(self) -> Notified:
        """For one who waits for a commit of another process, such as an answer."""
        return Notified(self._committed)

    async def answer(self, ticket: int) -> bytes | None:
        return (await self.answers([ticket])).get(ticket)

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return await self._whole(self._writes.project(name, shard, from_n, to_n, rows))
