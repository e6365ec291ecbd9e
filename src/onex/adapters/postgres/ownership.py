"""Which shards this process has, under which fences, and how it keeps others away. It holds the connection that writes.

Theory of operation. The fence alone decides who writes: every commit compares it, and it rises at each change of owner. Locks of
the writing session (advisory locks) say who is there, and that an old session has ended:

- ``own`` takes the lock *store* alone, and then all shards. ``join`` takes it shared, so the two refuse each other.
- A worker also has a lock of its own id. Its lease stands in ``workers``, and every time in it is the server's clock.

Shards change hands in three ways. ``give`` frees them and raises their fences, so a commit that comes later finds an older one.
``take`` raises the fences of those that are free or whose worker's lease has run out, under a lock, so that two takers do not
see the same one free. A worker that was stopped in the middle of a commit holds the rows of its shards: ``take`` ends its
session. ``beat`` renews the lease and reads who has what: one statement, on a connection of its own, so a slow commit
never delays it. It does not wait for the disk: a crash of the server may lose a beat, and makes a lease shorter by that.

What may go wrong:

- The connection is lost. The next one ends the old session and takes its locks again, and so waits until no commit of it is under
  way. One owner then compares all fences. A worker goes on: what was taken from it meanwhile is found by its next commit.
- The answer to ``take`` is lost: the store says that a shard is ours, and who asked does not know the fence. It takes it again.
- ``beat`` may have read before a ``take`` of ours that has ended. It believes only fences that are higher than ours.
- A deadlock with a commit of the former owner: the server ends one of the two (``SerializationFailed``), and it is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import asyncpg

from ...kernel.errors import FencedError, OwnershipLost
from ...kernel.membership import LiveWorker, Membership, ShardOwner, Worker
from ..store_errors import StoreBusy
from .address import Address
from .link import Connection, Link

FREED_S: Final = 0.5
"""For so long ``own`` and ``join`` wait for a lock: the server frees it a moment after its session has ended."""
AGAIN_S: Final = 5.0
"""For so long a session that was lost may keep its locks."""

_END_SESSION: Final = """select pg_terminate_backend(pid) from pg_stat_activity
  where pid = $1 and backend_start = $2 and pid <> pg_backend_pid()"""
_END_HOLDER: Final = """select pg_terminate_backend(pid) from pg_locks
  where locktype = 'advisory' and granted and objsubid = 1 and ((classid::bigint << 32) | objid::bigint) = $1
  and database = (select oid from pg_database where datname = current_database()) and pid <> pg_backend_pid()"""
_ALIVE: Final = "w.heard + make_interval(secs => w.lease_s) > clock_timestamp()"
_JOIN: Final = """insert into workers(id, lease_s, about) values($1, $2, $3)
  on conflict(id) do update set heard = clock_timestamp() returning *"""
# A part of a statement that writes is not seen by the others, so this worker is read from what it has written.
_BEAT: Final = f"""with mine as ({_JOIN}),
  seen as (select * from mine union all select w.* from workers w where w.id <> $1 and {_ALIVE})
  select id, lease_s, about, extract(epoch from clock_timestamp() - joined)::float8,
    extract(epoch from clock_timestamp() - heard)::float8,
    (select array_agg(s.fence order by s.shard) from shards s),
    (select array_agg(case when s.owner = $1 or w.id is not null then s.owner else '' end order by s.shard)
      from shards s left join workers w on w.id = s.owner)
  from seen order by joined, id"""  # noqa: S608 - all of it ours
WORKERS: Final = f"""select id, lease_s, about, extract(epoch from clock_timestamp() - joined)::float8,
  extract(epoch from clock_timestamp() - heard)::float8 from workers w where {_ALIVE} order by joined, id"""  # noqa: S608 - all of it ours
OWNERS: Final = """select case when w.id is not null then s.owner else '' end, s.fence
  from shards s left join workers w on w.id = s.owner order by s.shard"""
OWNED: Final = """select exists (select 1 from pg_locks where locktype = 'advisory' and granted and objsubid = 1
  and database = (select oid from pg_database where datname = current_database())
  and (classid::bigint << 32 | objid::bigint) = $1)"""
_GONE: Final = f"""select distinct s.owner from shards s left join workers w on w.id = s.owner
  where s.shard = any($1::bigint[]) and s.owner not in ('', $2) and (w.id is null or not {_ALIVE})"""  # noqa: S608 - all of it ours
_TAKE: Final = f"""update shards s set fence = fence + 1, owner = $2 where shard = any($1::bigint[]) and (owner in ('', $2)
  or not exists (select 1 from workers w where w.id = s.owner and {_ALIVE})) returning shard, fence"""  # noqa: S608 - all of it ours
_LOCK_ROWS: Final = "select shard from shards where shard = any($1::bigint[]) order by shard for update"
_GIVE: Final = """update shards set fence = fence + 1, owner = ''
  where owner = $1 and ($2::bigint[] is null or shard = any($2)) returning shard"""
_SWEEP: Final = """delete from workers w where heard + make_interval(secs => 60 + 10 * lease_s) < clock_timestamp()"""


class _Lock(NamedTuple):
    """An advisory lock of the session. ``shared``: others may have it shared too."""

    purpose: str
    shared: bool = False


_ALONE: Final = _Lock("owner")
_AMONG_OTHERS: Final = _Lock("owner", shared=True)


class ShardOwnership:
    """``fences[shard]`` is what this process has the shard with. ``alone``: it owns the whole store. ``worker``: it shares it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address, on_open=self._opened)
        self.fences: dict[int, int] = {}
        self.alone = False
        self.worker: Worker | None = None
        self.in_doubt = False
        """A commit got no answer; the session that it was sent on may still be under way."""
        self._beats = Link(address, durable=False)
        self._locks: tuple[_Lock, ...] = ()
        self._session: tuple[int, object] | None = None

    # --- one process for the whole store ------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        """The fences of all shards. Empty: another process has the store, or workers share it, or this one is there already."""

        async def take(connection: Connection) -> Mapping[int, int]:
            if not await self._lock(connection, (_ALONE,), FREED_S):
                return {}
            try:
                await connection.execute("delete from workers")  # none of them is there: the lock is ours
                rows = await connection.fetch(
                    "update shards set fence = fence + 1, owner = $1 returning shard, fence", owner
                )
            except BaseException:
                await self._unlock(connection, (_ALONE,))
                raise
            return dict(sorted((row[0], row[1]) for row in rows))

        if self.alone or self.worker:
            return {}
        self.fences = dict(await self.link.use(take))
        if self.fences:
            self.alone, self._locks = True, (_ALONE,)
        return dict(self.fences)

    # --- many processes -----------------------------------------------------------------------------------------------

    async def join(self, worker: Worker) -> None:
        """See ``ShardLeases.join``."""
        locks = _AMONG_OTHERS, _Lock(f"worker {worker.id}")

        async def enter(connection: Connection) -> None:
            if not await self._lock(connection, locks, FREED_S):
                raise OwnershipLost(f"one process has {self.address.shown} for itself; stop it, or start no workers")
            await connection.execute(_SWEEP)
            await connection.fetch(_JOIN, *worker)
            await self._tell(connection)

        if self.alone or self.worker:
            raise OwnershipLost(f"this process has {self.address.shown} already")
        await self.link.use(enter)
        self.worker, self._locks = worker, locks

    async def beat(self) -> Membership:
        """See ``ShardLeases.beat``. A shard that is another's now is no longer among ``fences``."""
        worker = self._joined
        rows = await self._beats.use(lambda connection: connection.fetch(_BEAT, *worker), again=True)
        owners = tuple(ShardOwner(owner, fence) for fence, owner in zip(rows[0][5], rows[0][6], strict=True))
        for shard, fence in list(self.fences.items()):
            if owners[shard].fence > fence:
                del self.fences[shard]
        return Membership(tuple(LiveWorker(Worker(*row[:3]), row[3], row[4]) for row in map(tuple, rows)), owners)

    async def take(self, shards: Collection[int]) -> Mapping[int, int]:
        """See ``ShardLeases.take``."""
        worker = self._joined
        asked = sorted(set(shards))  # one of ours too: the answer to an earlier call may be lost

        async def raise_fences(connection: Connection) -> Mapping[int, int]:
            await connection.execute("begin isolation level read committed")
            await connection.execute("select pg_advisory_xact_lock($1)", self.address.lock_key("shards"))
            if len(await connection.fetch(f"{_LOCK_ROWS} skip locked", asked)) < len(asked):
                for gone in await connection.fetch(_GONE, asked, worker.id):
                    with suppress(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(_END_HOLDER, self.address.lock_key(f"worker {gone[0]}"))
                await connection.fetch(_LOCK_ROWS, asked)
            rows = await connection.fetch(_TAKE, asked, worker.id)
            await self._tell(connection)
            await connection.execute("commit")
            return dict(sorted((row[0], row[1]) for row in rows))

        taken = await self.link.use(raise_fences) if asked else {}
        self.fences.update(taken)
        return taken

    async def give(self, shards: Collection[int]) -> None:
        """See ``ShardLeases.give``."""
        worker, given = self._joined, sorted(set(shards))

        async def free(connection: Connection) -> None:
            await connection.execute(_GIVE, worker.id, given)
            await self._tell(connection)

        if given:
            await self.link.use(free)
        for shard in given:
            self.fences.pop(shard, None)

    async def leave(self) -> None:
        """See ``ShardLeases.leave``."""
        if self.worker is not None:
            await self.link.use(self._free_all)

    async def _free_all(self, connection: Connection) -> None:
        """All that was owned or shared is free. The last thing on the connection, or before another ``own`` or ``join``."""
        worker = self.worker
        if worker is not None:
            await connection.execute(_GIVE, worker.id, None)
            await connection.execute("delete from workers where id = $1", worker.id)
            await self._tell(connection)
        await self._unlock(connection, self._locks)
        self.worker, self.alone, self._locks = None, False, ()
        self.fences.clear()

    async def _tell(self, connection: Connection) -> None:
        await connection.execute("select pg_notify($1, '')", self.address.channel("workers"))

    @property
    def _joined(self) -> Worker:
        if self.worker is None:
            raise OwnershipLost(f"this process is no worker of {self.address.shown}; join first")
        return self.worker

    # --- the session --------------------------------------------------------------------------------------------------

    async def _lock(self, connection: Connection, locks: Collection[_Lock], patience_s: float) -> bool:
        """All of them, or none: False when one is not free in time."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        taken: list[_Lock] = []
        for lock in locks:
            name = "pg_try_advisory_lock_shared" if lock.shared else "pg_try_advisory_lock"
            while not await connection.fetchval(f"select {name}($1)", self.address.lock_key(lock.purpose)):
                if loop.time() > end_s:
                    await self._unlock(connection, taken)
                    return False
                await asyncio.sleep(0.025)
            taken.append(lock)
        return True

    async def _unlock(self, connection: Connection, locks: Collection[_Lock]) -> None:
        for lock in locks:
            name = "pg_advisory_unlock_shared" if lock.shared else "pg_advisory_unlock"
            await connection.execute(f"select {name}($1)", self.address.lock_key(lock.purpose))

    async def _opened(self, connection: Connection) -> None:
        """The first thing on each new connection. Raises FencedError, StoreBusy."""
        if self._locks:
            await self._take_again(connection)
        row = await connection.fetchrow("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
        self._session = None if row is None else (row[0], row[1])
        self.in_doubt = False

    async def _take_again(self, connection: Connection) -> None:
        await self._check_alone(connection)
        if self._session is not None:
            with suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(_END_SESSION, *self._session)
        if not await self._lock(connection, self._locks, AGAIN_S):
            await self._check_alone(connection)
            if self.worker is not None and await self._lock(connection, (_Lock(f"worker {self.worker.id}"),), 0):
                raise self.fenced(self.fences)  # its own lock is free, so the store has one owner now
            raise StoreBusy(
                f"the session that this owner lost still holds the lock of {self.address.shown}; send again",
                store=self.address.shown,
            )
        await self._check_alone(connection)

    async def _check_alone(self, connection: Connection) -> None:
        if self.alone:
            stored = {row[0]: row[1] for row in await connection.fetch("select shard, fence from shards")}
            lost = [shard for shard, fence in self.fences.items() if stored.get(shard) != fence]
            if lost:
                raise self.fenced(lost)

    def fenced(self, shards: Collection[int], fences: Mapping[int, int] | None = None) -> FencedError:
        """For these shards, that are another's now. ``fences``: what a commit came with, if it came with others than ours."""
        lost = tuple(sorted(shards))
        came = {shard: (self.fences if fences is None else fences).get(shard) for shard in lost}
        names = ", ".join(f"{shard} (fence {fence})" for shard, fence in list(came.items())[:8])
        more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
        error = FencedError(
            f"{self.address.shown}: another process has these shards now: {names}{more}", shards=[*map(str, lost)]
        )
        error.shards = lost
        return error

    async def close(self) -> None:
        await self._beats.close()
        await self.link.close(self._free_all)

    def drop(self) -> None:
        """Do what the death of the process does."""
        self._beats.drop()
        self.link.drop()
