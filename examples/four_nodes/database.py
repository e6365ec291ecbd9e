"""The database effect: the lines of one order, read over a connection of a pool."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from onex import EffectFailed, Payload
from onex.nodes.error_handling import standard_error_handling
from onex.nodes.node_effect import ModelEffectInput, ModelEffectOutput, ResourceManagedEffectService

LINES = [("near-1", "tea", 2, 450), ("near-1", "cup", 1, 1100), ("far-1", "tea", 1, 450), ("odd-1", "tea", -1, 450)]
"""The orders of the shop: one that goes well, one to where nobody ships, and one that nobody can price."""


class ReadLines(Payload):
    order: str


class OrderLines(Payload):
    lines: list[dict[str, JsonValue]]


def make_shop(file: Path) -> None:
    """A database with the lines of three orders. One that is there stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shop = sqlite3.connect(file)
    with shop:
        columns = "order_id text, sku text, quantity integer, cents integer, primary key(order_id, sku)"
        shop.execute(f"create table if not exists lines({columns})")
        shop.executemany("insert or ignore into lines values(?, ?, ?, ?)", LINES)
    shop.close()


class SqlitePool:
    """Connections to one file; a query runs in a thread of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.file, check_same_thread=False)
        try:
            yield connection
        finally:
            connection.close()


class DatabaseEffectService(ResourceManagedEffectService):
    """Raises EffectFailed for an order that nobody knows."""

    @standard_error_handling
    async def execute_with_connection(self, connection: object, input_data: ModelEffectInput) -> ModelEffectOutput:
        asked = input_data.intent.payload
        assert isinstance(connection, sqlite3.Connection) and isinstance(asked, ReadLines)
        query = "select sku, quantity, cents from lines where order_id = ? order by sku"
        rows = await asyncio.to_thread(lambda: connection.execute(query, (asked.order,)).fetchall())
        if not rows:
            raise EffectFailed(f"there is no order {asked.order}", code="no_order")
        named = [dict(zip(("sku", "quantity", "cents"), row, strict=True)) for row in rows]
        return ModelEffectOutput(result=OrderLines(lines=named))
