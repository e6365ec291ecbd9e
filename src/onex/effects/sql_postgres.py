"""A database on PostgreSQL, by asyncpg: a pool of connections, opened when they are needed.

What may go wrong, and what is told:

- No connection can be opened: nothing was written. ``EffectFailed``, to be tried again.
- The server refuses a statement: it rolled back. ``EffectFailed``; a deadlock or a serialization failure is tried again.
- The connection is lost before COMMIT was sent: the server rolls back. ``EffectFailed``, to be tried again.
- It is lost after COMMIT was sent, or while a statement runs that commits by itself: ``EffectUnknown``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from ..kernel.errors import EffectFailed, EffectUnknown
from .sql_database import OnceOnly, Row, Rows, make_dedup_table, other_body, perhaps_written, refused, try_again
from .sql_statement import quoted

CONNECT_S: Final = 10.0
CLOSE_S: Final = 5.0
_SERVER: Final = {
    "application_name": "onex-effect",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
_PASSING = (
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
)
_FORBIDDEN = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_ERRORS = (asyncpg.PostgresError, asyncpg.InternalClientError, asyncpg.InterfaceError, OSError, TimeoutError)
_VALUE = re.compile(r"invalid input for query argument (?P<which>\$\d+): ")
_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class PostgresDatabase:
    """One pool. ``url`` may hold a password; messages name host and database only."""

    def __init__(self, url: str, pool_min: int, pool_max: int) -> None:
        parts = urlsplit(url)
        self.shown = f"{parts.hostname or 'localhost'}{parts.path}"
        self._url, self._sizes = url, (min(pool_min, pool_max), pool_max)
        self._pool: _Pool | None = None
        self._opening = asyncio.Lock()

    async def write(self, sql: str, values: Sequence[object]) -> Rows:
        connection = await self._acquire()
        try:
            return await _run(connection, sql, values)
        except _ERRORS as error:
            raise self._told(error, rolled_back=False) from error
        finally:
            await self._release(connection)

    async def write_once(self, sql: str, values: Sequence[object], once: OnceOnly) -> str:
        connection = await self._acquire()
        try:
            transaction = connection.transaction()
            try:
                await transaction.start()
                try:
                    answer = await self._once(connection, sql, values, once)
                except BaseException:
                    with suppress(*_ERRORS):
                        await transaction.rollback()
                    raise
            except _ERRORS as error:
                raise self._told(error, rolled_back=True, dedup_table=once.table) from error
            try:
                await transaction.commit()
            except _ERRORS as error:
                raise self._told(error, rolled_back=False) from error
            return answer
        finally:
            await self._release(connection)

    async def _once(self, connection: _Connection, sql: str, values: Sequence[object], once: OnceOnly) -> str:
        table = quoted(once.table)
        claim = f"insert into {table} (idempotency_key, body, answer) values ($1, $2, '') on conflict do nothing"  # noqa: S608  # a checked name
        if (await connection.execute(claim, once.key, once.body)).endswith(" 0"):
            kept = await connection.fetchrow(
                f"select body, answer from {table} where idempotency_key = $1",  # noqa: S608  # as above
                once.key,
            )
            if kept is None or kept["body"] != once.body:
                raise other_body(once.key)
            return str(kept["answer"])
        answer = once.answer(await _run(connection, sql, values))
        await connection.execute(
            f"update {table} set answer = $2 where idempotency_key = $1",  # noqa: S608  # as above
            once.key,
            answer,
        )
        return answer

    async def read(self, sql: str, values: Sequence[object], at_most: int) -> Sequence[Row]:
        connection = await self._acquire()
        try:
            async with connection.transaction(readonly=True):
                prepared = await connection.prepare(sql)
                cursor = await prepared.cursor(*values)
                return [dict(row) for row in await cursor.fetch(at_most)]
        except _ERRORS as error:
            raise self._told(error, rolled_back=True) from error
        finally:
            await self._release(connection)

    async def _acquire(self) -> _Connection:
        try:
            if self._pool is None:
                async with self._opening:
                    if self._pool is None:
                        least, most = self._sizes
                        self._pool = await asyncpg.create_pool(
                            self._url, min_size=least, max_size=most, timeout=CONNECT_S, server_settings=_SERVER
                        )
            return await self._pool.acquire()
        except _FORBIDDEN as error:
            raise refused(f"{self.shown} does not let this user in: {_said(error)}", "not_allowed") from error
        except (*_ERRORS, ValueError) as error:
            raise try_again(f"{self.shown} cannot be reached: {_said(error)}", "unreachable") from error

    async def _release(self, connection: _Connection) -> None:
        if self._pool is not None:
            with suppress(*_ERRORS):  # it was lost; the pool opens another
                await self._pool.release(connection)

    def _told(self, error: Exception, *, rolled_back: bool, dedup_table: str = "") -> EffectFailed | EffectUnknown:
        said = f"{self.shown}: {_said(error)}"
        if isinstance(error, asyncpg.UniqueViolationError):
            return refused(f"{said}; the row that is there was left as it is", "already_there")
        if isinstance(error, asyncpg.IntegrityConstraintViolationError):
            return refused(said, "constraint")
        if isinstance(error, asyncpg.StatementCompletionUnknownError):
            return perhaps_written(said)
        if isinstance(error, _PASSING):
            return try_again(said, "rolled_back")
        if isinstance(error, _FORBIDDEN):
            return refused(f"{said}; grant the right to the user of this target", "not_allowed")
        if isinstance(error, asyncpg.DataError):
            return refused(f"{said}; the value does not fit its column", "value_refused")
        if isinstance(error, _LOST):
            text = f"the connection to {self.shown} was lost: {_said(error)}"
            return try_again(text, "connection_lost") if rolled_back else perhaps_written(text)
        if isinstance(error, asyncpg.UndefinedTableError) and dedup_table and dedup_table in str(error):
            return refused(f"{said}; its owner makes it once: {make_dedup_table(dedup_table)}", "statement_refused")
        return refused(f"{said}; compare the contract with the tables", "statement_refused")

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await pool.close()
            except (*_ERRORS, asyncio.CancelledError):
                pool.terminate()
                raise


async def _run(connection: _Connection, sql: str, values: Sequence[object]) -> Rows:
    if " returning " in sql:
        rows = await connection.fetch(sql, *values)
        return Rows(len(rows), [dict(row) for row in rows])
    return Rows(int((await connection.execute(sql, *values)).rpartition(" ")[2]), ())


def _said(error: Exception) -> str:
    """Without the detail, which repeats values; nor does what asyncpg itself says of a value repeat it."""
    text = error.args[0] if error.args and isinstance(error.args[0], str) else ""
    refused_value = _VALUE.match(text)
    if refused_value is not None:
        return f"invalid input for {refused_value['which']}{text[text.rfind(' (') :]}"
    return text.splitlines()[0] if text else type(error).__name__
