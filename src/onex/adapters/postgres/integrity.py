"""Integrity: contradictions inside a PostgreSQL store. Nothing is repaired, and no code of an app is run.

The server keeps the types of columns, and no value is null where none may be. So what is asked here is: lengths of ids and
hashes, values that only some may be, that log rows form one chain per instance, and that each reference points at a row. Pages
and indexes are the server's: it checks the first by their checksums when it reads them, and ``pg_amcheck`` the second.

Each check is one statement, which sees one moment, so an engine may commit meanwhile. Intents are read as JSON here and
not by the server: damaged JSON would end the whole statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from ...kernel.action import WorkflowKey
from ...records import Damage
from ..sql_checks import (
    LOG_REFERENCES,
    MOST,
    NO_SUCH_INTENT,
    OUTBOX_REFERENCES,
    SNAPSHOT_REFERENCES,
    STATE_REFERENCES,
    RowCheck,
    log_end_damage,
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
)  # fmt: skip
_OPEN: Final = f"select {_KEY}, {_INTENT}, o.ordinal, o.timer, l.intents {_OF_OUTBOX} where l.n is not null"
_ENDS: Final = """select s.shard, coalesce((select max(l.n) from log l where l.n < (s.shard + 1) << 48 and l.n >= s.shard << 48),
  s.shard << 48) - (s.shard << 48), s.n from shards s order by s.shard"""


async def damage_in(connection: Connection) -> list[Damage]:
    """The first hundred contradictions of each kind."""
    found: list[Damage] = []
    for check in _CHECKS:
        for workflow_type, instance_id, row, number in await connection.fetch(check.question(_KEY), timeout=PATIENCE_S):
            found.append(Damage(_key(workflow_type, instance_id), check.told(row, number)))
    found += await _intents(connection)
    for shard, last, drawn in await connection.fetch(_ENDS, timeout=PATIENCE_S):
        if told := log_end_damage(shard, last, drawn):
            found.append(Damage(None, told))
    return found


async def _intents(connection: Connection) -> Sequence[Damage]:
    """Outbox rows that name an intent which their row of the log does not have."""
    found: list[Damage] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for workflow_type, instance_id, row, ordinal, timer, raw in connection.cursor(_OPEN, prefetch=1000):
            if len(found) < MOST and not _has_intent(raw, ordinal, timer):
                found.append(Damage(_key(workflow_type, instance_id), f"{row} {NO_SUCH_INTENT}"))
    return found


def _has_intent(raw: bytes, ordinal: int, timer: str) -> bool:
    try:
        intents: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(intents, list) or not 0 <= ordinal < len(intents):
        return False
    one = intents[ordinal]
    return not timer or (isinstance(one, dict) and one.get("name") == timer)


def _key(workflow_type: str | None, instance_id: str | None) -> WorkflowKey | None:
    return None if workflow_type is None or instance_id is None else WorkflowKey(workflow_type, instance_id)
