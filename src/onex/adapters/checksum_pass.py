"""A pass over all rows that carry a checksum, and over all blobs: each is read, and its checksum or digest is made again.

What is asked here is the same for every SQL store; each has its own way to ask. Rows are read in pages, so no read stays open
for long and an engine may commit meanwhile. A row that changes between two pages is read as it is then: row and checksum
are always of one moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from blake3 import blake3

from ..kernel.data_key import SEALED_BLOB
from .row_checksum import LOG_COLUMNS, NONE, STATE_COLUMNS, kept_checksum, log_checksum, state_checksum
from .sql_checks import MOST
from .sql_rows import position_of


class CheckedTable(NamedTuple):
    """A table in the order of ``key``, by pages. ``wrong(row)`` tells what is wrong, '' for nothing, None for no checksum.

    ``named(row)`` says which row it is, ``instance(row)`` whose; None where it belongs to none.
    """

    source: str
    columns: Sequence[str]
    key: Sequence[str]
    first: Sequence[int | bytes]
    page: int
    wrong: Callable[[Sequence[Any]], str | None]
    named: Callable[[Sequence[Any]], str]
    instance: Callable[[Sequence[Any]], int | None]

    def question(self, hole: Callable[[int], str], columns: str = "") -> str:
        """The statement that reads the next page behind a key. ``hole(k)`` is the k-th place of a value, from 1."""
        key, holes = ", ".join(self.key), ", ".join(hole(place) for place in range(1, len(self.key) + 1))
        what = columns or ", ".join(self.columns)
        return f"select {what} from {self.source} where ({key}) > ({holes}) order by {key} limit {self.page}"  # noqa: S608 - all of it ours

    def key_of(self, row: Sequence[Any]) -> list[Any]:
        return [row[self.columns.index(name)] for name in self.key]


def _compared(checksum: Callable[[Sequence[Any]], int]) -> Callable[[Sequence[Any]], str | None]:
    def wrong(row: Sequence[Any]) -> str | None:
        if row[-1] == NONE:
            return None
        try:
            right = checksum(row[:-1]) == row[-1]
        except (TypeError, UnicodeError):
            return "holds values of wrong types"
        return "" if right else "is not what was written: its checksum differs"

    return wrong


def _blob_wrong(row: Sequence[Any]) -> str | None:
    """None for one that is encrypted: its digest is that of the plain bytes, and reading it with the key checks it."""
    digest, size, data = row
    if isinstance(data, bytes) and data.startswith(SEALED_BLOB):
        return None
    if not isinstance(data, bytes) or blake3(data).digest() != digest:
        return "is not what its digest says"
    return "" if size == len(data) else f"has {len(data)} bytes, and is listed with {size}"


def _at(row: Sequence[Any]) -> str:
    shard, n = position_of(row[0]) if isinstance(row[0], int) else (0, row[0])
    return f"the row at {n}{f' of shard {shard}' if shard else ''} of the log"


CHECKED: Final = (
    CheckedTable("log", (*LOG_COLUMNS, "checksum"), ("n",), (-1,), 5000, _compared(log_checksum), _at, lambda row: row[1]),
    CheckedTable(
        "workflow_state", (*STATE_COLUMNS, "checksum"), ("instance",), (-1,), 500, _compared(state_checksum),
        lambda row: "its stored row", lambda row: row[0],
    ),
    CheckedTable(
        "snapshots", ("instance", "version", "state", "checksum"), ("instance", "version"), (-1, -1), 500,
        _compared(lambda row: kept_checksum(row[2])), lambda row: f"its state kept at version {row[1]}", lambda row: row[0],
    ),
    CheckedTable(
        "blobs", ("digest", "size", "data"), ("digest",), (b"",), 50, _blob_wrong,
        lambda row: f"the blob {bytes(row[0]).hex()}", lambda row: None,
    ),
)  # fmt: skip


class ChecksumPass:
    """The sums, and what was found: at most a hundred rows of each table, as ``(instance, sentence)``."""

    def __init__(self, on_rows: Callable[[int], None]) -> None:
        self.checked = self.without = 0
        self.found: list[tuple[int | None, str]] = []
        self._on_rows, self._told = on_rows, Counter[str]()

    def take(self, table: CheckedTable, rows: Sequence[Sequence[Any]]) -> None:
        """Check a page."""
        for row in rows:
            wrong = table.wrong(row)
            if wrong is None:
                self.without += 1
                continue
            self.checked += 1
            if wrong and self._told[table.source] < MOST:
                self._told[table.source] += 1
                self.found.append((table.instance(row), f"{table.named(row)} {wrong}"))
        if table.source == "log":
            self._on_rows(len(rows))
