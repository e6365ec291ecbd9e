"""A process that books one row per intent until it is killed: ``python -m tests.effects.booking_child LEDGER COUNT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from onex.contracts.model.target_sql import ModelSqlCall, ModelSqlTarget
from onex.effects.sql import SqlEffect
from onex.kernel.action import Payload
from tests.effects.calls import context, intent


class Line(Payload):
    id: int


def ledger(path: Path) -> SqlEffect:
    """Its table has no unique index: a row that is written twice is there twice."""
    table = {"columns": ("id",), "key": ("id",)}
    target = ModelSqlTarget.model_validate(
        {"url": f"sqlite:///{path}", "tables": {"lines": table}, "dedup_table": "done_once"}
    )
    calls = {"book": ModelSqlCall.model_validate({"operation": "insert", "table": "lines"})}
    return SqlEffect("ledger", target, calls, lambda _: None, context())


async def book(path: Path, count: int) -> None:
    effect = ledger(path)
    for n in range(count):
        await effect.execute(intent("book", Line(id=n), str(n)))
        print(n, flush=True)
    await effect.close()


if __name__ == "__main__":
    asyncio.run(book(Path(sys.argv[1]), int(sys.argv[2])))
