"""Search in SQL, for every SQL store: the condition of a query as text with ``?`` for each value, and the rows of values.

Theory of operation. The table ``search`` has one row for each instance of a type that lists search fields, with a column per slot
(``kernel.search``). A column that no field uses is null and in no index. A commit writes what changed of it: ``search_rows``
collects
the moves by their slots, so that each group is one statement, which touches no index of another column.

No value of a user stands in the text of a statement: columns come from specs, values are bound. A page is read in the order of
keys,
or of one column: then first the rows that have a value, along its index, and behind them those that have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..kernel.search import SLOT_NAMES, SearchCode, SearchField, SearchFill, SearchSpec, spec_fields, spec_rows
from ..kernel.search_query import Condition, Joined, Negated, SearchPart, SearchPlace, SearchQuery, Test
from .sql_rows import STORED

Bound = list[int | str]

_AT: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1e6, 'unixepoch')"
_INDEXES: Final = "\n".join(
    f"create index search_{name} on search({name}) where {name} is not null;" for name in SLOT_NAMES
)
SQLITE_TABLES: Final = f"""
create table search_specs(
  id integer primary key, workflow_type text not null, fields text not null, filled integer not null default 0);
create table search(
  instance integer primary key, spec integer not null,
  {", ".join(f"{name} {'integer' if name[0] == 'n' else 'text'}" for name in SLOT_NAMES)});
create index search_spec on search(spec);
{_INDEXES}
create view instance_search as select
  w.workflow_key, w.workflow_type, w.instance_id, w.status, w.version, w.terminal as ended, w.held,
  {_AT.format("nullif(w.began_us, 0)")} as began_at, {_AT.format("w.last_us")} as updated_at,
  {", ".join(f"s.{name}" for name in SLOT_NAMES)} from workflow_state w left join search s on s.instance = w.instance;
create view search_fields as select
  c.workflow_type, json_extract(f.value, '$.name') as field, json_extract(f.value, '$.kind') as kind,
  json_extract(f.value, '$.column') as column_name, c.filled from search_specs c, json_each(c.fields) f
  where c.id = (select max(o.id) from search_specs o where o.workflow_type = c.workflow_type);
