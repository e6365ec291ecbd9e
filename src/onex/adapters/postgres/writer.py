"""Everything that writes, on one connection: ownership, commits, sends, projections.

Theory of operation. Two things keep two owners apart.

- The **lock**: an advisory lock of the session that owns. The server frees it when the session ends, however it ends. It only
  says when a shard is free.
- The **fence**: a number in ``shards`` that every owner raises. Each commit compares it in the statement that draws the
  positions, inside its transaction. It alone decides who may write: a session whose lock went unnoticed commits nothing.

A lost connection takes the lock with it. The next call opens a new one and, before anything else, ends the old session if it
still runs, takes the lock again and compares the fence (``_take_again``). The same fence: nobody owned the store in between, and
the owner goes on. Another: FencedError. So when the lock is there again, the old session has ended, and with it every commit
that was under way: it is in the store now, or never will be. That is what a reader waits for after CommitUnknown (``settle``).

A commit takes these steps: build the rows in memory; ``begin``; check the fence, draw the positions and notify with one
statement; one statement per table; ``commit``. An error before ``commit`` is sent: nothing was applied. The server's answer that it
did not commit: the same. No answer to ``commit``: CommitUnknown. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import asyncpg

from ...kernel.errors import CommitUnknown, FencedError, OnexError
from ...ports import Applied, Code, Commit, Conflict, Env, ProjectionRow
from ..commit_rows import SqlRow, UnconditionalRows
from ..store_errors import StoreBusy
from .address import Address
from .commit import (
    PostgresRows,
    apply_one_by_one,
    delete_settled,
    plain,
    sweep,
    write_answers,
    write_attempts,
    write_blobs,
    write_notes,
    write_rejections,
)
from .errors import DRIVER_ERRORS, said
from .link import Connection, Link
from .statements import PROJECT, SEND

R = TypeVar("R")

SWEEP_US: Final = 60_000_000
ENDS_KEPT: Final = 65_536
FREED_S: Final = 0.5
"""For so long ``own`` waits for the lock: the server frees it a moment after its session has ended."""
AGAIN_S: Final = 5.0
"""For so long an owner waits to get its own lock back."""

_DRAW: Final = """update shards set n = n + $1 where shard = 0 and fence = $2
  returning n, pg_notify($3, '')::text"""
_END_SESSION: Final = """select pg_terminate_backend(pid) from pg_stat_activity
  where pid = $1 and backend_start = $2 and pid <> pg_backend_pid()"""


class Writer:
    """``fence`` is what this process owns the shard with; 0: it owns nothing."""

    def __init__(self, address: Address, rejections_kept: int) -> None:
        self.address = address
        self.link = Link(address, on_open=self._opened)
        self.fence = 0
        self.in_doubt = False
        self._lock_key = address.lock_key("owner")
        self._session: tuple[int, object] | None = None
        self._cap = rejections_kept
        self._sweep_us = 0
        self._last_n: int | None = None
        self._last_instance = 0
        self._ends: dict[int, tuple[int, int]] = {}
        self._rejections: int | None = None

    # --- ownership ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> int:
        """The fence; 0 when another session has the lock."""

        async def take(connection: Connection) -> int:
            if not await self._lock(connection, FREED_S):
                return 0
            try:
                fence = await connection.fetchval(
                    "update shards set fence = fence + 1, owner = $1 where shard = 0 returning fence", owner
                )
            except BaseException:
                await self._unlock(connection)
                raise
            return int(fence)

        if self.fence:
            return 0
        self.fence = await self.link.use(take)
        self._forget_cached()
        return self.fence

    async def _lock(self, connection: Connection, patience_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        while not await connection.fetchval("select pg_try_advisory_lock($1)", self._lock_key):
            if loop.time() > end_s:
                return False
            await asyncio.sleep(0.025)
        return True

    async def _unlock(self, connection: Connection) -> None:
        await connection.execute("select pg_advisory_unlock($1)", self._lock_key)

    async def _opened(self, connection: Connection) -> None:
        """The first thing on each new connection. Raises FencedError, StoreBusy."""
        if self.fence:
            await self._take_again(connection)
        row = await connection.fetchrow("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
        self._session = None if row is None else (row[0], row[1])
        self.in_doubt = False

    async def _take_again(self, connection: Connection) -> None:
        self._forget_cached()
        await self._check_fence(connection)
        if self._session is not None:
            with suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(_END_SESSION, *self._session)
        if not await self._lock(connection, AGAIN_S):
            await self._check_fence(connection)
            raise StoreBusy(
                f"the session that this owner lost still holds the lock of {self.address.shown}; send again",
                store=self.address.shown,
            )
        await self._check_fence(connection)

    async def _check_fence(self, connection: Connection) -> None:
        stored = await connection.fetchval("select fence from shards where shard = 0")
        if stored != self.fence:
            raise self._fenced(self.fence)

    def _fenced(self, fence: int | None) -> FencedError:
        return FencedError(
            f"{self.address.shown} has another owner now; this commit came with fence {fence}", fence=fence
        )

    async def settle(self) -> None:
        """After CommitUnknown: returns when the session of that commit has ended, so that reading tells what became of it."""
        if self.in_doubt:
            await self.link.use(_nothing)

    async def close(self) -> None:
        await self.link.close(self._unlock if self.fence else _nothing)

    # --- commits ------------------------------------------------------------------------------------------------------

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        async def find(connection: Connection) -> tuple[int, int]:
            await connection.execute(
                "insert into codes(workflow_type, contract_version, digest, state_schema) values($1, $2, $3, $4)"
                " on conflict do nothing", *code,
            )  # fmt: skip
            await connection.execute(
                "insert into envs(onex, pydantic, python, tzdata, git_revision) values($1, $2, $3, $4, $5)"
                " on conflict do nothing", *env,
            )  # fmt: skip
            code_id = await connection.fetchval(
                "select id from codes where (workflow_type, contract_version, digest, state_schema) = ($1, $2, $3, $4)",
                *code,
            )
            env_id = await connection.fetchval(
                "select id from envs where (onex, pydantic, python, tzdata, git_revision) = ($1, $2, $3, $4, $5)", *env
            )
            return int(code_id), int(env_id)

        return await self.link.use(find)

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        """See ``Store.commit``."""
        try:
            return await self.link.use(lambda connection: self._commit(connection, commit))
        except BaseException as error:
            self._forget_cached()
            if isinstance(error, CommitUnknown):
                self.in_doubt = True
                self.link.drop()
            raise

    async def _commit(self, connection: Connection, commit: Commit) -> Sequence[Applied | Conflict]:
        try:
            answers = await self._fast(connection, commit)
            return await self._slow(connection, commit) if answers is None else answers
        except CommitUnknown:
            raise
        except OnexError:
            with suppress(*DRIVER_ERRORS):
                await connection.execute("rollback")
            raise

    async def _fast(self, connection: Connection, commit: Commit) -> list[Applied | Conflict] | None:
        """Apply all changes. None: nothing was applied, for a change does not fit what is stored, or memory is out of date."""
        last_n = await self._last_position(connection)
        await self._find_ends(connection, commit)
        batch = PostgresRows(last_n, self._last_instance, commit.at_us)
        answers: list[Applied | Conflict] = []
        for change in commit.changes:
            known = self._ends.get(change.instance or 0)
            fresh = known is not None and known[0] == change.based_on
            answers.append(batch.add(plain(change), known[1] if known and fresh else 0))
        if batch.needs_slow_path:
            return None
        drawn = await self._begin(connection, commit, batch.n - last_n)
        fits = drawn == batch.n
        if fits:
            try:
                fits = await batch.run(connection)
            except asyncpg.UniqueViolationError:
                fits = False
        if not fits:
            await connection.execute("rollback")
            self._forget_cached()
            return None
        await self._finish(connection, commit, batch.unconditional)
        self._last_n, self._last_instance = batch.n, batch.instance
        if len(self._ends) > ENDS_KEPT:
            self._ends.clear()
        self._ends.update(batch.last)
        return answers

    async def _slow(self, connection: Connection, commit: Commit) -> list[Applied | Conflict]:
        """Compare each change with what is stored, in order, and leave out those in conflict."""
        n = await self._begin(connection, commit, 0)
        instance = await connection.fetchval("select coalesce(max(instance), 0) from workflow_state")
        answers, last_n, beside = await apply_one_by_one(connection, commit.changes, n, instance, commit.at_us)
        await connection.execute("update shards set n = $1 where shard = 0", last_n)
        await self._finish(connection, commit, beside)
        self._last_n = None
        self._ends.clear()
        return answers

    async def _begin(self, connection: Connection, commit: Commit, rows: int) -> int:
        """Open the transaction and draw ``rows`` positions; returns the last one. The same statement checks the fence."""
        await connection.execute("begin isolation level read committed")
        fence = commit.fences.get(0)
        n = await connection.fetchval(_DRAW, rows, fence, self.address.channel("committed"))
        if n is None:
            raise self._fenced(fence)
        return int(n)

    async def _finish(self, connection: Connection, commit: Commit, beside: UnconditionalRows) -> None:
        await write_blobs(connection, commit.blobs, commit.at_us)
        await delete_settled(connection, commit.settled)
        await write_notes(connection, (*commit.notes, *beside.notes), commit.fences[0])
        await write_attempts(connection, commit.attempts)
        await write_answers(connection, (*commit.answers, *beside.answers))
        rows, due = self._rejections, commit.at_us >= self._sweep_us
        refused = (*commit.rejections, *beside.rejections)
        if refused or due:
            if rows is None:
                rows = int(await connection.fetchval("select count(*) from rejections"))
            if refused:
                rows = await write_rejections(connection, refused, rows, self._cap)
            if due:
                rows -= await sweep(connection, commit.at_us)
        try:
            await connection.execute("commit")
        except (asyncio.CancelledError, *DRIVER_ERRORS) as error:
            if _says_nothing_was_applied(error):
                raise
            raise CommitUnknown(
                f"{self.address.shown} gave no answer to a commit: {said(error)}; send the same ids again",
                store=self.address.shown,
            ) from error
        self._rejections = rows
        if due:
            self._sweep_us = commit.at_us + SWEEP_US

    async def _last_position(self, connection: Connection) -> int:
        if self._last_n is None:
            self._last_n = int(await connection.fetchval("select n from shards where shard = 0"))
            self._last_instance = int(
                await connection.fetchval("select coalesce(max(instance), 0) from workflow_state")
            )
        return self._last_n

    async def _find_ends(self, connection: Connection, commit: Commit) -> None:
        """Learn where the instances of this commit end that are not known at their version."""
        unknown = [
            change.instance
            for change in commit.changes
            if change.instance is not None
            and change.rows
            and self._ends.get(change.instance, (-1, 0))[0] != change.based_on
        ]
        if unknown:
            for row in await connection.fetch(
                "select instance, version, position from workflow_state where instance = any($1::bigint[])", unknown
            ):
                self._ends[row[0]] = row[1], row[2]

    def _forget_cached(self) -> None:
        self._last_n = self._rejections = None
        self._ends.clear()

    # --- what others write --------------------------------------------------------------------------------------------

    async def send_all(self, bodies: Sequence[bytes], at_us: int) -> Sequence[int]:
        async def insert(connection: Connection) -> Sequence[int]:
            # One sender at a time, to the end of its transaction: a higher ticket is never seen before a lower one.
            await connection.execute("select pg_advisory_xact_lock($1)", self.address.lock_key("inbox"))
            tickets = await SEND.ask(connection, [(body, at_us) for body in bodies])
            await connection.execute("select pg_notify($1, '')", self.address.channel("sent"))
            return sorted(tickets)

        return await self._transaction(insert)

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        async def move(connection: Connection) -> bool:
            await connection.execute(
                "insert into projection_watermarks values($1, $2, 0) on conflict do nothing", name, shard
            )
            status = await connection.execute(
                "update projection_watermarks set n = $4 where name = $1 and shard = $2 and n = $3",
                name,
                shard,
                from_n,
                to_n,
            )
            if not status.endswith(" 1"):
                return False
            newest: dict[object, ProjectionRow] = {}
            for row in rows:  # of two rows of one instance the newer one stands
                if row.key not in newest or newest[row.key].version <= row.version:
                    newest[row.key] = row
            values: list[SqlRow] = [
                (name, *row.key, row.version, row.tag, row.last_action, row.fields) for row in newest.values()
            ]
            await PROJECT.run(connection, values)
            return True

        return await self._transaction(move)

    async def _transaction(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        async def whole(connection: Connection) -> R:
            await connection.execute("begin isolation level read committed")
            result = await work(connection)
            await connection.execute("commit")
            return result

        return await self.link.use(whole)


async def _nothing(connection: Connection) -> None: ...


def _says_nothing_was_applied(error: BaseException) -> bool:
    """The server answered ``commit`` with an error that ends the transaction. One that ends the session tells nothing."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    code = error.sqlstate or ""
    return not code.startswith(("08", "57", "XX"))
