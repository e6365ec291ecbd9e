"""SqlEffect: serves a target that is a database (``sql``): each intent writes one row, or reads by a declared query.

Theory of operation of one call:

1. The statement of the intent is made once, from the contract's block and the two payload classes (``sql_statement``).
2. The payload's values are bound. A target with a ``dedup_table`` writes the idempotency key and the answer in the transaction of
   the row: a second try finds them and gives the same answer, whoever was killed when. Without that table a second ``insert`` meets
   its own row and is told ``already_there``; upsert, update and delete come to the same end twice.
3. What came back becomes the payload of the success trigger. Its field ``rows`` takes the number of rows that changed, or all
   rows of a query; its other fields are columns.

An update that meets no row is ``failed`` (``no_such_row``); a delete that meets none has nothing to do and succeeds. A query
changes nothing, so whatever goes wrong with it is ``failed``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel

from ..contracts.model.target_sql import EnumSqlOperation, ModelSqlCall, ModelSqlTarget
from ..engine.attempt import wrong_result
from ..engine.encode import encode_payload
from ..kernel.action import NOTHING, Nothing
from ..kernel.dedup_name import dedup_name
from ..kernel.errors import EffectFailed, OnexError
from ..kernel.intent import ModelIntent
from ..nodes.given import ResultModel, success_payload
from ..ports import Result
from .bounded_cache import BoundedCache
from .context import EffectContext, not_installed
from .sql_database import OnceOnly, Rows, SqlDatabase, refused
from .sql_sqlite import SCHEME, SqliteDatabase
from .sql_statement import ROWS_AT_MOST, SqlStatement, answer_fields, statement, values_of

_CACHED_BYTES = 16 << 20


class SqlEffect:
    """An ``Executor``. The address is read at each call: where it has changed, the old connections are closed."""

    def __init__(
        self,
        name: str,
        target: ModelSqlTarget,
        calls: Mapping[str, ModelSqlCall],
        result_model: ResultModel,
        context: EffectContext,
    ) -> None:
        """``calls[intent name]``."""
        self.name, self.target, self.calls = name, target, calls
        self._result_model, self._context = result_model, context
        self._statements: dict[str, SqlStatement] = {}
        self._databases: dict[str, SqlDatabase] = {}
        self._cached = BoundedCache(context.clock, max_bytes=_CACHED_BYTES)
        self._closing: set[asyncio.Task[None]] = set()
        context.closes(self.close)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call, model = self.calls[intent.name], self._result_model(intent)
        one = self._statements.get(intent.name)
        if one is None:
            one = self._statements[intent.name] = statement(self.target, call, type(intent.payload), model)
        url = await self._context.settings.text(self.target.url, what=f"url of {self.name!r}")
        database = self._database(url)
        if one.reads:
            return await self._read(database, one, call, intent, model)
        with self._context.audit.call(intent, f"{one.operation.value} {database.shown} {one.table}"):
            if self.target.dedup_table is None:
                done = await database.write(one.sql, values_of(intent.payload, one.fields))
                return Result(self._answer(one, model, done))
            return await self._once(database, self.target.dedup_table, one, intent, model)

    async def _once(
        self,
        database: SqlDatabase,
        table: str,
        one: SqlStatement,
        intent: ModelIntent[BaseModel],
        model: type[BaseModel] | None,
    ) -> Result:
        def kept(done: Rows) -> str:
            answer = self._answer(one, model, done)
            return "{}" if answer is None else encode_payload(answer).decode()

        body = blake2b(encode_payload(intent.payload), digest_size=16).hexdigest()
        once = OnceOnly(table, dedup_name(intent), body, kept)
        text = await database.write_once(one.sql, values_of(intent.payload, one.fields), once)
        if model is None or model is Nothing:
            return Result(NOTHING)
        try:
            return Result(model.model_validate_json(text))
        except ValueError as error:
            raise wrong_result(
                f"{self.name}: the answer that is kept under this key does not fit {model.__name__}"
            ) from error

    async def _read(
        self,
        database: SqlDatabase,
        one: SqlStatement,
        call: ModelSqlCall,
        intent: ModelIntent[BaseModel],
        model: type[BaseModel] | None,
    ) -> Result:
        key = f"{intent.name}\n".encode() + encode_payload(intent.payload)
        if call.cache is not None and model is not None and (found := self._cached.get(key)) is not None:
            return Result(model.model_validate_json(found))
        with self._context.audit.call(intent, f"query {database.shown}") as audited:
            rows = await database.read(one.sql, values_of(intent.payload, one.fields), ROWS_AT_MOST + 1)
            audited.result = f"{len(rows)} rows"
        if len(rows) > ROWS_AT_MOST:
            raise refused(
                f"{self.name}: the query of {intent.name!r} gives more than {ROWS_AT_MOST:,} rows; add a limit to it",
                "too_many_rows",
            )
        answer = self._answer(one, model, Rows(0, rows))
        if call.cache is not None and answer is not None:
            self._cached.set(key, encode_payload(answer), call.cache.ttl_ms / 1000)
        return Result(answer)

    def _answer(self, one: SqlStatement, model: type[BaseModel] | None, done: Rows) -> BaseModel | None:
        if one.operation is EnumSqlOperation.UPDATE and not done.changed:
            raise refused(f"{self.name}: table {one.table!r} has no row of this key", "no_such_row")
        if model is None or model is Nothing:
            return NOTHING
        fields = answer_fields(one, model, done.changed, done.rows)
        if fields is None:
            raise refused(f"{self.name}: there is no row to answer with", "no_such_row")
        try:
            return success_payload(fields, model, f"target {self.name!r}")
        except OnexError as error:
            if one.reads:  # nothing was done
                raise EffectFailed(error.message, code="wrong_result") from error
            raise

    def _database(self, url: str) -> SqlDatabase:
        found = self._databases.get(url)
        if found is None:
            found = self._opened(url)
            for old in tuple(self._databases):
                self._close_later(self._databases.pop(old))
            self._databases[url] = found
        return found

    def _opened(self, url: str) -> SqlDatabase:
        if url.startswith(SCHEME):
            return SqliteDatabase(Path(url.removeprefix(SCHEME)))
        if not url.startswith(("postgres://", "postgresql://")):
            raise refused(
                f"target {self.name!r}: its url begins with no postgres:// and no sqlite:///; write one of them",
                "bad_url",
            )
        try:
            from .sql_postgres import PostgresDatabase
        except ImportError as error:
            missing = not_installed(f"the target {self.name!r}", "postgres", error)
            raise refused(missing.message, "extra_missing") from error
        self._context.settings.hide(unquote(urlsplit(url).password or ""))
        return PostgresDatabase(url, self.target.pool_min, self.target.pool_max)

    def _close_later(self, old: SqlDatabase) -> None:
        """Calls that run end first: closing waits for them."""
        task = asyncio.ensure_future(old.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Idempotent."""
        databases, self._databases = tuple(self._databases.values()), {}
        with suppress(OnexError, OSError):
            await asyncio.gather(*self._closing, *(one.close() for one in databases))


NodeStoreEffect = SqlEffect
"""The node that writes for others: all writes of a database in one place, each in a transaction. That one is done, the bus of the
engine tells by ``workflow_step_completed``, once its outcome is committed."""
