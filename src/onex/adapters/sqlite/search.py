"""Search in a SQLite store: its reads as plain calls, and what is written beside commits, inside a transaction that ``core`` opens.

Which statements, and why: ``adapters/search_sql``. What a commit writes of it: ``write_search`` in ``statements``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...kernel.search import SearchCode, SearchField, SearchFill, SearchSpec
from ...kernel.search_query import SearchPlace, SearchQuery
from ...ports import Stored
from ..search_sql import (
    ADD_SPEC,
    HAS_UNFILLED,
    REMOVE_VALUES,
    SPECS,
    SQLITE_SEARCH,
    UNFILLED,
    fill_values,
    newest_specs,
    pages_sql,
    spec_text,
    tally_sql,
)
from ..sql_rows import stored_of
from .errors import StoreTooOldToSearch, translates_errors
from .statements import FILL_SEARCH


def _replaced(raw: bytes) -> str:
    return raw.decode(errors="replace")


class SqliteSearchReads:
    """The reads of ``SearchTables``. A store of an older schema has no search fields, and no column ``began``."""

    path: Path
    _connection: sqlite3.Connection
    _has_search: bool

    def reads_damaged_text(self) -> bool:
        if self._connection.text_factory is not str:
            return False
        self._connection.text_factory = _replaced
        return True

    @translates_errors
    def search_specs(self) -> Mapping[str, SearchSpec]:
        found = newest_specs(self._connection.execute(SPECS).fetchall()) if self._has_search else {}
        return {name: spec for name, spec in found.items() if spec.fields}

    @translates_errors
    def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        rows = self._connection.execute(UNFILLED, (spec.workflow_type, after, spec.id, limit))
        return [stored_of(row, {}) for row in rows]

    @translates_errors
    def find(self, query: SearchQuery, after: SearchPlace | None, limit: int) -> Sequence[tuple[Stored, SearchCode]]:
        self._check_search()
        found: list[tuple[Stored, SearchCode]] = []
        for text, bound in pages_sql(query, SQLITE_SEARCH, after, limit):
            rows = self._connection.execute(text, bound).fetchmany(limit - len(found))
            found += [(stored_of(row[:-1], {}), row[-1]) for row in rows]
            if len(found) == limit:
                break
        return found

    @translates_errors
    def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        self._check_search()
        text, bound = tally_sql(query, SQLITE_SEARCH, by)
        return [(row[0], row[1]) for row in self._connection.execute(text, bound)]

    def _check_search(self) -> None:
        if not self._has_search:
            raise StoreTooOldToSearch(
                f"{self.path} was written last by an ONEX that knew no search; start an engine of this one on it once",
                path=str(self.path),
            )


def declare(cursor: sqlite3.Cursor, wanted: Mapping[str, Sequence[SearchField]]) -> dict[str, SearchSpec]:
    specs = newest_specs(cursor.execute(SPECS).fetchall())
    for name, fields in wanted.items():
        known = specs.get(name)
        if tuple(fields) == (() if known is None else known.fields):
            continue
        if not fields:
            cursor.execute(REMOVE_VALUES, (name,))
        begun = cursor.execute("select 1 from workflow_state where workflow_type = ? limit 1", (name,)).fetchone()
        filled = begun is None or not fields
        (number,) = cursor.execute(ADD_SPEC, (name, spec_text(fields), int(filled))).fetchall()[0]
        specs[name] = SearchSpec(number, name, tuple(fields), filled)
    return {name: spec for name, spec in specs.items() if spec.fields}


def fill(cursor: sqlite3.Cursor, rows: Sequence[SearchFill]) -> None:
    cursor.executemany(FILL_SEARCH, map(fill_values, rows))


def mark_filled(cursor: sqlite3.Cursor, spec: SearchSpec) -> bool:
    if cursor.execute(HAS_UNFILLED, (spec.workflow_type, spec.id)).fetchone() is not None:
        return False
    cursor.execute("update search_specs set filled = 1 where id = ?", (spec.id,))
    return True