"""  # noqa: S608 - all of it ours
"""What a new SQLite store has of it. Of PostgreSQL a revision says it."""


class SearchDialect(NamedTuple):
    """What differs between stores. ``columns[name]`` is the expression of a built-in column."""

    columns: Mapping[str, str]
    like: Callable[[str, str], tuple[str, str]]
    """Of a column and a pattern: the condition, and the value that is bound."""


_COLUMNS: Final = {
    "type": "w.workflow_type", "id": "w.instance_id", "status": "w.status", "version": "w.version", "updated": "w.last_us",
    "began": "nullif(w.began_us, 0)", "held": "case when w.held <> '' then 1 else 0 end",
}  # fmt: skip


def _glob(column: str, pattern: str) -> tuple[str, str]:
    # SQLite's like takes A for a; glob does not
    return f"{column} glob ?", "".join(
        {"%": "*", "_": "?"}.get(one) or (f"[{one}]" if one in "*?[" else one) for one in pattern
    )


def _like(column: str, pattern: str) -> tuple[str, str]:
    return f"{column} like ?", pattern.replace("\\", "\\\\")


SQLITE_SEARCH: Final = SearchDialect({**_COLUMNS, "ended": "w.terminal"}, _glob)
POSTGRES_SEARCH: Final = SearchDialect(
    {**_COLUMNS, "status": 'w.status collate "C"', "ended": "w.terminal::int"}, _like
)

_SELECT: Final = STORED.removeprefix("select ").partition(" from ")[0]
_FIELDS: Final = ", ".join(f"w.{name.strip()}" for name in _SELECT.split(","))


def column_sql(field: SearchField, dialect: SearchDialect) -> str:
    return f"s.{SLOT_NAMES[field.slot]}" if field.slot >= 0 else dialect.columns[field.name]


def _condition(condition: Condition, dialect: SearchDialect, bound: Bound) -> str:
    if isinstance(condition, Negated):
        return f"not ({_condition(condition.part, dialect, bound)})"
    if isinstance(condition, Joined):
        return "(" + f" {condition.op} ".join(_condition(part, dialect, bound) for part in condition.parts) + ")"
    return _test(condition, dialect, bound)


def _test(test: Test, dialect: SearchDialect, bound: Bound) -> str:
    column = column_sql(test.column, dialect)
    values = [value for value in test.values if isinstance(value, int | str)]
    if test.op == "null":
        return f"{column} is null"
    if test.op == "like":
        text, value = dialect.like(column, str(values[0]))
        bound.append(value)
        return text
    bound += values
    if test.op == "in":
        return f"{column} in ({', '.join('?' * len(values))})"
    if test.op == "between":
        return f"{column} between ? and ?"
    return f"{column} {test.op.replace('!=', '<>')} ?"


def _part(part: SearchPart, dialect: SearchDialect, bound: Bound) -> str:
    terms: list[str] = []
    if part.workflow_type is not None:
        terms.append("w.workflow_type = ?")
        bound.append(part.workflow_type)
    if part.spec:
        terms.append("+s.spec = ?")  # by the index of a field, never by that of specs: nearly all rows have one spec
        bound.append(part.spec)
    if part.condition is not None:
        terms.append(_condition(part.condition, dialect, bound))
    return " and ".join(terms) or "1 = 1"


def _from(query: SearchQuery) -> str:
    if all(part.spec for part in query.parts):
        return "from search s join workflow_state w on w.instance = s.instance"
    return "from workflow_state w"


def _where(query: SearchQuery, dialect: SearchDialect, bound: Bound) -> str:
    parts = [f"({_part(part, dialect, bound)})" for part in query.parts]
    return parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"


def _value(query: SearchQuery, dialect: SearchDialect) -> str:
    return "null" if query.order is None else column_sql(query.order, dialect)


def pages_sql(
    query: SearchQuery, dialect: SearchDialect, after: SearchPlace | None, limit: int
) -> list[tuple[str, Bound]]:
    """Statements whose rows follow one another: the columns of ``STORED``, then the column of the order."""
    key = "w.workflow_type, w.instance_id"
    value = _value(query, dialect)
    text = f"select {_FIELDS}, {value} {_from(query)} where "
    if query.order is None:
        bound: Bound = []
        where = _where(query, dialect, bound)
        if after is not None:
            where += f" and ({key}) > (?, ?)"
            bound += after.key
        return [(f"{text}{where} order by {key} limit ?", [*bound, limit])]
    statements: list[tuple[str, Bound]] = []
    if after is None or after.value is not None:
        bound = []
        where = _where(query, dialect, bound) + f" and {value} is not null"
        if after is not None and after.value is not None:
            behind = "<" if query.descending else ">"
            where += f" and ({value} {behind}= ? and ({value} {behind} ? or ({key}) > (?, ?)))"
            bound += [after.value, after.value, *after.key]
        direction = " desc" if query.descending else ""
        statements.append((f"{text}{where} order by {value}{direction}, {key} limit ?", [*bound, limit]))
    bound = []
    where = _where(query, dialect, bound) + f" and {value} is null"
    if after is not None and after.value is None:
        where += f" and ({key}) > (?, ?)"
        bound += after.key
    statements.append((f"{text}{where} order by {key} limit ?", [*bound, limit]))
    return statements


def tally_sql(query: SearchQuery, dialect: SearchDialect, by: SearchField | None) -> tuple[str, Bound]:
    """Value and number of instances, by value; with None one row for all."""
    bound: Bound = []
    where = _where(query, dialect, bound)
    if by is None:
        return f"select null, count(*) {_from(query)} where {where}", bound
    column = column_sql(by, dialect)
    return (
        f"select {column}, count(*) {_from(query)} where {where} group by 1 order by 1 nulls first",
        bound,
    )


# --- what is written ---------------------------------------------------------------------------------------------------


def slot_columns(slots: Sequence[int]) -> list[str]:
    return [SLOT_NAMES[slot] for slot in slots]


def fill_values(fill: SearchFill) -> tuple[SearchCode, ...]:
    """``spec``, all slots, then instance and version: what ``FILL`` takes."""
    values: list[SearchCode] = [None] * len(SLOT_NAMES)
    for slot, value in zip(fill.move.slots, fill.move.values, strict=True):
        values[slot] = value
    return (fill.move.spec, *values, fill.instance, fill.version)


def slot_letters() -> str:
    """A letter per slot: ``n`` for a number, ``t`` for text."""
    return "".join(name[0] for name in SLOT_NAMES)


_ALL: Final = ", ".join(SLOT_NAMES)
FILLED: Final = ", ".join(f"{name} = excluded.{name}" for name in ("spec", *SLOT_NAMES))
FILL_INTO: Final = f"insert into search(spec, {_ALL}, instance)"
UNFILLED: Final = f"""select {_FIELDS} from workflow_state w left join search s on s.instance = w.instance
  where w.workflow_type = ? and w.instance_id > ? and (s.spec is null or s.spec <> ?) order by w.instance_id limit ?"""  # noqa: S608 - all of it ours
SPECS: Final = "select id, workflow_type, fields, filled from search_specs order by id"
REMOVE_VALUES: Final = "delete from search where spec in (select id from search_specs where workflow_type = ?)"
ADD_SPEC: Final = "insert into search_specs(workflow_type, fields, filled) values(?, ?, ?) returning id"
HAS_UNFILLED: Final = """select 1 from workflow_state w left join search s on s.instance = w.instance
  where w.workflow_type = ? and (s.spec is null or s.spec <> ?) limit 1"""


def newest_specs(rows: Iterable[Any]) -> dict[str, SearchSpec]:
    """Of rows of ``SPECS``: the newest of each type, also one without fields. Raises StateConsistencyError for a damaged row."""
    return {spec.workflow_type: spec for spec in map(_spec, rows)}


def _spec(row: Any) -> SearchSpec:
    number, workflow_type, fields, filled = row
    try:
        listed: object = json.loads(fields)
    except ValueError:
        listed = None
    return SearchSpec(number, workflow_type, spec_fields(listed), bool(filled))


def spec_text(fields: Sequence[SearchField]) -> str:
    return json.dumps(spec_rows(fields), separators=(",", ":"))
