"""``onex count``: how many instances a condition finds, by the values of a column."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine.search_text import asked_query
from ..kernel.search import SearchField, shown
from ..kernel.search_query import SearchQuery
from ..ports import SearchCode
from ..wiring import WatchedReader
from .console import say, say_json, table
from .searching import OfType, Where
from .store_options import Json, Store
from .store_reading import look


def count(
    where: Where = None,
    of_type: OfType = None,
    by: Annotated[str | None, typer.Option(metavar="COLUMN", help="How many for each value of this column.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Count instances.

    Conditions and columns are those of onex ls --where.

    \b
    Examples:
      onex count
      onex count --by status
      onex count --where "total_cents > 500" --by status
    """
    show_tally(store, where, of_type=of_type, by=by, as_json=as_json)


def show_tally(
    store: str | None,
    where: str | None,
    *,
    of_type: str | None = None,
    status: str | None = None,
    by: str | None,
    as_json: bool,
) -> None:
    async def ask(reader: WatchedReader) -> tuple[list[tuple[SearchCode, int]], SearchField | None]:
        query: SearchQuery = await asked_query(reader, where, of_type=of_type, status=status, order=by)
        return list(await reader.tally(query, query.order)), query.order

    rows, column = look(store, ask)
    if column is None:
        total = sum(n for _, n in rows)
        say_json({"instances": total}) if as_json else say(f"{total:,}")
        return
    name = column.name
    told = [(shown(column.kind, code), n) for code, n in rows]
    if as_json:
        for value, n in told:
            say_json({name: value, "instances": n})
        return
    table([name, "instances"], [["" if value is None else _text(value), f"{n}"] for value, n in told], right=(1,))


def _text(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
