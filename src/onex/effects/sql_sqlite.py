"""A database in a file of SQLite: one connection in a thread of its own, which takes one call after the other.

The file must be there: making tables is its owner's work. The store of an engine is refused, by the mark in its header:
what a workflow writes beside its engine could change what the engine has committed.

What may go wrong, and what is told: the file is locked by another writer for five seconds, or the call was not begun when its
time was over: nothing was written. A statement that fails is rolled back. An error of COMMIT other than a lock: perhaps written.
A cancelled call that runs is interrupted, which rolls it back; whoever waited for it is told nothing of that, so its outcome is
unknown.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote
from uuid import UUID

from ..kernel.errors import EffectFailed, EffectUnknown
from .sql_database import OnceOnly, Row, Rows, make_dedup_table, other_body, perhaps_written, refused, try_again
from .sql_statement import quoted

SCHEME: Final = "sqlite:///"
BUSY_S: Final = 5.0
STORE_MARK: Final = 0x4F4E4558
"""``application_id`` of an engine's store."""
R = TypeVar("R")
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
}


class SqliteDatabase:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, path.name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onex-sql")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def write(self, sql: str, values: Sequence[object]) -> Rows:
        return await self._call(partial(self._write, lambda connection: _run(connection, sql, values)))

    async def write_once(self, sql: str, values: Sequence[object], once: OnceOnly) -> str:
        return await self._call(
            partial(self._write, lambda connection: _once(connection, sql, values, once), once.table)
        )

    async def read(self, sql: str, values: Sequence[object], at_most: int) -> Sequence[Row]:
        return await self._call(partial(self._read, sql, values, at_most))

    async def _call(self, work: Callable[[], R]) -> R:
        if self._closed:
            raise try_again(f"{self.shown} is closed here", "closed")
        begun = self._thread.submit(work)
        try:
            return await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            if not begun.cancel() and not begun.done() and self._connection is not None:
                self._connection.interrupt()
            raise

    def _write(self, work: Callable[[sqlite3.Connection], R], dedup_table: str = "") -> R:
        connection = self._open()
        try:
            connection.execute("begin immediate")
            done = work(connection)
        except BaseException as error:
            with suppress(sqlite3.Error):
                connection.rollback()
            if isinstance(error, sqlite3.Error | OverflowError):
                raise self._told(error, dedup_table) from error
            raise
        try:
            connection.execute("commit")
        except sqlite3.Error as error:
            locked = _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            with suppress(sqlite3.Error):
                connection.rollback()
            if locked:
                raise self._told(error) from error
            raise perhaps_written(f"{self.shown} did not answer COMMIT: {error}") from error
        return done

    def _read(self, sql: str, values: Sequence[object], at_most: int) -> list[Row]:
        connection = self._open()
        try:
            connection.execute("pragma query_only = on")
            cursor = connection.execute(sql, _numbered(values))
            return _rows(cursor, cursor.fetchmany(at_most))
        except (sqlite3.Error, OverflowError) as error:
            raise self._told(error) from error
        finally:
            connection.execute("pragma query_only = off")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                uri = f"file:{quote(str(self.path))}?mode=rw"
                opened = sqlite3.connect(
                    uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
                )  # the thread is one; only interrupt() comes from another
            except sqlite3.Error as error:
                why = f"{self.path} cannot be opened: {error}; its owner makes the file and its tables"
                raise try_again(why, "unreachable") from error
            try:
                (mark,) = opened.execute("pragma application_id").fetchone()
                opened.execute("pragma foreign_keys = on")
            except sqlite3.Error as error:
                opened.close()
                raise self._told(error) from error
            if mark == STORE_MARK:
                opened.close()
                raise refused(
                    f"{self.path} is the store of an engine; a workflow writes into a database of its own",
                    "engine_store",
                )
            self._connection = opened
        return self._connection

    def _told(self, error: sqlite3.Error | OverflowError, dedup_table: str = "") -> EffectFailed | EffectUnknown:
        said = f"{self.shown}: {error}"
        if isinstance(error, OverflowError | sqlite3.DataError | sqlite3.InterfaceError):
            return refused(f"{said}; the value does not fit its column", "value_refused")
        if isinstance(error, sqlite3.IntegrityError):
            taken = error.sqlite_errorcode in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
            left = "; the row that is there was left as it is" if taken else ""
            return refused(f"{said}{left}", "already_there" if taken else "constraint")
        if _code(error) in _PASSING:
            return try_again(said, "rolled_back")
        if dedup_table and f"no such table: {dedup_table}" in str(error):
            return refused(f"{said}; its owner makes it once: {make_dedup_table(dedup_table)}", "statement_refused")
        return refused(f"{said}; compare the contract with the tables", "statement_refused")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._thread.submit(self._end))  # behind the calls that wait
            self._thread.shutdown(wait=False)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _run(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> Rows:
    cursor = connection.execute(sql, _numbered(values))
    rows = _rows(cursor, cursor.fetchall())
    return Rows(len(rows) if cursor.description else cursor.rowcount, rows)


def _once(connection: sqlite3.Connection, sql: str, values: Sequence[object], once: OnceOnly) -> str:
    table = quoted(once.table)
    kept = connection.execute(f"select body, answer from {table} where idempotency_key = ?", (once.key,)).fetchone()  # noqa: S608  # a checked name
    if kept is not None:
        if kept[0] != once.body:
            raise other_body(once.key)
        return str(kept[1])
    answer = once.answer(_run(connection, sql, values))
    connection.execute(
        f"insert into {table} (idempotency_key, body, answer) values (?, ?, ?)",  # noqa: S608  # as above
        (once.key, once.body, answer),
    )
    return answer


def _rows(cursor: sqlite3.Cursor, rows: Sequence[Sequence[object]]) -> list[Row]:
    names = [one[0] for one in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _numbered(values: Sequence[object]) -> dict[str, object]:
    """To SQLite ``$1`` is a name, not a place."""
    return {str(n): _plain(value) for n, value in enumerate(values, 1)}


def _plain(value: object) -> object:
    """What SQLite has a type for; the others as text that sorts as they do and reads back equal."""
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    return value


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
