"""The statements that write a commit: each takes all rows of one table at once, as one array per column (``unnest``).

One statement per table and batch is what PostgreSQL takes fastest; it is sent once, whatever the number of rows. Where two rows
of one call name the same row of the store, their order is not kept, so whoever calls it gives each once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

from ..commit_rows import SqlRow
from ..row_checksum import LOG_COLUMNS
from ..search_sql import FILL_INTO, FILLED, slot_columns, slot_letters
from .link import Connection


class SetStatement:
    """``{rows}`` in its text is where the rows come: a table ``r`` with the columns ``c1``, ``c2`` ... of the given types."""

    def __init__(self, types: str, *text: str) -> None:
        """``types``: a letter per column: ``n`` bigint, ``t`` text, ``b`` bytea."""
        arrays = ", ".join(f"${place}::{_TYPES[one]}[]" for place, one in enumerate(types, 1))
        names = ", ".join(f"c{place}" for place in range(1, len(types) + 1))
        self.text = " ".join(text).replace("{rows}", f"unnest({arrays}) with ordinality r({names}, ord)")

    async def run(self, connection: Connection, rows: Collection[SqlRow]) -> int:
        """Execute it for all rows. Returns how many rows of the store it changed. Raises what the driver raises."""
        if not rows:
            return 0
        status = await connection.execute(self.text, *zip(*rows, strict=True))
        return int(status.rpartition(" ")[2])

    async def ask(self, connection: Connection, rows: Collection[SqlRow]) -> list[int]:
        """Execute it for all rows. Returns the number that each row of its answer begins with."""
        return [row[0] for row in await connection.fetch(self.text, *zip(*rows, strict=True))] if rows else []


_TYPES: Final = {"n": "bigint", "t": "text", "b": "bytea"}


def _insert(table: str, columns: Sequence[str], types: str, *, made: dict[str, str] | None = None) -> SetStatement:
    given = [(made or {}).get(name, f"c{place}") for place, name in enumerate(columns, 1)]
    return SetStatement(
        types, "insert into", f"{table}({', '.join(columns)})", "select", ", ".join(given), "from {rows}"
    )


_SET: Final = (
    "version", "epoch", "status", "terminal", "state_schema", "state_hash", "code_id", "position", "last_us", "failures",
    "held", "updated_us", "state", "checksum",
)  # fmt: skip
_SET_TYPES: Final = "nntnnbnnnntnbn"
_NEW_STATE: Final = ", ".join(
    f"{name} = {'c4 <> 0' if name == 'terminal' else f'c{n}'}" for n, name in enumerate(_SET, 1)
)
_UPDATE: Final = " ".join(
    ("update workflow_state w set", _NEW_STATE, "from {rows} where w.instance = c15 and w.version = c16")
)

INSERT_STATE: Final = _insert(
    "workflow_state", (*_SET, "instance", "workflow_type", "instance_id", "began_us"), f"{_SET_TYPES}nttn",
    made={"terminal": "c4 <> 0"},
)  # fmt: skip
UPDATE_STATE: Final = SetStatement(f"{_SET_TYPES}nn", _UPDATE, "and w.lease_id is null")
UPDATE_LEASED: Final = SetStatement(f"{_SET_TYPES}nnb", _UPDATE, "and w.lease_id = c17")
UPDATE_FAILURES: Final = SetStatement(
    "ntnnnb",
    "update workflow_state w set failures = c1, held = c2, updated_us = c3 from {rows}",
    "where w.instance = c4 and w.version = c5 and w.lease_id is not distinct from c6",
)
SET_LEASE: Final = SetStatement(
    "bnn", "update workflow_state w set lease_id = c1, lease_until_us = c2 from {rows} where w.instance = c3"
)
INSERT_LOG: Final = _insert(
    "log",
    (*LOG_COLUMNS, "checksum"),
    "nnnnbtbnnbbtbbtnnbn",
    made={"cause": "nullif(c11, ''::bytea)"},
)  # fmt: skip
INSERT_OUTBOX: Final = _insert("outbox", ("n", "ordinal", "instance", "priority", "due_us", "timer"), "nnnnnt")
SETTLE: Final = SetStatement("nn", "delete from outbox o using {rows} where o.n = c1 and o.ordinal = c2")
REPLACE_TIMER: Final = SetStatement(
    "nt",
    "delete from outbox o using {rows} where o.instance = c1 and o.timer = c2 and o.timer <> '' and o.state = 'waiting'",
)
REMOVE_TIMERS: Final = SetStatement(
    "n", "delete from outbox o using {rows} where o.instance = c1 and o.timer <> '' and o.state = 'waiting'"
)
_SNAPSHOT: Final = "insert into snapshots(instance, version, state_schema, code_id, state_hash, at_us, state, checksum)"
SNAPSHOT_BEFORE: Final = SetStatement(
    "nbnn",
    _SNAPSHOT,
    "select w.instance, w.version, w.state_schema, w.code_id, w.state_hash, c1, c2, c3",
    "from {rows} join workflow_state w on w.instance = c4 on conflict do nothing",
)
SNAPSHOT: Final = SetStatement(
    "nnnnbnbn", _SNAPSHOT, "select c1, c2, c3, c4, c5, c6, c7, c8 from {rows} on conflict do nothing"
)
BLOB_REF: Final = SetStatement(
    "nb", "insert into blob_refs(n, digest) select c1, c2 from {rows} on conflict do nothing"
)
BLOB: Final = SetStatement(
    "btnnb",
    "insert into blobs(digest, media_type, size, at_us, data) select c1, c2, c3, c4, c5 from {rows} on conflict do nothing",
)
NOTE: Final = SetStatement(
    "tnnnnbtnnn",
    "update outbox o set state = c1, attempt = c2, due_us = c3, started = c4 <> 0, crashes = c5, result = c6,",
    "error = c7, fence = c8 from {rows} where o.n = c9 and o.ordinal = c10",
)
ANSWER: Final = SetStatement(
    "bnn",
    "update inbox i set answer = c1, answered_us = c2 from {rows} where i.ticket = c3 and i.answer is null",
)
ATTEMPT: Final = SetStatement(
    "nnnnntttt",
    "insert into attempts(instance, n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace)",
    "select l.instance, l.n, c2, c3, c4, c5, c6, c7, c8, c9 from {rows} join log l on l.n = c1",
    "order by ord on conflict do nothing",
)
OLD_ATTEMPTS: Final = SetStatement(
    "nnn",
    "delete from attempts where id in (select id from (select a.id, c3 as most,",
    "row_number() over (partition by a.n, a.ordinal order by a.id desc) as place",
    "from {rows} join log l on l.n = c1",
    "join attempts a on a.instance = l.instance and a.n = l.n and a.ordinal = c2) found where place > most)",
)
NEW_REJECTION: Final = SetStatement(
    "btbtn",
    "insert into rejections(digest, key, action_id, code, message, body, times, first_us, last_us, trace)",
    "select c1, c2, c3, c4, '', ''::bytea, 0, c5, 0, '' from {rows} order by ord on conflict do nothing",
)
COUNT_REJECTION: Final = SetStatement(
    "bntbnt",
    "update rejections x set times = x.times + c2, message = c3, body = c4, last_us = c5, trace = c6",
    "from {rows} where x.digest = c1",
)
SEND: Final = SetStatement(
    "bnn", "insert into inbox(body, at_us, shard) select c1, c2, c3 from {rows} order by ord returning ticket"
)
PROJECT: Final = SetStatement(
    "tttnttb",
    "insert into workflow_projection as p(name, workflow_type, instance_id, version, tag, last_action, fields)",
    "select c1, c2, c3, c4, c5, c6, c7 from {rows} on conflict(name, workflow_type, instance_id) do update",
    "set version = excluded.version, tag = excluded.tag, last_action = excluded.last_action, fields = excluded.fields",
    "where p.version <= excluded.version",
)
_KEYS: Final = (
    "insert into data_keys(owner, master, wrapped, plain_until, erased_us) select c1, c2, c3, c4, c5 from {rows}"
)
KEY: Final = SetStatement("ttbnn", _KEYS)
ADD_KEY: Final = SetStatement("ttbnn", _KEYS, "on conflict do nothing")
# A row that a commit changes at this moment is passed over: it is found again as one that has no values.
FILL_SEARCH: Final = SetStatement(
    f"n{slot_letters()}nn",
    FILL_INTO,
    "select",
    ", ".join(f"c{place}" for place in range(1, len(slot_letters()) + 2)),
    ", w.instance from {rows} join workflow_state w on w.instance = c18 and w.version = c19 for share of w skip locked",
    "on conflict(instance) do update set",
    FILLED,
)


@lru_cache(256)
def write_search(is_new: bool, slots: tuple[int, ...]) -> SetStatement:  # a key of the cache
    """Values of these slots: of a new row, or of one that is there and has the same spec."""
    names = slot_columns(slots)
    types = "".join(name[0] for name in names)
    if is_new:
        return _insert("search", (*names, "instance", "spec"), f"{types}nn")
    moved = ", ".join(f"{name} = c{place}" for place, name in enumerate(names, 1))
    found = f"where s.instance = c{len(names) + 1} and s.spec = c{len(names) + 2}"
    return SetStatement(f"{types}nn", "update search s set", moved, "from {rows}", found)


REWRAP: Final = SetStatement(
    "tbtb", "update data_keys k set master = c1, wrapped = c2 from {rows} where k.owner = c3 and k.wrapped = c4"
)
