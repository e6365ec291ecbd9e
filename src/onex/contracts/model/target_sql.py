"""The block ``sql``: a database that a workflow may write, and what one intent does there.

Names of tables and columns are written here and nowhere else: a payload carries values only. So no payload can name a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from .part import ENGINE, ROWS_MAX, Part
from .setting import Setting
from .target_block import Misfits, ModelCallBlock, ModelTargetBlock, unknown_fields
from .target_http import ModelAnswerCache

IDENTIFIER = r"^[a-z_][a-z0-9_]{0,62}$"
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
COLUMNS_MAX = 200
_READS = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
SQL_WORDS = re.compile(
    r"""(?P<kept> [eE]'(?:\\.|''|[^'\\])*' | '(?:''|[^'])*' | "(?:""|[^"])*" | --[^\n]* | /\*.*?\*/
        | (?P<tag>\$[A-Za-z_]*\$).*?(?P=tag) | :: )
      | (?P<semicolon>;) | :(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)
"""Texts, comments and casts of a query, which are left as they are (``kept``); and its ``:name``."""


ROWS = "rows"
"""The field of an answer that takes all rows of a query, or the number of rows that a write changed."""


class EnumSqlOperation(StrEnum):
    """``query`` reads and changes nothing; the others write one row."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    QUERY = "query"


def _named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise PydanticCustomError("named_twice", "a column is named twice")
    return names


Columns = Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=COLUMNS_MAX), AfterValidator(_named_once)]


class ModelSqlTable(Part):
    """A table that may be written: ``key`` names its primary key, or columns with a unique index."""

    columns: Annotated[Columns, Field(description="all that a payload may write, the key too"), ENGINE]
    key: Annotated[Columns, Field(description="names one row; update and delete give all of it"), ENGINE]


class ModelSqlTarget(ModelTargetBlock):
    """A database: ``postgres://USER:PASSWORD@HOST/DATABASE`` or ``sqlite:///FILE``, and the tables that may be written there."""

    url: Annotated[Setting, Field(description="postgres://HOST/DATABASE or sqlite:///FILE"), ENGINE]
    tables: Annotated[dict[Identifier, ModelSqlTable], Field(max_length=ROWS_MAX), ENGINE] = Field(default_factory=dict)
    dedup_table: Annotated[
        Identifier | None, Field(description="remembers keys and answers: a write is done once"), ENGINE
    ] = None
    pool_min: Annotated[int, Field(ge=0, le=100, description="connections that are kept open; PostgreSQL"), ENGINE] = 0
    pool_max: Annotated[int, Field(ge=1, le=100, description="connections at most; PostgreSQL"), ENGINE] = 10


class ModelSqlCall(ModelCallBlock):
    """What one intent does: write one row of ``table``, whose columns the payload's fields are, or read by ``query``."""

    operation: Annotated[EnumSqlOperation, Field(strict=False), ENGINE]
    table: Annotated[Identifier | None, Field(description="one of the target's tables"), ENGINE] = None
    query: Annotated[
        str | None,
        Field(max_length=4000, description="select .. where id = :id; a :name is a field of the payload"),
        ENGINE,
    ] = None
    cache: Annotated[ModelAnswerCache | None, Field(description="of a query"), ENGINE] = None

    def changes_something(self) -> bool:
        return self.operation is not EnumSqlOperation.QUERY

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        for one in SQL_WORDS.finditer(self.query or ""):
            if one["name"] is not None:
                yield "query", one["name"]

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        operation = self.operation.value
        if self.changes_something():
            if self.query is not None or self.cache is not None:
                key = "query" if self.query is not None else "cache"
                yield key, f"{key} belongs to operation: query; this one is {operation}", f"remove {key}"
            if self.table is None:
                yield "operation", f"{operation} does not say into which table", "add table: NAME"
        elif self.query is None or self.table is not None:
            yield "operation", "a query has `query:` and no `table:`", "add query: select .. where id = :id"
        elif _READS.match(self.query) is None:
            yield (
                "query",
                "the query begins with neither select nor with nor values",
                "write with operation: insert, ..",
            )
        elif any(one["semicolon"] for one in SQL_WORDS.finditer(self.query)):
            yield "query", "the query has a semicolon", "write one statement, without a semicolon"

    def class_misfits(
        self, target: ModelTargetBlock, payload: type[BaseModel], answer: type[BaseModel] | None
    ) -> Misfits:
        if not isinstance(target, ModelSqlTarget) or self.operation is EnumSqlOperation.QUERY:
            return
        table, name = target.tables.get(self.table or ""), payload.__name__
        if table is None:
            known = ", ".join(sorted(target.tables)) or "none"
            yield "table", f"table {self.table!r} is not among the target's tables", f"they are {known}; add it there"
            return
        given, columns, key = set(payload.model_fields), set(table.columns), set(table.key)
        if outside := key - columns:
            yield "table", f"the key of {self.table!r} names {_listed(outside)}, no column of it", "add it to columns"
        if outside := given - columns:
            yield (
                "table",
                f"{name} has {_listed(outside)}, no column of {self.table!r}",
                "add it to columns of the target",
            )
        if self.operation is not EnumSqlOperation.INSERT and (missing := key - given):
            yield (
                "operation",
                f"{name} lacks {_listed(missing)} of the key of {self.table!r}",
                f"add the field to {name}",
            )
        if self.operation is EnumSqlOperation.DELETE and (more := given - key):
            yield "operation", f"a delete takes the key only, and {name} has {_listed(more)}", "remove the field"
        if self.operation is EnumSqlOperation.UPDATE and not given - key:
            yield (
                "operation",
                f"an update sets at least one column, and {name} has the key only",
                f"add a field to {name}",
            )
        if not given:
            yield "operation", f"{name} has no field, so nothing can be written", "give the intent a payload"
        yield from unknown_fields("operation", answer, {ROWS, *columns}, f"a write to {self.table!r}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
