"""Legs of ``onex bench effects``: a row and a file by a built-in effect, beside the same call by the bare client.

Both write the same bytes with the same promises: a row by one transaction, in a thread; a file by a new file, fsync, rename and
fsync of its folder, in a thread. Slices of both follow each other, so that a slow moment of the disk hits both.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel

from ..adapters.clock import SystemClock
from ..adapters.postgres.address import Address
from ..contracts.model.target_files import ModelFilesCall, ModelFilesTarget
from ..contracts.model.target_sql import ModelSqlCall, ModelSqlTarget
from ..effects.context import EffectContext
from ..effects.files import FilesEffect
from ..effects.sql import SqlEffect
from ..kernel.action import Payload
from ..kernel.intent import ModelIntent
from ..ports import Executor
from .measurement import ratio_of_pairs

SLICES = 20
SCHEMA = "onex_bench_effects"
V = TypeVar("V")
_ID = UUID(int=1)
INSERT = 'insert into "entries" ("id", "order_id", "cents") values ($1, $2, $3)'


class _Row(Payload):
    id: int
    order_id: str
    cents: int


class _File(Payload):
    name: str
    text: str


class LegCost(NamedTuple):
    """Of one kind of call: microseconds of ours and of the bare client, the median slice, and ours over bare."""

    kind: str
    ours_us: float
    bare_us: float
    ratio: float


class NoBlobs:
    async def read(self, digest: bytes) -> bytes:
        raise KeyError(digest.hex())


async def row_and_file(folder: Path, calls: int, postgres: str = "") -> list[LegCost]:
    """``calls`` of each. ``postgres``: the URL of a store's database, where a schema is made and dropped again."""
    context = EffectContext(NoBlobs(), SystemClock())
    legs = [await _sqlite(context, folder, calls), await _file(context, folder, calls)]
    if postgres:
        legs.append(await _postgres(context, postgres, calls))
    await context.close()
    return legs


def _intent(name: str, kind: str, payload: BaseModel, n: int) -> ModelIntent[BaseModel]:
    return ModelIntent[BaseModel](
        intent_id=UUID(int=n), intent_type=kind, target=name, payload=payload, correlation_id=_ID, idempotency_key=str(n), name=name
    )  # fmt: skip


def _booking(n: int) -> ModelIntent[BaseModel]:
    return _intent("book", "database_write", _row(n), n)


def _row(n: int) -> _Row:
    return _Row(id=n, order_id=f"order-{n}", cents=n * 7)


def _sql(context: EffectContext, url: str) -> Executor:
    table = {"columns": ("id", "order_id", "cents"), "key": ("id",)}
    target = ModelSqlTarget.model_validate({"url": url, "tables": {"entries": table}})
    calls = {"book": ModelSqlCall.model_validate({"operation": "insert", "table": "entries"})}
    return SqlEffect("ledger", target, calls, lambda _: None, context)


async def _sqlite(context: EffectContext, folder: Path, calls: int) -> LegCost:
    path = folder / "ledger.db"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table entries (id integer primary key, order_id text not null, cents integer not null)")
    effect, loop, thread = _sql(context, f"sqlite:///{path}"), asyncio.get_running_loop(), ThreadPoolExecutor(1)

    def insert(row: _Row) -> None:
        connection.execute("begin immediate")
        connection.execute(INSERT, {"1": row.id, "2": row.order_id, "3": row.cents})
        connection.execute("commit")

    async def bare(row: _Row) -> None:
        await loop.run_in_executor(thread, insert, row)

    try:
        return await in_pairs("sqlite insert", calls, _booking, effect, _row, bare)
    finally:
        thread.shutdown()
        connection.close()


async def _postgres(context: EffectContext, url: str, calls: int) -> LegCost:
    import asyncpg

    dsn = Address.parse(url).dsn
    url = f"{dsn}{'&' if '?' in dsn else '?'}search_path={SCHEMA}"
    pool = await asyncpg.create_pool(url, min_size=0, max_size=10)
    await pool.execute(f"drop schema if exists {SCHEMA} cascade")
    await pool.execute(f"create schema {SCHEMA}")
    await pool.execute("create table entries (id bigint primary key, order_id text not null, cents bigint not null)")
    effect = _sql(context, url)

    async def bare(row: _Row) -> None:
        await pool.execute(INSERT, row.id, row.order_id, row.cents)

    try:
        return await in_pairs("postgres insert", calls, _booking, effect, _row, bare)
    finally:
        await pool.execute(f"drop schema {SCHEMA} cascade")
        await pool.close()


async def _file(context: EffectContext, folder: Path, calls: int) -> LegCost:
    root, text = folder / "files", "x" * 4096
    for name in ("ours", "bare"):
        (root / name).mkdir(parents=True)
    target = ModelFilesTarget.model_validate({"root": str(root)})
    block = {"operation": "write", "path": "ours/{name}.txt", "content": "text"}
    effect = FilesEffect("folder", target, {"put": ModelFilesCall.model_validate(block)}, lambda _: None, context)
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(10)

    def write(name: str) -> None:
        path = root / "bare" / f"{name}.txt"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    async def bare(name: str) -> None:
        await loop.run_in_executor(threads, write, name)

    def putting(n: int) -> ModelIntent[BaseModel]:
        return _intent("put", "file_operation", _File(name=str(n), text=text), n)

    try:
        return await in_pairs("file write", calls, putting, effect, str, bare)
    finally:
        threads.shutdown()


async def in_pairs(
    kind: str,
    calls: int,
    intents: Callable[[int], ModelIntent[BaseModel]],
    effect: Executor,
    values: Callable[[int], V],
    bare: Callable[[V], Awaitable[None]],
) -> LegCost:
    """What is called with is made before a slice: the engine makes an intent whatever serves it."""
    each, ours_us, bare_us = max(1, calls // SLICES), list[float](), list[float]()
    await effect.execute(intents(0))  # the first call of each opens what it needs
    await bare(values(-1))
    for n in range(1, SLICES * each + 1, each):
        given = [intents(one) for one in range(n, n + each)]
        told = [values(-1 - one) for one in range(n, n + each)]
        began_s = time.perf_counter()
        for intent in given:
            await effect.execute(intent)
        middle_s = time.perf_counter()
        for value in told:
            await bare(value)
        ours_us.append((middle_s - began_s) / each * 1e6)
        bare_us.append((time.perf_counter() - middle_s) / each * 1e6)
    return LegCost(kind, median(ours_us), median(bare_us), ratio_of_pairs(ours_us, bare_us))
