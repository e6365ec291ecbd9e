"""Search in a PostgreSQL store: what is written beside commits, inside a transaction that ``writer`` opens.

Which statements, and why: ``adapters/search_sql``. What a commit writes of it: ``write_search`` in ``statements``. Workers
that start
together declare one after the other, under a lock of the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...kernel.search import SearchField, SearchFill, SearchSpec
from ..retention_sql import numbered
from ..search_sql import ADD_SPEC, HAS_UNFILLED, REMOVE_VALUES, SPECS, fill_values, newest_specs, spec_text
from .link import Connection
from .statements import FILL_SEARCH


async def declare(
    connection: Connection, wanted: Mapping[str, Sequence[SearchField]], lock: int
) -> dict[str, SearchSpec]:
    specs = newest_specs(await connection.fetch(SPECS))
    if any(tuple(fields) != (specs[name].fields if name in specs else ()) for name, fields in wanted.items()):
        await connection.execute("select pg_advisory_xact_lock($1)", lock)
        specs = newest_specs(await connection.fetch(SPECS))
    for name, fields in wanted.items():
        known = specs.get(name)
        if tuple(fields) == (() if known is None else known.fields):
            continue
        if not fields:
            await connection.execute(numbered(REMOVE_VALUES), name)
        begun = await connection.fetchval("select 1 from workflow_state where workflow_type = $1 limit 1", name)
        filled = begun is None or not fields
        number = await connection.fetchval(numbered(ADD_SPEC), name, spec_text(fields), int(filled))
        specs[name] = SearchSpec(int(number), name, tuple(fields), filled)
    return {name: spec for name, spec in specs.items() if spec.fields}


async def fill(connection: Connection, rows: Sequence[SearchFill]) -> None:
    await FILL_SEARCH.run(connection, [fill_values(row) for row in rows])


async def mark_filled(connection: Connection, spec: SearchSpec) -> bool:
    if await connection.fetchval(numbered(HAS_UNFILLED), spec.workflow_type, spec.id) is not None:
        return False
    await connection.execute("update search_specs set filled = 1 where id = $1", spec.id)
    return True
