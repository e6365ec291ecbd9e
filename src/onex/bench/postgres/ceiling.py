"""The ceiling on PostgreSQL: durable actions per second that the server alone reaches with the rows of ONEX.

Theory of operation, as in ``ceiling``: the same tables, indexes, statements, bytes per row and durability as the engine, over one
connection, and nothing else. Rows come from the adapter's own ``PostgresRows``, and are arrays before the transaction begins; only
time between ``begin`` and the answer to ``commit`` counts. So a faster Python cannot improve the ceiling, beyond what the driver
needs to send arrays.

- One ``unnest`` statement per table and batch: the positions, the states with their version check, the log, what is settled, the
  outbox. ``COPY`` was not faster. All of it as parts of one statement saves round trips: that is tried too.
- Each of the two is tried at 100 and at 1,000 actions in a transaction (``tried``); the best is measured beside the engine, in
  alternating slices.
- Client and server share this machine, unless the URL names another one.
"""

from __future__ import annotations

import re
import time
from itertools import cycle, islice
from statistics import median, quantiles
from typing import Final, NamedTuple

from ...adapters.clock import UuidV7
from ...adapters.postgres.address import Address
from ...adapters.postgres.commit import PostgresRows
from ...adapters.postgres.link import Connection, Link
from ...adapters.postgres.statements import (
    INSERT_LOG,
    INSERT_OUTBOX,
    INSERT_STATE,
    SETTLE,
    UPDATE_STATE,
    SetStatement,
)
from ...adapters.postgres.store import PostgresStore
from ...kernel.action import WorkflowKey
from ...kernel.errors import StateConsistencyError
from ...ports import KeyChange, LogRow, NewIntent, Pointer
from ..ceiling import Ceiling, RowSizes
from .server import own_schema

_DRAW: Final = "update shards set n = n + $1 where shard = 0 and fence = 0"


class Way(NamedTuple):
    """``together``: as one statement. ``batch``: actions in a transaction."""

    batch: int
    together: bool

    def __str__(self) -> str:
        return f"{'one statement' if self.together else 'a statement per table'}, {self.batch} a batch"


WAYS: Final = tuple(Way(batch, together) for batch in (100, 1000) for together in (False, True))


async def tried(url: str, seconds: float, shape: RowSizes) -> dict[Way, float]:
    """Actions per second of each way."""
    return {way: (await measure(url, way, seconds, shape)).actions_per_s for way in WAYS}


async def measure(url: str, way: Way, seconds: float, shape: RowSizes) -> Ceiling:
    """Fills a store in a schema of its own for about ``seconds``, and removes it."""
    async with own_schema(url) as address:
        return await fill(address, way, seconds, shape)


async def fill(address: Address, way: Way, seconds: float, shape: RowSizes) -> Ceiling:
    """Makes a store of one shard at ``address``, where none may be, and fills it."""
    await (await PostgresStore.open(address._replace(shards=1))).close()
    link = Link(address)
    try:
        return await link.use(lambda connection: _fill(connection, way, seconds, shape))
    finally:
        await link.close()


async def _fill(connection: Connection, way: Way, seconds: float, shape: RowSizes) -> Ceiling:
    made = _Changes(shape)
    await _write(connection, made.instances(), together=False)
    taken: list[float] = []
    waited = 0.0
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        took_s, commit_s = await _write(connection, made.batch(way.batch), together=way.together)
        taken.append(took_s)
        waited += commit_s
    p99 = quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
    return Ceiling(
        way.batch * len(taken) / sum(taken), median(taken) * 1e3, p99 * 1e3, len(taken), waited / sum(taken)
    )  # fmt: skip


class _Call(NamedTuple):
    statement: SetStatement
    columns: tuple[tuple[object, ...], ...]


def _calls(rows: PostgresRows) -> list[_Call]:
    """In the order in which the adapter runs them."""
    written = (
        (INSERT_STATE, rows.inserts), (UPDATE_STATE, rows.updates), (INSERT_LOG, rows.log), (SETTLE, rows.settled),
        (INSERT_OUTBOX, rows.outbox),
    )  # fmt: skip
    return [_Call(statement, tuple(zip(*values, strict=True))) for statement, values in written if values]


