"""Reading a SQLite store: plain calls on one connection, which give values of ``records``.

No read stays open between two calls, so none keeps the WAL from being copied into the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from ...code_use import CodeUse
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import StateConsistencyError
from ...ports import (
    Attempt,
    Code,
    Counts,
    EnumAttempt,
    EnumOutboxState,
    Env,
    InboxRow,
    InFlight,
    LogEntry,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    RejectionRow,
    SnapshotRow,
    Stored,
)
from ...records import Damage
from ..code_use_sql import OF_SQLITE, code_uses_of
from ..sql_rows import LOG, OWN, STORED, OwnColumns, entry_of, outbox_row, own_entries, stored_of
from .data_keys import keys_of
from .errors import translates_errors
from .in_flight import in_flight_of
from .integrity import checksum_damage, damage_in
from .location import StoreFiles, real_path, wal_path
from .rows import OUTBOX, OUTBOX_TYPES, STORED_TYPES, held_of, unreadable
from .schema import Access, connect, schema_version
from .search import SqliteSearchReads

# Walk back along ``prev`` from a row at or after the last one wanted, then return the rows in version order.
_BACK = """with recursive back(n, prev, version) as (
  select n, prev, version from log where n = ?
  union all
  select l.n, l.prev, l.version from back b join log l on l.n = b.prev where b.version > ?)"""
_SHORT = 256  # up to so many rows of an instance, sorting is cheaper than walking back


def _sql(*parts: str) -> str:
    return " ".join(parts)


_OWN_OF_SEVERAL = _sql(
    OWN.replace(" from ", ", l.instance from ", 1),
    "where l.instance in (select value from json_each(?)) order by l.instance, l.version",
)
_ITS_OWN: Callable[[tuple[Any, ...]], OwnColumns] = itemgetter(slice(-1))
_BY_KEY = "where workflow_type = ? and instance_id = ?"


class SqliteReads(SqliteSearchReads):
    """All methods of ``Reader``, and the reads of ``Store``, ``Projections`` and ``SearchTables``, as plain calls."""

    def __init__(self, path: Path, access: Access = "ro", *, synchronous: Literal["full", "off"] = "full") -> None:
        """Raises DatabaseConnectionError when there is no store, or none that this ONEX can read."""
        self.path = real_path(path)
        self._files = StoreFiles(self.path)
        self._connection = connect(self.path, access, synchronous=synchronous)
        try:
            self._files.watch(wal_path(self.path))
            self._files.check()
            schema = schema_version(self._connection)
            self._has_traces = schema >= 2  # else an older ONEX wrote it last, and keeps none
            self._cut = "cut" if schema >= 3 else "0"
            self._has_search = schema >= 5
            self._stored = STORED.replace(", cut from", f", {self._cut} from")
        except BaseException:
            self._connection.close()
            raise

    @translates_errors
    def damaged(self, *, pages: bool = True) -> Sequence[Damage]:
        """Contradictions inside the store: see ``integrity``."""
        return damage_in(self._connection, pages=pages)

    @translates_errors
    def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        """Rows whose checksum was made again, rows that have none, and what was found."""
        return checksum_damage(self._connection, on_rows)

    @property
    def files(self) -> StoreFiles:
        return self._files

    def check_files(self) -> None:
        """Raises StoreReplaced when other files stand under the store's name than those that were opened."""
        self._files.check()

    @translates_errors
    def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        execute = self._connection.execute
        found: dict[WorkflowKey, Stored] = {}
        for key in keys:
            row = execute(_sql(self._stored, _BY_KEY), key).fetchone()
            if row is not None:
                timers: dict[str, tuple[Pointer, int]] = {
                    name: (Pointer(0, n, ordinal), due_us)
                    for name, n, ordinal, due_us in execute(
                        "select timer, n, ordinal, due_us from outbox where instance = ? and timer <> ''"
                        " and state = 'waiting'",
                        (row[2],),
                    )
                }
                whole = tuple(map(type, row[:15])) == STORED_TYPES
                found[key] = stored_of(row, timers) if whole else held_of(key, row)
        return found

    @translates_errors
    def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        row = self._connection.execute(
            _sql(LOG, "where w.workflow_type = ? and w.instance_id = ? and l.action_id = ?"), (*key, action_id)
        ).fetchone()
        return None if row is None else entry_of(row)

    @translates_errors
    def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        where, values = ["(workflow_type, instance_id) > (?, ?)"], [*(after or ("", ""))]
        if workflow_type is not None:
            where.append("workflow_type = ?")
            values.append(workflow_type)
        if status is not None:
            where.append("status = ?")
            values.append(status)
        rows = self._connection.execute(
            _sql(self._stored, "where", " and ".join(where), "order by workflow_type, instance_id limit ?"),
            (*values, limit),
        )
        found = [stored_of(row, {}) for row in rows]
        # one whose text is damaged is read as another text, which may sort before it: then it would come again, for ever
        return [stored for stored in found if stored.key != after]

    @translates_errors
    def codes(self) -> Mapping[int, Code]:
        rows = self._connection.execute("select id, workflow_type, contract_version, digest, state_schema from codes")
        return {row[0]: Code(*row[1:]) for row in rows}

    @translates_errors
    def envs(self) -> Mapping[int, Env]:
        rows = self._connection.execute("select id, onex, pydantic, python, tzdata, git_revision from envs")
        return {row[0]: Env(*row[1:]) for row in rows}

    @translates_errors
    def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        rows = self._connection.execute(_sql(LOG, "where l.n > ? order by l.n limit ?"), (after.n, limit))
        return [entry_of(row) for row in rows]

    @translates_errors
    def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        execute = self._connection.execute
        found = execute(
            _sql("select instance, version, position,", self._cut, "from workflow_state", _BY_KEY), key
        ).fetchone()
        if found is None:
            return []
        instance, version, position, cut = found
        after = max(after, cut)
        first, last = after + 1, min(version, after + limit)
        if first > last:
            return []
        if version <= _SHORT:
            rows = execute(
                _sql(OWN, "where l.instance = ? and l.version > ? and l.version <= ? order by l.version"),
                (instance, after, last),
            )
        else:
            anchor = execute(
                "select n from log where instance = ? and version % 64 = 0 and version >= ? order by version limit 1",
                (instance, last),
            ).fetchone()
            rows = execute(
                _sql(
                    _BACK,
                    OWN,
                    "join back b on b.n = l.n where l.instance = ? and l.version > ? and l.version <= ?",
                    "order by l.version",
                ),
                (anchor[0] if anchor else position, first, instance, after, last),
            )
        entries = own_entries(key, rows)
        if [entry.version for entry in entries] != list(range(first, last + 1)):
            raise StateConsistencyError(f"{self.path}: versions {first} to {last} of {key} do not follow one another")
        return entries

    @translates_errors
    def histories(self, instances: Sequence[Stored]) -> Mapping[WorkflowKey, Sequence[LogEntry]]:
        """The whole history of each, up to the version it had, in one read. One whose rows are not all there is left out."""
        ids = json.dumps([stored.instance for stored in instances])
        rows: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._connection.execute(_OWN_OF_SEVERAL, (ids,)):
            rows.setdefault(row[-1], []).append(row)
        found: dict[WorkflowKey, Sequence[LogEntry]] = {}
        for stored in instances:
            entries = own_entries(stored.key, map(_ITS_OWN, rows.get(stored.instance, ())[: stored.version]))
            if [entry.version for entry in entries] == list(range(1, stored.version + 1)):
                found[stored.key] = entries
        return found

    @translates_errors
    def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        row = self._connection.execute(
            "select s.version, s.state, s.state_schema, s.code_id, s.state_hash from snapshots s"
            " join workflow_state w on w.instance = s.instance"
            " where w.workflow_type = ? and w.instance_id = ? and s.version <= ? order by s.version desc limit 1",
            (*key, at_most),
        ).fetchone()
        return None if row is None else SnapshotRow(key, *row)

    @translates_errors
    def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        where = [f"o.state in ({', '.join('?' * len(states))})"]
        values: list[str | int] = [state.value for state in states]
        if key is not None:
            where.append("w.workflow_type = ? and w.instance_id = ?")
            values += key
        return self._outbox(where, values, after, limit)

    @translates_errors
    def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        where: list[str] = ["o.state = 'waiting'"]
        values: list[str | int] = []
        if timers_before_us is None:
            where.append("o.timer = ''")
        else:
            where.append("o.timer <> '' and o.due_us < ?")
            values.append(timers_before_us)
        return self._outbox(where, values, after, limit)

    def _outbox(
        self, where: list[str], values: list[str | int], after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        if after is not None:
            where.append("(o.n, o.ordinal) > (?, ?)")
            values += [after.n, after.ordinal]
        rows = self._connection.execute(
            _sql(OUTBOX, "where", " and ".join(where), "order by o.n, o.ordinal limit ?"), (*values, limit)
        )
        return [outbox_row(row if tuple(map(type, row)) == OUTBOX_TYPES else unreadable(row)) for row in rows]

    @translates_errors
    def rejections(self, key: str | None, action_id: bytes | None, after: int, limit: int) -> Sequence[RejectionRow]:
        rows = self._connection.execute(
            _sql(
                "select key, action_id, code, message, body, times, first_us, last_us,",
                "trace" if self._has_traces else "''",
                "from rejections where (?1 is null or key = ?1) and (?2 is null or action_id = ?2)",
                "order by last_us desc, id desc limit ?3 offset ?4",
            ),
            (key, action_id, limit, after),
        )
        return [RejectionRow(*row) for row in rows]

    @translates_errors
    def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        if not self._has_traces:
            return []
        rows = self._connection.execute(
            "select * from (select a.id, a.n, a.ordinal, a.attempt, a.began_us, a.ended_us, a.outcome, a.code, a.message,"
            " a.trace from attempts a join workflow_state w on w.instance = a.instance"
            " where w.workflow_type = ? and w.instance_id = ? order by a.id desc limit ?) order by n, ordinal, id",
            (*key, limit),
        )
        return [
            Attempt(Pointer(0, n, ordinal), attempt, began_us, ended_us, EnumAttempt(outcome), code, message, trace)
            for _, n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace in rows
        ]

    @translates_errors
    def blob(self, digest: bytes) -> bytes | None:
        row = self._connection.execute("select data from blobs where digest = ?", (digest,)).fetchone()
        return None if row is None else bytes(row[0])

    @translates_errors
    def counts(self) -> Counts:
        execute = self._connection.execute
        by_status: dict[tuple[str, str], int] = {
            (workflow_type, status): count
            for workflow_type, status, count in execute(
                "select workflow_type, status, count(*) from workflow_state group by 1, 2 order by 1, 2"
            )
        }
        outbox: dict[str, int] = {
            state.value: execute("select count(*) from outbox where state = ?", (state.value,)).fetchone()[0]
            for state in EnumOutboxState
        }
        (actions,) = execute("select sum(n) from shards").fetchone()
        (rejections,) = execute("select count(*) from rejections").fetchone()
        return Counts(sum(by_status.values()), actions, outbox, rejections, by_status)

    @translates_errors
    def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        return keys_of(self._connection, owners)

    @translates_errors
    def in_flight(self, limit: int) -> Sequence[InFlight]:
        return in_flight_of(self._connection, limit)

    @translates_errors
    def code_uses(self) -> Sequence[CodeUse]:
        return code_uses_of(self._connection.execute(OF_SQLITE))

    @translates_errors
    def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        rows = self._connection.execute(
            # Another program may have put text or a number there. It is read as an empty body, which is refused.
            """select ticket, case typeof(body) when 'blob' then body else x'' end, at_us, answer from inbox
            where answer is null and ticket > ? order by ticket limit ?""",
            (after, limit),
        )
        return [InboxRow(*row) for row in rows]

    @translates_errors
    def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        asked = json.dumps(list(tickets))
        rows = self._connection.execute(
            "select ticket, answer from inbox where ticket in (select value from json_each(?)) and answer is not null",
            (asked,),
        )
        return dict(rows.fetchall())

    @translates_errors
    def watermark(self, name: str, shard: int) -> int:
        row = self._connection.execute(
            "select n from projection_watermarks where name = ? and shard = ?", (name, shard)
        ).fetchone()
        return 0 if row is None else row[0]

    @translates_errors
    def projected(self, name: str, tag: str | None, after: WorkflowKey | None, limit: int) -> Sequence[ProjectionRow]:
        where, values = ["name = ? and (workflow_type, instance_id) > (?, ?)"], [name, *(after or ("", ""))]
        if tag is not None:
            where.append("tag = ?")
            values.append(tag)
        rows = self._connection.execute(
            _sql(
                "select workflow_type, instance_id, version, tag, last_action, fields from workflow_projection where",
                " and ".join(where),
                "order by workflow_type, instance_id limit ?",
            ),
            (*values, limit),
        )
        return [ProjectionRow(WorkflowKey(*row[:2]), *row[2:]) for row in rows]

    @translates_errors
    def close(self) -> None:
        self._connection.close()
