"""What is searched for: a condition over columns, made certain for each workflow type that it can be asked of.

Theory of operation. The text of a condition is read by ``engine.search_text`` into ``Test``, ``Joined`` and ``Negated``, with
names of
columns and values as they were written. ``resolved`` gives each name the column of one spec, and each value its code; what does
not fit is an error there. So a store gets columns and codes only, never text of a user. A SQL store compiles the tree
(``adapters.search_sql``); a store in memory asks ``holds``.

As in SQL, a comparison with a missing value is neither true nor false. An instance is found where the whole condition is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple

from .action import WorkflowKey
from .errors import ValidationError
from .search import EnumSearchKind, SearchCode, SearchField, SearchSpec, encoded

Written = int | Decimal | str | bool
"""A value as it stands in the text of a condition."""


class InvalidQuery(ValidationError):
    """The text of a condition cannot be read."""

    code = "invalid_query"


class UnknownSearchField(ValidationError):
    """A condition names a field that no contract lists under ``search``."""

    code = "unknown_search_field"


class SearchTypeMismatch(ValidationError):
    """A condition compares a field with a value of another kind."""

    code = "search_type_mismatch"


class SearchNotReady(ValidationError):
    """Not every instance has the values that are searched yet: an engine is filling them in."""

    code = "search_not_ready"
    retryable = True


BUILTIN: Final[Mapping[str, SearchField]] = {
    name: SearchField(name, kind, -1)
    for name, kind in (
        ("type", EnumSearchKind.TEXT), ("id", EnumSearchKind.TEXT), ("status", EnumSearchKind.TEXT),
        ("version", EnumSearchKind.INTEGER), ("updated", EnumSearchKind.TIME), ("began", EnumSearchKind.TIME),
        ("held", EnumSearchKind.BOOLEAN), ("ended", EnumSearchKind.BOOLEAN),
    )
}  # fmt: skip
"""Columns that every instance has. ``began`` is missing where it began before its store knew of search."""


class Test(NamedTuple):
    """One comparison. ``op`` is ``= != < <= > >= in between like null``. ``values`` are written, or codes once ``field`` is
    known."""

    name: str
    op: str
    values: tuple[SearchCode | Written, ...] = ()
    field: SearchField | None = None

    @property
    def column(self) -> SearchField:
        assert self.field is not None, "the condition was resolved"
        return self.field


class Joined(NamedTuple):
    """``op`` is ``and`` or ``or``."""

    op: str
    parts: tuple[Condition, ...]


class Negated(NamedTuple):
    part: Condition


Condition = Test | Joined | Negated


class SearchPart(NamedTuple):
    """A condition as it is asked of one workflow type, or of all (None). ``spec`` 0: it needs no search fields."""

    workflow_type: str | None
    spec: int
    condition: Condition | None


class SearchQuery(NamedTuple):
    """An instance is found by any part. ``order``: by this column, then by key; None: by key. Missing values come last."""

    parts: tuple[SearchPart, ...]
    order: SearchField | None = None
    descending: bool = False


class SearchPlace(NamedTuple):
    """Where a page ended: the key of its last instance, and what stood in the column of the order."""

    key: WorkflowKey
    value: SearchCode = None


def query_of(
    condition: Condition | None,
    specs: Mapping[str, SearchSpec],
    *,
    workflow_type: str | None = None,
    order: str | None = None,
    descending: bool = False,
) -> SearchQuery:
    """The query, for the types that have all its fields. Raises UnknownSearchField, SearchTypeMismatch, SearchNotReady."""
    named = [test.name for test in tests_of(condition)] + ([] if order is None else [order])
    wanted = {name for name in named if name not in BUILTIN}
    if not wanted:
        part = SearchPart(workflow_type, 0, None if condition is None else resolved(condition, BUILTIN))
        return SearchQuery((part,), None if order is None else BUILTIN[order], descending)
    of = {name: spec for name, spec in specs.items() if workflow_type in (None, name)}
    fitting = [spec for spec in of.values() if wanted <= {field.name for field in spec.fields}]
    if not fitting:
        raise _unknown(sorted(wanted), of, workflow_type)
    for spec in fitting:
        if not spec.filled:
            raise SearchNotReady(
                f"the search fields of {spec.workflow_type} are being filled in for the instances that were there before them. "
                "Ask again; where no engine runs, start one: onex run APP",
                workflow_type=spec.workflow_type,
            )
    parts: list[SearchPart] = []
    column: SearchField | None = None
    for spec in fitting:
        columns = {**BUILTIN, **{field.name: field for field in spec.fields}}
        parts.append(
            SearchPart(spec.workflow_type, spec.id, None if condition is None else resolved(condition, columns))
        )
        if order is not None:
            found = columns[order]
            if column not in (None, found):
                names = ", ".join(sorted(one.workflow_type for one in fitting))
                raise SearchTypeMismatch(f"{order} is another column in each of {names}; name one with --type")
            column = found
    return SearchQuery(tuple(parts), column, descending)


def _unknown(wanted: Sequence[str], specs: Mapping[str, SearchSpec], workflow_type: str | None) -> UnknownSearchField:
    known = sorted({field.name for spec in specs.values() for field in spec.fields} | BUILTIN.keys())
    missing = [name for name in wanted if name not in known] or list(wanted)
    of = f" of {workflow_type}" if workflow_type is not None else ""
    near = get_close_matches(missing[0], known, 3)
    if all(name in known for name in wanted):
        why = f"no workflow type has all of {', '.join(wanted)} under search: in its contract"
        return UnknownSearchField(f"{why}; name a type with --type", fields=list(wanted))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return UnknownSearchField(
        f"{missing[0]!r} is no search field{of}; {hint} Fields are listed under search: in the contract",
        field=missing[0],
        known=known,
    )


def tests_of(condition: Condition | None) -> Iterator[Test]:
    """All comparisons of a condition."""
    if isinstance(condition, Test):
        yield condition
    elif isinstance(condition, Negated):
        yield from tests_of(condition.part)
    elif condition is not None:
        for part in condition.parts:
            yield from tests_of(part)


def resolved(condition: Condition, columns: Mapping[str, SearchField]) -> Condition:
    """With fields for names, and codes for values. Raises SearchTypeMismatch."""
    if isinstance(condition, Joined):
        return Joined(condition.op, tuple(resolved(part, columns) for part in condition.parts))
    if isinstance(condition, Negated):
        return Negated(resolved(condition.part, columns))
    field = columns[condition.name]
    if condition.op == "like":
        (pattern,) = condition.values
        if field.kind is not EnumSearchKind.TEXT or type(pattern) is not str:
            raise SearchTypeMismatch(f"{field.name} is {_a(field.kind)}; like compares text with a pattern in quotes")
        return condition._replace(field=field)
    if field.kind is EnumSearchKind.BOOLEAN and condition.op not in ("=", "!=", "in", "null"):
        raise SearchTypeMismatch(f"{field.name} is true or false; compare it with =")
    codes = tuple(_code(field, value) for value in condition.values)
    return condition._replace(field=field, values=codes)


def _code(field: SearchField, value: SearchCode | Written) -> SearchCode:
    kind = field.kind
    whole = type(value) is int
    if kind is EnumSearchKind.BOOLEAN and type(value) is bool:
        return int(value)
    if kind is EnumSearchKind.INTEGER and whole and -(1 << 63) <= int(value) < 1 << 63:  # type: ignore[arg-type]  # an int
        return value  # type: ignore[return-value]  # an int
    if kind is EnumSearchKind.NUMBER and (whole or isinstance(value, Decimal)):
        return encoded(kind, value)
    if kind is EnumSearchKind.TEXT and isinstance(value, str):
        if field.choices and value not in field.choices:
            near = get_close_matches(value, field.choices, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(field.choices)}"
            raise SearchTypeMismatch(f"{field.name} is never {value!r}; {hint}")
        return encoded(kind, value)
    if kind is EnumSearchKind.TIME and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise SearchTypeMismatch(
                f"{field.name} is a time, and {value!r} is none; write '2026-11-30' or '2026-11-30T10:00:00Z'"
            ) from None
        return encoded(kind, moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    raise SearchTypeMismatch(f"{field.name} is {_a(kind)}, and {_spelled(value)} is not: {_EXAMPLE[kind]}")


_EXAMPLE: Final = {
    EnumSearchKind.INTEGER: "write a whole number, for example 500",
    EnumSearchKind.NUMBER: "write a number, for example 0.5",
    EnumSearchKind.TEXT: "write text in quotes, for example 'ada'",
    EnumSearchKind.BOOLEAN: "write true or false",
    EnumSearchKind.TIME: "write a time in quotes, for example '2026-11-30'",
}


def _a(kind: EnumSearchKind) -> str:
    named = {EnumSearchKind.INTEGER: "an integer", EnumSearchKind.TEXT: "text", EnumSearchKind.BOOLEAN: "true or false"}
    return named.get(kind, f"a {kind.value}")


def _spelled(value: SearchCode | Written) -> str:
    return (
        {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else repr(value)
        if isinstance(value, str)
        else str(value)
    )


def holds(condition: Condition | None, value_of: Callable[[SearchField], SearchCode]) -> bool | None:
    """Whether it is true of the row whose codes ``value_of`` gives; None: neither true nor false."""
    if condition is None:
        return True
    if isinstance(condition, Negated):
        part = holds(condition.part, value_of)
        return None if part is None else not part
    if isinstance(condition, Joined):
        ends = condition.op == "or"
        found = [holds(part, value_of) for part in condition.parts]
        return ends if ends in found else None if None in found else not ends
    value = value_of(condition.column)
    if condition.op == "null":
        return value is None
    return None if value is None else _OPS[condition.op](value, condition.values)


@lru_cache(64)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join({"%": ".*", "_": "."}.get(one) or re.escape(one) for one in text), re.DOTALL)


Values = tuple[SearchCode | Written, ...]
_OPS: Final[Mapping[str, Callable[[int | str, Values], bool]]] = {
    "=": lambda value, of: value == of[0],
    "!=": lambda value, of: value != of[0],
    "<": lambda value, of: value < of[0],  # type: ignore[operator]  # codes of one kind
    "<=": lambda value, of: value <= of[0],  # type: ignore[operator]  # codes of one kind
    ">": lambda value, of: value > of[0],  # type: ignore[operator]  # codes of one kind
    ">=": lambda value, of: value >= of[0],  # type: ignore[operator]  # codes of one kind
    "in": lambda value, of: value in of,
    "between": lambda value, of: of[0] <= value <= of[1],  # type: ignore[operator]  # codes of one kind
    "like": lambda value, of: _pattern(str(of[0])).fullmatch(str(value)) is not None,
}
