"""Integrity: contradictions inside a PostgreSQL store. Nothing is repaired, and no code of an app is run.

The server keeps the types of columns, and no value is null where none may be. So what is asked here is: lengths of ids and
hashes, values that only some may be, that log rows form one chain per instance, and that each reference points at a row. Pages
and indexes are the server's: it checks the first by their checksums when it reads them, and ``pg_amcheck`` the second.

Each check is one statement, which sees one moment, so an engine may commit meanwhile. Intents are read as JSON here and
not by the server: damaged JSON would end the whole statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from ...kernel.action import WorkflowKey
from ...records import Damage
from ..checksum_pass import CHECKED, ChecksumPass
from ..sql_checks import (
    ATTEMPT_REFERENCES,
    LOG_REFERENCES,
    MOST,
    NO_SUCH_INTENT,
    OTHER_DUE_TIME,
    OUTBOX_REFERENCES,
    REF_REFERENCES,
    SNAPSHOT_REFERENCES,
    STATE_REFERENCES,
    TWO_KINDS,
    WATERMARKS,
    RowCheck,
    ahead,
    log_end_damage,
    two_kinds,
)
from .link import Connection

PATIENCE_S: Final = 6 * 3600.0
"""A whole log is looked at: that may take long."""
_BAD: Final = "holds a {} of the wrong length or value"
_LOG: Final = (
    ("length(l.action_id) = 16", _BAD.format("action_id")),
    ("length(l.correlation) = 16", _BAD.format("correlation")),
    ("length(l.state_hash) in (0, 32)", _BAD.format("state_hash")),
    ("length(l.body_hash) in (0, 16)", _BAD.format("body_hash")),
    ("l.cause is null or length(l.cause) = 16 or length(l.cause) > 32", "holds a cause that is no id, and no id with an intent"),
    *LOG_REFERENCES,
)  # fmt: skip
_STATE: Final = (
    ("length(w.state_hash) in (0, 32)", _BAD.format("state_hash")),
    ("w.lease_id is null or length(w.lease_id) = 16", "holds a lease that is not an id"),
    *STATE_REFERENCES,
)
_OUTBOX: Final = (
    ("o.priority between 0 and 4", _BAD.format("priority")),
    ("o.state in ('waiting', 'held', 'dead', 'cancelled')", _BAD.format("state")),
    ("o.attempt >= 0", _BAD.format("attempt")),
    ("o.crashes >= 0", _BAD.format("crashes")),
    *OUTBOX_REFERENCES,
)
_SNAPSHOT: Final = (("length(s.state_hash) in (0, 32)", _BAD.format("state_hash")), *SNAPSHOT_REFERENCES)
_KEY: Final = "w.workflow_type, w.instance_id"
_AT: Final = "({0}.n & ((1::bigint << 48) - 1)) || ' of shard ' || ({0}.n >> 48)"
_INTENT: Final = f"'its intent at ' || {_AT.format('o')} || ', ' || o.ordinal || ' of the outbox'"
_OF_OUTBOX: Final = "from outbox o left join workflow_state w on w.instance = o.instance left join log l on l.n = o.n"
_CHECKS: Final = (
    RowCheck(f"'the row at ' || {_AT.format('l')} || ' of the log'", _LOG,
             "from log l left join workflow_state w on w.instance = l.instance left join log p on p.n = l.prev"),
    RowCheck("'its stored row'", _STATE, "from workflow_state w left join log t on t.n = w.position"),
    RowCheck(_INTENT, _OUTBOX, _OF_OUTBOX),
    RowCheck("'its state kept at version ' || s.version", _SNAPSHOT,
             "from snapshots s left join workflow_state w on w.instance = s.instance"),
    RowCheck(f"'the try of its intent at ' || {_AT.format('a')} || ', ' || a.ordinal", ATTEMPT_REFERENCES,
             "from attempts a left join workflow_state w on w.instance = a.instance left join log l on l.n = a.n"),
    RowCheck(f"'the name of a blob at ' || {_AT.format('r')}", REF_REFERENCES,
             "from blob_refs r left join log l on l.n = r.n left join workflow_state w on w.instance = l.instance"),
)  # fmt: skip
_OPEN: Final = (
    f"select {_KEY}, {_INTENT}, o.ordinal, o.timer, o.fence, o.due_us, l.intents {_OF_OUTBOX} where l.n is not null"
)
_ENDS: Final = """select s.shard, coalesce((select max(l.n) from log l where l.n < (s.shard + 1) << 48 and l.n >= s.shard << 48),
  s.shard << 48) - (s.shard << 48), s.n,
  (select count(*) from log l where l.n < (s.shard + 1) << 48 and l.n >= s.shard << 48), coalesce(c.cut, 0)
  from shards s left join (select position >> 48 as shard, sum(cut)::bigint as cut from workflow_state group by 1) c
  using (shard) order by s.shard"""


async def damage_in(connection: Connection) -> list[Damage]:
    """The first hundred contradictions of each kind."""
    found: list[Damage] = []
    for check in _CHECKS:
        for workflow_type, instance_id, row, number in await connection.fetch(check.question(_KEY), timeout=PATIENCE_S):
            found.append(Damage(_key(workflow_type, instance_id), check.told(row, number)))
    found += await _intents(connection)
    for shard, *counted in await connection.fetch(_ENDS, timeout=PATIENCE_S):
        if told := log_end_damage(shard, *counted):
            found.append(Damage(None, told))
    for workflow_type, status, version in await connection.fetch(TWO_KINDS, timeout=PATIENCE_S):
        found.append(Damage(None, two_kinds(workflow_type, status, version)))
    for name, shard, n, end in await connection.fetch(WATERMARKS):
        found.append(Damage(None, ahead(name, shard, n, end)))
    return found


async def checksum_damage(connection: Connection, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
    """Rows whose checksum was made again, rows that have none, and what was found."""
    done = ChecksumPass(on_rows)
    for table in CHECKED:
        columns = ", ".join("coalesce(cause, ''::bytea)" if name == "cause" else name for name in table.columns)
        question, after = table.question(lambda place: f"${place}", columns), table.first
        while rows := await connection.fetch(question, *after, timeout=PATIENCE_S):
            done.take(table, [tuple(row) for row in rows])
            after = table.key_of(tuple(rows[-1]))
    by_number = f"select {_KEY} from workflow_state w where w.instance = $1"  # noqa: S608 - all of it ours
    named = [(await connection.fetchrow(by_number, instance), what) for instance, what in done.found]
    return done.checked, done.without, [Damage(_key(*row) if row else None, what) for row, what in named]


async def _intents(connection: Connection) -> Sequence[Damage]:
    """Outbox rows that name an intent which their row of the log does not have."""
    found: list[Damage] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for workflow_type, instance_id, row, ordinal, timer, fence, due_us, raw in connection.cursor(
            _OPEN, prefetch=1000
        ):
            intent = _intent(raw, ordinal, timer)
            if intent is None:
                wrong = NO_SUCH_INTENT
            elif not fence and due_us != intent.get("due_us", 0):  # a note of a try moves it, and leaves a fence
                wrong = OTHER_DUE_TIME
            else:
                continue
            if len(found) < MOST:
                found.append(Damage(_key(workflow_type, instance_id), f"{row} {wrong}"))
    return found


def _intent(raw: bytes, ordinal: int, timer: str) -> dict[str, Any] | None:
    try:
        intents: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(intents, list) or not 0 <= ordinal < len(intents):
        return None
    one = intents[ordinal]
    return one if isinstance(one, dict) and (not timer or one.get("name") == timer) else None


def _key(workflow_type: str | None, instance_id: str | None) -> WorkflowKey | None:
    return None if workflow_type is None or instance_id is None else WorkflowKey(workflow_type, instance_id)
