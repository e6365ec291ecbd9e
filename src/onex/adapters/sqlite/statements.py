"""The statements that write a commit's rows: each for one row, and the frequent ones for many rows at once.

Theory of operation. ``executemany`` frees the GIL for every row and takes it back, twice. While the event loop computes, it
takes the GIL in between, and gives it back after its switch interval of 5 ms. So a commit of 1,000 actions took 2 s beside a
busy loop. A statement with all rows in it frees the GIL once: SQLite works beside the loop.

- A statement is prepared for 16, 20, 24, 28, 32, 40 ... 512 rows, so that few texts are prepared and all of them stay in the
  connection's cache, in some 14 MB. Places that are left over are bound to 0, and ``limit`` leaves them out: SQLite never looks
  at them.
- Below 16 rows ``executemany`` is used: it costs less then, and there is little to hand over.
- SQLite copies what is bound and keeps the copy until the statement is used again. So a commit with much text goes row by row
  as well (``TOGETHER_BYTES``).
- Each statement of many rows changes the same rows as its twin for one row, and counts them the same way. Where two rows of
  one call name the same row of the store, their order is not kept, so whoever calls it gives each once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final

from ...kernel.search import SLOT_NAMES
from ..commit_rows import Rows, SqlRow, SqlValue
from ..row_checksum import LOG_COLUMNS
from ..search_sql import FILL_INTO, FILLED, slot_columns

FEW: Final = 16
MOST: Final = 512
TOGETHER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RowStatement:
    """``one`` is the statement for one row of ``width`` values. ``many`` has ``{rows}`` where the rows come, as a table with the
    columns ``column1``, ``column2`` and so on."""

    one: str
    many: str
    width: int
    _texts: dict[int, str] = field(default_factory=dict, compare=False)

    def run(self, cursor: sqlite3.Cursor, rows: Rows, *, together: bool = True) -> int:
        """Execute it for all rows, in their order. Returns how many rows of the store it changed. Raises sqlite3.Error."""
        changed = 0
        for first in range(0, len(rows), MOST):
            some = rows[first : first + MOST]
            if len(some) < FEW or not together:
                cursor.executemany(self.one, some)
            else:
                self._execute(cursor, some)
            changed += cursor.rowcount
        return changed

    def _execute(self, cursor: sqlite3.Cursor, rows: Sequence[SqlRow]) -> None:
        count = len(rows)
        step = 1 << (count - 1).bit_length() - 3
        places = -(-count // step) * step
        values: list[SqlValue] = [*chain.from_iterable(rows)]
        values += (0,) * ((places - count) * self.width)
        values.append(count)
        cursor.execute(self._texts.get(places) or self._text(places), values)

    def _text(self, places: int) -> str:
        row = f"({', '.join('?' * self.width)})"
        values = _sql("(select * from (values", ", ".join([row] * places), ") limit ?)")
        return self._texts.setdefault(places, self.many.replace("{rows}", values))


def _sql(*parts: str) -> str:
    return " ".join(parts)


def _insert(table: str, columns: Sequence[str], empty_is_null: str = "") -> RowStatement:
    given = [f"column{place}" for place in range(1, len(columns) + 1)]

    def values(places: Sequence[str]) -> str:
        pairs = zip(columns, places, strict=True)
        return ", ".join(f"nullif({place}, x'')" if name == empty_is_null else place for name, place in pairs)

    into = f"insert into {table}({', '.join(columns)})"
    return RowStatement(
        _sql(into, "values(", values("?" * len(columns)), ")"),
        _sql(into, "select", values(given), "from {rows}"),
        len(columns),
    )


def _update(table: str, columns: Sequence[str], found_by: Sequence[str], condition: str) -> RowStatement:
    names = (*columns, *found_by)
    given = [f"{name} = column{place}" for place, name in enumerate(names, 1)]

    def where(terms: Sequence[str]) -> str:
        return " and ".join((*terms, condition) if condition else terms)

    return RowStatement(
        _sql(f"update {table} set", ", ".join(f"{name} = ?" for name in columns), "where",
             where([f"{name} = ?" for name in found_by])),
        _sql(f"update {table} set", ", ".join(given[: len(columns)]), "from {rows} where", where(given[len(columns) :])),
        len(names),
    )  # fmt: skip


_SET: Final = (
    "version", "epoch", "status", "terminal", "state_schema", "state_hash", "code_id", "position", "last_us", "failures",
    "held", "updated_us", "state", "checksum",
)  # fmt: skip

INSERT_STATE: Final = _insert("workflow_state", (*_SET, "instance", "workflow_type", "instance_id", "began_us"))
UPDATE_STATE: Final = _update("workflow_state", _SET, ("instance", "version"), "lease_id is null")
INSERT_LOG: Final = _insert(
    "log",
    (*LOG_COLUMNS, "checksum"),
    empty_is_null="cause",
)  # fmt: skip
INSERT_OUTBOX: Final = _insert("outbox", ("n", "ordinal", "instance", "priority", "due_us", "timer"))
SETTLE: Final = RowStatement(
    "delete from outbox where n = ? and ordinal = ?", "delete from outbox where (n, ordinal) in {rows}", 2
)
NOTE: Final = _update(
    "outbox", ("state", "attempt", "due_us", "started", "crashes", "result", "error", "fence"), ("n", "ordinal"), ""
)
ANSWER: Final = _update("inbox", ("answer", "answered_us"), ("ticket",), "answer is null")

# Seldom, or of few rows.
UPDATE_LEASED: Final = UPDATE_STATE.one.replace("lease_id is null", "lease_id = ?")
UPDATE_FAILURES: Final = """update workflow_state set failures = ?, held = ?, updated_us = ?
  where instance = ? and version = ? and lease_id is ?"""
SET_LEASE: Final = "update workflow_state set lease_id = ?, lease_until_us = ? where instance = ?"
REPLACE_TIMER: Final = "delete from outbox where instance = ? and timer = ? and timer <> '' and state = 'waiting'"
REMOVE_TIMERS: Final = "delete from outbox where instance = ? and timer <> '' and state = 'waiting'"
SNAPSHOT_BEFORE: Final = """insert or ignore into
  snapshots(instance, version, state_schema, code_id, state_hash, at_us, state, checksum)
  select instance, version, state_schema, code_id, state_hash, ?, ?, ? from workflow_state where instance = ?"""
SNAPSHOT: Final = """insert or ignore into
  snapshots(instance, version, state_schema, code_id, state_hash, at_us, state, checksum)
  values(?, ?, ?, ?, ?, ?, ?, ?)"""
FILL_SEARCH: Final = _sql(
    FILL_INTO,
    "select",
    "?, " * (1 + len(SLOT_NAMES)),
    "instance from workflow_state where instance = ? and version = ?",
    "on conflict(instance) do update set",
    FILLED,
)


@lru_cache(256)
def write_search(is_new: bool, slots: tuple[int, ...]) -> RowStatement:  # a key of the cache
    """Values of these slots: of a new row, or of one that is there and has the same spec."""
    if is_new:
        return _insert("search", (*slot_columns(slots), "instance", "spec"))
    return _update("search", slot_columns(slots), ("instance", "spec"), "")
