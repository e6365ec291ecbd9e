"""A SQL statement made of a contract's block, the values of a payload for it, and the answer made of what came back. Pure.

The law: names of tables and columns come from the contract, are checked against ``IDENTIFIER`` and quoted. Values are bound, as
``$1, $2``. No text of a payload ever becomes part of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from ..contracts.model.target_sql import ROWS, SQL_WORDS, EnumSqlOperation, ModelSqlCall, ModelSqlTable, ModelSqlTarget
from ..kernel.action import Nothing

ROWS_AT_MOST = 1000


class SqlStatement(NamedTuple):
    """``sql`` has ``$1`` to ``$n`` for the payload's ``fields``, in their order. ``returned``: the columns that come back."""

    operation: EnumSqlOperation
    sql: str
    fields: tuple[str, ...]
    returned: tuple[str, ...]
    table: str

    @property
    def reads(self) -> bool:
        return self.operation is EnumSqlOperation.QUERY


def statement(
    target: ModelSqlTarget, call: ModelSqlCall, payload: type[BaseModel], answer: type[BaseModel] | None
) -> SqlStatement:
    """The statement of a call without problems."""
    if call.operation is EnumSqlOperation.QUERY:
        sql, names = _numbered(call.query or "")
        return SqlStatement(call.operation, sql, names, (), "")
    name = call.table or ""
    table, fields = target.tables[name], tuple(payload.model_fields)
    asked = () if answer is None or answer is Nothing else tuple(one for one in answer.model_fields if one != ROWS)
    place = {field: f"${n}" for n, field in enumerate(fields, 1)}
    sql = _written(call.operation, name, table, place)
    if asked:
        sql += f" returning {', '.join(map(quoted, asked))}"
    return SqlStatement(call.operation, sql, fields, asked, name)


def _written(operation: EnumSqlOperation, name: str, table: ModelSqlTable, place: Mapping[str, str]) -> str:
    where = " and ".join(f"{quoted(one)} = {place[one]}" for one in table.key if one in place)
    others = [one for one in place if one not in table.key]
    if operation is EnumSqlOperation.DELETE:
        return f"delete from {quoted(name)} where {where}"  # noqa: S608  # names are checked and quoted, values are bound
    if operation is EnumSqlOperation.UPDATE:
        new = ", ".join(f"{quoted(one)} = {place[one]}" for one in others)
        return f"update {quoted(name)} set {new} where {where}"  # noqa: S608  # as above
    columns, values = ", ".join(map(quoted, place)), ", ".join(place.values())
    insert = f"insert into {quoted(name)} ({columns}) values ({values})"  # noqa: S608  # as above
    if operation is EnumSqlOperation.INSERT:
        return insert
    key = ", ".join(map(quoted, table.key))
    new = ", ".join(f"{quoted(one)} = excluded.{quoted(one)}" for one in others or table.key)
    return f"{insert} on conflict ({key}) do update set {new}"


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """``:name`` outside of texts, comments and casts becomes ``$n``; one name is one number."""
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        return f"${names.setdefault(match['name'], len(names) + 1)}"

    return SQL_WORDS.sub(number, query), tuple(names)


# --- values -----------------------------------------------------------------------------------------------------------------


def values_of(payload: BaseModel, fields: Sequence[str]) -> list[object]:
    """As they are bound. A nested value is JSON text."""
    return [_bound(getattr(payload, field)) for field in fields]


def _bound(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel | Mapping | list | tuple | set | frozenset):
        return to_json(value).decode()
    return value


def answer_fields(
    one: SqlStatement, answer: type[BaseModel], changed: int, rows: Sequence[Mapping[str, object]]
) -> dict[str, object] | None:
    """The fields of ``answer``: all rows of a query, or the one row. None where there is none and one is needed."""
    nested = _nested_fields(answer)
    if ROWS in answer.model_fields and one.reads:
        row_class = _row_class(answer)
        inner = _nested_fields(row_class) if row_class is not None else frozenset[str]()
        return {ROWS: [_row(row, inner) for row in rows]}
    wanted = set(answer.model_fields) - {ROWS}
    if wanted and not rows:
        return None
    found = {name: value for name, value in _row(rows[0], nested).items() if name in wanted} if wanted else {}
    if ROWS in answer.model_fields:
        found[ROWS] = changed
    return found


def _row(row: Mapping[str, object], nested: frozenset[str]) -> dict[str, object]:
    return {name: _read_nested(value) if name in nested else value for name, value in row.items()}


def _read_nested(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value  # the class of the answer says what is wrong with it


def _nested_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields that are kept as JSON text."""
    return frozenset(name for name, field in model.model_fields.items() if _is_nested(field.annotation))


def _is_nested(annotation: object) -> bool:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return issubclass(annotation, BaseModel | dict | list | tuple | set | frozenset)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping | list | tuple | set | frozenset):
        return True
    return any(_is_nested(one) for one in get_args(annotation))


def _row_class(answer: type[BaseModel]) -> type[BaseModel] | None:
    inside = get_args(answer.model_fields[ROWS].annotation)
    return next((one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)), None)