async def _write(connection: Connection, rows: PostgresRows, *, together: bool) -> tuple[float, float]:
    """Seconds of the transaction, and of its ``commit`` alone."""
    calls, drawn, changed = _calls(rows), len(rows.log), len(rows.updates)
    if together:
        text, values = _one_statement(calls, drawn)
        begun = time.perf_counter()
        await connection.execute(text, *values)
        took_s = time.perf_counter() - begun
        return took_s, took_s
    begun = time.perf_counter()
    await connection.execute("begin isolation level read committed")
    await connection.execute(_DRAW, drawn)
    for statement, columns in calls:
        status = await connection.execute(statement.text, *columns)
        if statement is UPDATE_STATE and not status.endswith(f" {changed}"):
            raise StateConsistencyError(f"{changed} states should change, and the server said {status}")
    written = time.perf_counter()
    await connection.execute("commit")
    done = time.perf_counter()
    return done - begun, done - written


def _one_statement(calls: list[_Call], drawn: int) -> tuple[str, list[object]]:
    """All of it as parts of one statement, which commits by itself."""
    parts, values = [f"x0 as ({_DRAW} returning n)"], list[object]([drawn])
    for number, (statement, columns) in enumerate(calls, 1):
        parts.append(f"x{number} as ({_renumbered(statement.text, len(values))} returning 1)")
        values += columns
    return f"with {', '.join(parts)} select n from x0", values  # noqa: S608 - all of it ours


def _renumbered(text: str, by: int) -> str:
    return re.sub(r"\$(\d+)", lambda found: f"${int(found[1]) + by}", text)


class _Changes:
    """Changes as the engine commits them: one per key and batch, with one row per action."""

    def __init__(self, shape: RowSizes) -> None:
        self.shape = shape
        self.ids = UuidV7()
        self.n = self.instance = 0
        self.us = 1
        self.keys = [WorkflowKey("orders", f"order-{number}") for number in range(1, shape.keys + 1)]
        self.next = cycle(range(len(self.keys)))
        self.ends: list[tuple[int, int]] = [(0, 0)] * len(self.keys)
        self.waits: list[Pointer] = []
        self.payload, self.state = b"p" * shape.payload_bytes, b"s" * shape.state_bytes
        self.intents, self.digest = b"i" * shape.intents_bytes, b"h" * 32

    def instances(self) -> PostgresRows:
        """The first action of each key."""
        rows = self.batch(len(self.keys))
        self.instance = len(self.keys)
        return rows

    def batch(self, size: int) -> PostgresRows:
        touched: dict[int, int] = {}
        for place in islice(self.next, size):
            touched[place] = touched.get(place, 0) + 1
        rows = PostgresRows({0: (self.n, self.instance)}, 1, self.us)
        settled, self.waits = tuple(self.waits), []
        for place, count in touched.items():
            rows.add_to(0, self._change(place, count, settled), self.ends[place][1])
            settled = ()
            self.ends[place] = self.ends[place][0] + count, rows.n
        self.n = rows.n
        return rows

    def _change(self, place: int, count: int, settled: tuple[Pointer, ...]) -> KeyChange:
        version = self.ends[place][0]
        return KeyChange(
            self.keys[place], place + 1 if version else None, version, tuple(self._row() for _ in range(count)), self.state, 1,
            self.digest, "open", False, 1, 1, settled=settled,
        )  # fmt: skip

    def _row(self) -> LogRow:
        self.us += 1
        action_id = self.ids.new()
        emits = self.us % self.shape.intents_every == 0
        if emits and self.shape.settles:
            self.waits.append(Pointer(0, self.us - 1, 0))
        return LogRow(
            action_id, "place", self.payload, self.us, action_id, None, "bench", self.digest[:16],
            self.intents if emits else b"[]", "open", (NewIntent(0, 2),) if emits else (),
        )  # fmt: skip
