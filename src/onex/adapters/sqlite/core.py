"""The SQLite store without its threads: plain calls on one connection, used by one thread at a time.

``store`` gives it a thread; the simulator calls it directly, with a seed.

Theory of operation. A commit takes these steps:

1. ``_fast`` builds the rows in memory (``commit``). It knows the last position and where each recent instance ends.
2. ``begin immediate`` takes SQLite's write lock. One statement then checks the fence and draws the positions. No row: another
   process owns the store now (FencedError). A fence or a last position below our own: the file was replaced by an older
   copy (StoreReplaced). A higher position: our memory is out of date, and ``_slow`` follows.
3. The rows are written. When a change does not fit what is stored, all is rolled back and ``_slow`` applies the changes one by
   one, without those in conflict.
4. ``_finish`` writes blobs, settled rows, notes, attempts, answers and rejections, and executes ``commit``. With
   ``synchronous=FULL`` SQLite returns from it after the WAL is on the disk.
5. ``_check_durable`` looks whether the file and its WAL still stand under their names. Only then the answers are returned.

What may go wrong, and why it is still right:

- An error before step 4's ``commit``: the transaction is rolled back, nothing was applied.
- An error of ``commit`` itself: a full or busy disk is known to have written nothing, since the frame that commits is the
  last one. After any other error the commit may be in the WAL: CommitUnknown.
- The files were moved or replaced: the commit is in a file that nobody will find again. StoreReplaced is raised instead of an
  answer, now and for every later call.
- The process dies: SQLite finds the whole transaction in the WAL or nothing of it.
- The memory of step 1 is wrong: the fence, the version in each update and the unique index over action ids are checked
  inside the transaction, so it can cost time but never correctness. It is cleared after every failure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeVar

from ...kernel.data_key import WrappedKey
from ...kernel.errors import CommitUnknown, FencedError, TemporaryDatabaseError
from ...kernel.size_limits import check_body
from ...ports import Applied, Code, Commit, Conflict, Env, KeyChange, ProjectionRow
from ..commit_rows import UnconditionalRows
from ..owner_lock import OwnerLock, leave_wake_token, lock_path
from ..store_errors import DiskFull, StoreBusy
from ..store_limits import REJECTIONS_MAX
from .commit import (
    SqliteRows,
    apply_one_by_one,
    delete_settled,
    sweep,
    write_answers,
    write_attempts,
    write_blobs,
    write_notes,
    write_projection,
    write_rejections,
)
from .data_keys import add_keys, overwrite_deleted, write_keys
from .errors import StoreReplaced, translated, translates_errors
from .location import real_path
from .read import SqliteReads
from .schema import SHARDS, create, is_intact

R = TypeVar("R")
SWEEP_US: Final = 60_000_000
WAL_PAGES: Final = 2048  # 32 MiB; beyond it the writer copies the WAL into the file itself, so that it can begin anew
ENDS_KEPT: Final = 65_536
OWNER_WAIT_MS: Final = 5_000


def _nothing(point: str) -> None: ...


class SqliteCore(SqliteReads):
    """A store file for reading and writing. One thread at a time.

    ``probe`` is called with ``before_commit`` and ``after_commit`` inside ``commit``; the simulator raises there. After a raise
    at ``before_commit`` nothing was applied; after one at ``after_commit`` the commit stays. ``synchronous="off"`` is for
    simulations: a power cut may lose commits. ``wait_ms`` is how long an owner waits for other writers.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["full", "off"] = "full",
        wait_ms: int = OWNER_WAIT_MS,
        rejections_kept: int = REJECTIONS_MAX,
        probe: Callable[[str], None] = _nothing,
    ) -> None:
        """Make the store when there is none. Raises DatabaseConnectionError or a subclass, StateConsistencyError."""
        path = real_path(path)
        create(path)
        super().__init__(path, "rw", synchronous=synchronous)
        self.shards = SHARDS
        self._probe = probe
        self._wait_ms = wait_ms
        self._cap = rejections_kept
        self._lock = OwnerLock(lock_path(path), path.stat().st_mode & 0o666)
        self._replaced_error: StoreReplaced | None = None
        self._cursor = self._connection.cursor()
        self._connection.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}").fetchall()
        overwrite_deleted(self._connection)
        self._judged_before, self._sweep_us, self._bytes, self._last_instance = b"", 0, 0, 0
        self._last_n: int | None = None
        self._ends: dict[int, tuple[int, int]] = {}
        self._rejections: int | None = None

    @translates_errors
    def own(self, owner: str) -> Mapping[int, int]:
        if not self._lock.take():
            return {}
        try:
            self._files.watch(self._lock.path)
            self.check_files()
            real_path(self.path)  # raises when the file was given a second name (a hard link) since it was opened
            self._connection.execute(f"pragma busy_timeout = {self._wait_ms}").fetchall()
            raised = "update shards set fence = fence + 1, owner = ? returning shard, fence"
            fences: dict[int, int] = dict(self._connection.execute(raised, (owner,)).fetchall())
        except BaseException:
            self._lock.free()
            raise
        self._lock.write_identity(self._files.record())
        self._judged_before = self._lock.read()
        self._forget_cached()
        return fences

    def judging(self, record: bytes) -> None:
        """See ``Store.judging``. From any thread."""
        self._lock.write(record)

    def judged(self) -> bytes:
        return self._judged_before

    def crash_file(self) -> int | None:
        return self._lock.crash_file()

    @translates_errors
    def intern(self, code: Code, env: Env) -> tuple[int, int]:
        execute = self._connection.execute
        execute("insert or ignore into codes values(null, ?, ?, ?, ?)", tuple(code))
        execute("insert or ignore into envs values(null, ?, ?, ?, ?, ?)", tuple(env))
        (code_id,) = execute(
            "select id from codes where (workflow_type, contract_version, digest, state_schema) = (?, ?, ?, ?)",
            tuple(code),
        ).fetchone()
        (env_id,) = execute(
            "select id from envs where (onex, pydantic, python, tzdata, git_revision) = (?, ?, ?, ?, ?)", tuple(env)
        ).fetchone()
        return code_id, env_id

    def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        """See ``Store.commit``. Raises StoreReplaced, FencedError, TemporaryDatabaseError, CommitUnknown, StateConsistencyError."""
        try:
            if self._replaced_error is not None:
                raise StoreReplaced(self._replaced_error.message, path=str(self.path))
            try:
                answers = self._fast(commit)
                if answers is None:
                    answers = self._slow(commit)
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
            self._check_durable()
        except BaseException:
            self._forget_cached()
            self._roll_back()
            raise
        self._probe("after_commit")
        return answers

    def check_files(self) -> None:
        """Raises StoreReplaced, and from then on at every call; TemporaryDatabaseError when the files cannot be looked at now."""
        if self._replaced_error is not None:
            raise StoreReplaced(self._replaced_error.message, path=str(self.path))
        try:
            size = self._files.check()
            # A smaller file was vacuumed, which is fine, or it was cut or replaced: only reading it anew tells.
            if size < self._bytes and not is_intact(self.path, self._last_n or 0):
                raise self._files.other_store(f"it has {size} bytes and had {self._bytes}")
            self._bytes = size
        except StoreReplaced as error:
            self._stop_writing(error)
            raise

    def _check_durable(self) -> None:
        """A commit is answered only when the next process that opens the store will find it."""
        try:
            self.check_files()
        except TemporaryDatabaseError as error:
            raise CommitUnknown(f"{error.message}; whether a commit can be found again is not known") from error

    def _stop_writing(self, error: StoreReplaced) -> None:
        """Copy the WAL into the file it belongs to, wherever that is now. Left alone, it could be read into another file."""
        self._replaced_error = error
        if self._lock.held:
            self._checkpoint_all()

    def _fast(self, commit: Commit) -> list[Applied | Conflict] | None:
        """Apply all changes. None: nothing was applied, for a change does not fit what is stored, or memory is out of date."""
        last_n = self._last_position()
        batch = SqliteRows(last_n, self._last_instance, commit.at_us)
        answers: list[Applied | Conflict] = []
        ends = self._ends
        for change in commit.changes:
            known = ends.get(change.instance or 0)  # instances count from 1: a new one has no end
            fresh = known is not None and known[0] == change.based_on
            answers.append(batch.add(change, known[1] if known and fresh else self._end(change)))
        if batch.needs_slow_path:
            return None
        drawn = self._begin(commit, batch.n - last_n)
        if drawn < batch.n:
            raise self._other_store(f"its log ends at {drawn - batch.n + last_n}, and {last_n} was written")
        if drawn != batch.n:
            self._roll_back()
            return None
        try:
            fits = batch.run(self._cursor)
        except sqlite3.IntegrityError:
            fits = False
        if not fits:
            self._roll_back()
            return None
        self._finish(commit, batch.unconditional)
        self._last_n, self._last_instance = batch.n, batch.instance
        if len(self._ends) > ENDS_KEPT:
            self._ends.clear()
        self._ends.update(batch.last)
        return answers

    def _slow(self, commit: Commit) -> list[Applied | Conflict]:
        """Compare each change with what is stored, in order, and leave out those in conflict."""
        n = self._begin(commit, 0)
        (instance,) = self._cursor.execute("select coalesce(max(instance), 0) from workflow_state").fetchone()
        answers, last_n, unconditional = apply_one_by_one(self._cursor, commit.changes, n, instance, commit.at_us)
        self._cursor.execute("update shards set n = ? where shard = 0", (last_n,))
        self._finish(commit, unconditional)
        self._forget_cached()
        return answers

    def _begin(self, commit: Commit, rows: int) -> int:
        """Open the transaction and draw ``rows`` positions; returns the last one. The same statement checks the fence."""
        fence = commit.fences.get(0)
        self._cursor.execute("begin immediate")
        found = self._cursor.execute(
            "update shards set n = n + ? where shard = 0 and fence = ? returning n", (rows, fence)
        ).fetchall()
        if not found:
            stored = self._cursor.execute("select fence from shards where shard = 0").fetchone()
            if fence is not None and stored is not None and stored[0] < fence:
                raise self._other_store(f"its fence is {stored[0]}, and the owner's is {fence}")
            raise FencedError(f"{self.path} has another owner now; this commit came with fence {fence}", fence=fence)
        n: int = found[0][0]
        return n

    def _other_store(self, what: str) -> StoreReplaced:
        self._roll_back()
        self._replaced_error = self._files.other_store(what)
        return self._replaced_error

    def _finish(self, commit: Commit, unconditional: UnconditionalRows) -> None:
        cursor = self._cursor
        if commit.keys:
            write_keys(cursor, commit.keys)
        if commit.blobs:
            write_blobs(cursor, commit.blobs, commit.at_us)
        if commit.settled:
            delete_settled(cursor, commit.settled)
        if commit.notes or unconditional.notes:
            write_notes(cursor, (*commit.notes, *unconditional.notes), commit.fences[0])
        if commit.attempts:
            write_attempts(cursor, commit.attempts)
        if commit.answers or unconditional.answers:
            write_answers(cursor, (*commit.answers, *unconditional.answers))
        rows, due = self._rejections, commit.at_us >= self._sweep_us
        refused = (*commit.rejections, *unconditional.rejections)
        if refused or due:
            if rows is None or due:  # another process may have removed some
                (rows,) = cursor.execute("select count(*) from rejections").fetchone()
            if refused:
                rows = write_rejections(cursor, refused, rows, self._cap)
            if due:
                rows -= sweep(cursor, commit.at_us)
        self._probe("before_commit")
        try:
            cursor.execute("commit")
        except sqlite3.Error as error:
            translation = translated(error, self.path)
            if isinstance(translation, DiskFull | StoreBusy):
                raise  # the frame that commits is written last: without room there is none, and nothing was applied
            raise CommitUnknown(
                f"{self.path} gave no clear answer to a commit: {error}; send the same ids again", path=str(self.path)
            ) from error
        self._rejections = rows
        if due:
            self._sweep_us = commit.at_us + SWEEP_US

    def _end(self, change: KeyChange) -> int:
        """The position of the instance's last row. 0 for a new instance, and for a change whose version is not the stored one."""
        if change.instance is None or not change.rows:
            return 0
        found = self._connection.execute(
            "select position from workflow_state where instance = ? and version = ?", (change.instance, change.based_on)
        ).fetchone()
        return found[0] if found else 0

    def _last_position(self) -> int:
        if self._last_n is None:
            execute = self._connection.execute
            (self._last_n,) = execute("select n from shards where shard = 0").fetchone()
            (self._last_instance,) = execute("select coalesce(max(instance), 0) from workflow_state").fetchone()
        assert self._last_n is not None
        return self._last_n

    def _forget_cached(self) -> None:
        self._last_n = self._rejections = None
        self._ends.clear()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    @translates_errors
    def transaction(self, work: Callable[[sqlite3.Cursor], R], *, keep: bool = True) -> R:
        """``work`` in a transaction, for what no fence guards. Not ``keep``: only the answer stays."""
        self._cursor.execute("begin immediate")
        try:
            result = work(self._cursor)
            self._cursor.execute("commit" if keep else "rollback")
        except BaseException:
            self._roll_back()
            raise
        return result

    def send_all(self, bodies: Sequence[bytes], at_us: int) -> Sequence[int]:
        checked = [check_body(body) for body in bodies]
        insert = "insert into inbox(body, at_us) values(?, ?) returning ticket"
        tickets = self.transaction(
            lambda cursor: [int(cursor.execute(insert, (body, at_us)).fetchall()[0][0]) for body in checked]
        )
        self.check_files()
        leave_wake_token(self._lock.path)
        return tickets

    def wake_token(self) -> bytes:
        """See ``OwnerLock.wake_token``. From any thread."""
        return self._lock.wake_token()

    def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        self.transaction(lambda cursor: add_keys(cursor, keys))
        overwrite_deleted(self._connection)

    @translates_errors
    def overwrite(self, *, whole: bool) -> bool:
        if whole:
            self._connection.execute("vacuum")
        return not self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]

    def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return self.transaction(lambda cursor: write_projection(cursor, name, shard, from_n, to_n, rows))

    @translates_errors
    def changed_elsewhere(self) -> int:
        """A number that changes when another connection than this one has written."""
        (version,) = self._connection.execute("pragma data_version").fetchone()
        assert isinstance(version, int)
        return version

    def close(self) -> None:
        """Copy the WAL into the file when nobody else reads it, and free the owner's lock. Idempotent."""
        if self._lock.held:
            self._lock.write(b"")
            if self._checkpoint_all() and self._replaced_error is None:
                self._lock.write_identity(b"")
        self.drop()

    def _checkpoint_all(self) -> bool:
        """Copy the whole WAL into the file and empty it. False: somebody is reading, or the disk is full."""
        try:
            self._roll_back()
            self._connection.execute("pragma busy_timeout = 0").fetchall()
            (busy, _, _) = self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        except sqlite3.Error:
            return False  # nothing is lost: the WAL holds every commit, and the next to open the store copies it
        return not busy

    def abandon(self) -> None:
        """Free the owner's lock while a call still hangs, because the disk does.

        Should that call go on later, its commit ends before the next owner can raise the fence, or the fence refuses it.
        """
        self._lock.free()

    def drop(self) -> None:
        """Close as a crash does: what was not committed is lost, and the lock is free."""
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            self._cursor.close()  # holding the statement of a commit that failed, it would keep the files open
        self._connection.close()
        self._lock.free()
