"""What is written beside ownership: commits, sends, projections, on the connection that holds this process's locks.

Theory of operation. A commit takes these steps: build the rows in memory; ``begin``; check the fences and draw positions and
instance numbers of all its shards with one statement; one statement per table, over all shards; ``commit``. The statement that
draws changes a row of each shard that the commit names, so until its end nobody else draws there or takes the shard. A shard whose
fence has another value changes no row: then all is rolled back, and FencedError names those shards.

An error before ``commit`` is sent: nothing was applied. The server's answer that it did not commit: the same. No answer to
``commit``: CommitUnknown. Nothing is sent twice. A lost connection is opened again by ``ownership``, which ends the old session
first. So when there is a connection again, a commit of the old one is in the store, or never will be: that is what a reader waits
for after CommitUnknown (``settle``).

Memory keeps where each shard ended (``_ends``: last place, last instance number) and where each instance did (``_known``). It may
be out of date when another process had the shard in between. Then the numbers drawn differ, or an update changes no row, and
the commit takes the slow path. An entry of ``_known`` is about one version, and what was written does not change.

A notification inside a transaction makes all commits of the server wait for one another until each is on the disk (NOTIFY takes one
lock for all). So a commit is told after it, by the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import asyncpg

from ...codec import ErasedRows, Sealing
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import CommitUnknown, OnexError
from ...kernel.search import SearchField, SearchFill, SearchSpec
from ...ports import Applied, Code, Commit, Conflict, Cut, Env, ProjectionRow
from ..commit_rows import SqlRow, UnconditionalRows, shards_of
from ..sql_rows import PLACE_N, place_of
from . import retention, search
from .address import Address
from .commit import (
    PostgresRows,
    apply_one_by_one,
    delete_settled,
    sweep,
    write_answers,
    write_attempts,
    write_blobs,
    write_notes,
    write_rejections,
)
from .erasing import erase_rows
from .errors import DRIVER_ERRORS, said
from .link import Connection
from .ownership import ShardOwnership
from .rewriting import rewrite_rows
from .statements import ADD_KEY, KEY, PROJECT, REWRAP, SEND

R = TypeVar("R")

SWEEP_US: Final = 60_000_000
ENDS_KEPT: Final = 65_536

_DRAW: Final = """update shards s set n = s.n + r.drawn, instances = s.instances + r.made
  from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) r(shard, fence, drawn, made)
  where s.shard = r.shard and s.fence = r.fence returning s.shard, s.n, s.instances"""
_ADVANCE: Final = """update shards s set n = r.n, instances = r.instances
  from unnest($1::bigint[], $2::bigint[], $3::bigint[]) r(shard, n, instances) where s.shard = r.shard"""

Ends = dict[int, tuple[int, int]]
"""By shard: the last place and the last instance number that were given."""


class Writer:
    """Of one process, as ``ownership`` says which shards it has. ``shards`` is how many the store has."""

    def __init__(self, ownership: ShardOwnership, rejections_kept: int) -> None:
        self.ownership = ownership
        self.link = ownership.link
        self.address: Address = ownership.address
        self.shards = 1
        self._cap = rejections_kept
        self._sweep_us = 0
        self._ends: Ends = {}
        self._known: dict[int, tuple[int, int]] = {}
        self._rejections: int | None = None

    async def settle(self) -> None:
        """After CommitUnknown: returns when the session of that commit has ended, so that reading tells what became of it."""
        if self.ownership.in_doubt:
            await self.link.use(_nothing)

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
                self.ownership.in_doubt = True
                self.link.drop()
            raise

    async def _commit(self, connection: Connection, commit: Commit) -> Sequence[Applied | Conflict]:
        missing = shards_of(commit) - commit.fences.keys()
        if missing:
            raise self.ownership.fenced(missing, commit.fences)
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
        await self._find_ends(connection, commit)
        before = {shard: self._ends[shard] for shard in commit.fences}
        batch = PostgresRows(dict(before), self.shards, commit.at_us)
        answers: list[Applied | Conflict] = []
        for change in commit.changes:
            known = self._known.get(change.instance or 0)
            fresh = known is not None and known[0] == change.based_on
            answers.append(batch.add_to(change.shard, change, known[1] if known and fresh else 0))
        if batch.needs_slow_path:
            return None
        fits = await self._begin(connection, commit, before, batch.ends) == batch.ends
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
        self._ends.update(batch.ends)
        if len(self._known) > ENDS_KEPT:
            self._known.clear()
        self._known.update(batch.last)
        return answers

    async def _slow(self, connection: Connection, commit: Commit) -> list[Applied | Conflict]:
        """Compare each change with what is stored, in order, and leave out those in conflict."""
        ends = await self._begin(connection, commit, {}, {})
        answers, beside = await apply_one_by_one(connection, commit.changes, ends, self.shards, commit.at_us)
        await connection.execute(
            _ADVANCE, [*ends], [place & PLACE_N for place, _ in ends.values()],
            [instance // self.shards for _, instance in ends.values()],
        )  # fmt: skip
        await self._finish(connection, commit, beside)
        self._forget_cached()
        return answers

    async def _begin(self, connection: Connection, commit: Commit, before: Ends, after: Ends) -> Ends:
        """Open the transaction and draw the numbers from ``before`` to ``after``; the last of each shard. Raises FencedError."""
        await connection.execute("begin isolation level read committed")
        rows = [
            (shard, fence, after[shard][0] - before[shard][0], (after[shard][1] - before[shard][1]) // self.shards)
            if before else (shard, fence, 0, 0)
            for shard, fence in sorted(commit.fences.items())
        ]  # fmt: skip
        drawn: Ends = {}
        for shard, n, instances in await connection.fetch(_DRAW, *zip(*rows, strict=True)) if rows else ():
            drawn[shard] = place_of(shard, n), instances * self.shards + shard
        if len(drawn) < len(rows):
            raise self.ownership.fenced(commit.fences.keys() - drawn.keys(), commit.fences)
        return drawn

    async def _finish(self, connection: Connection, commit: Commit, beside: UnconditionalRows) -> None:
        await KEY.run(connection, commit.keys)
        await write_blobs(connection, commit.blobs, commit.at_us)
        await delete_settled(connection, commit.settled)
        await write_notes(connection, (*commit.notes, *beside.notes), commit.fences)
        await write_attempts(connection, commit.attempts)
        await write_answers(connection, (*commit.answers, *beside.answers))
        rows, due = self._rejections, commit.at_us >= self._sweep_us
        refused = (*commit.rejections, *beside.rejections)
        if refused:
            if rows is None:
                rows = int(await connection.fetchval("select count(*) from rejections"))
            rows = await write_rejections(connection, refused, rows, self._cap)
        if due:
            rows = await sweep(connection, commit.at_us)
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

    async def _find_ends(self, connection: Connection, commit: Commit) -> None:
        """Learn where the shards of this commit end, and the instances that are not known at their version."""
        new = [shard for shard in commit.fences if shard not in self._ends]
        if new:
            for shard, n, instances in await connection.fetch(
                "select shard, n, instances from shards where shard = any($1::bigint[])", new
            ):
                self._ends[shard] = place_of(shard, n), instances * self.shards + shard
            strange = [shard for shard in new if shard not in self._ends]
            if strange:
                raise self.ownership.fenced(strange, commit.fences)
        unknown = [
            change.instance
            for change in commit.changes
            if change.instance is not None
            and change.rows
            and self._known.get(change.instance, (-1, 0))[0] != change.based_on
        ]
        if unknown:
            for row in await connection.fetch(
                "select instance, version, position from workflow_state where instance = any($1::bigint[])", unknown
            ):
                self._known[row[0]] = row[1], row[2]

    def forget(self, shards: Iterable[int]) -> None:
        """These have had another owner: where they end is read again."""
        for shard in shards:
            self._ends.pop(shard, None)

    def _forget_cached(self) -> None:
        self._rejections = None
        self._ends.clear()
        self._known.clear()

    # --- what others write --------------------------------------------------------------------------------------------

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int]) -> Sequence[int]:
        async def insert(connection: Connection) -> Sequence[int]:
            # One sender at a time, to the end of its transaction: a higher ticket is never seen before a lower one.
            await connection.execute("select pg_advisory_xact_lock($1)", self.address.lock_key("inbox"))
            tickets = await SEND.ask(connection, [(body, at_us, of) for body, of in zip(bodies, shards, strict=True)])
            told = ",".join(map(str, sorted(set(shards))))
            await connection.execute("select pg_notify($1, $2)", self.address.channel("sent"), told)
            return sorted(tickets)

        return await self._transaction(insert)

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        await self._transaction(lambda connection: ADD_KEY.run(connection, keys))

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        await self._transaction(lambda connection: rewrite_rows(connection, key, wrapped, sealing))

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        rows: list[SqlRow] = [(new.master, new.wrapped, new.owner, old.wrapped) for old, new in pairs]
        return await self._transaction(lambda connection: REWRAP.run(connection, rows))

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        return await self._transaction(lambda connection: erase_rows(connection, key, by, at_us))

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        async def move(connection: Connection) -> bool:
            moved = "update projection_watermarks set n = $4 where name = $1 and shard = $2 and n = $3"
            status = await connection.execute(moved, name, shard, from_n, to_n)
            if status.endswith(" 0") and not from_n:
                begun = "insert into projection_watermarks values($1, $2, $3) on conflict do nothing"
                status = await connection.execute(begun, name, shard, to_n)
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

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool) -> Sequence[bool]:
        return await self._transaction(lambda connection: retention.cut(connection, cuts, at_us, dry=dry))

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        return await self._transaction(lambda connection: retention.unnamed_blobs(connection, after, before_us, limit))

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        return await self._transaction(lambda connection: retention.drop_blobs(connection, digests))

    async def expire(self, at_us: int, *, dry: bool) -> int:
        return await self._transaction(lambda connection: retention.expire(connection, at_us), keep=not dry)

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        lock = self.address.lock_key("search")
        return await self._transaction(lambda connection: search.declare(connection, wanted, lock))

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        await self._transaction(lambda connection: search.fill(connection, rows))

    async def search_filled(self, spec: SearchSpec) -> bool:
        return await self._transaction(lambda connection: search.mark_filled(connection, spec))

    async def _transaction(self, work: Callable[[Connection], Awaitable[R]], *, keep: bool = True) -> R:
        async def whole(connection: Connection) -> R:
            await connection.execute("begin isolation level read committed")
            result = await work(connection)
            await connection.execute("commit" if keep else "rollback")
            return result

        return await self.link.use(whole)


async def _nothing(connection: Connection) -> None: ...


def _says_nothing_was_applied(error: BaseException) -> bool:
    """The server answered ``commit`` with an error that ends the transaction. One that ends the session tells nothing."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    code = error.sqlstate or ""
    return not code.startswith(("08", "57", "XX"))
