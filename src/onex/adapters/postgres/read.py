"""Reading a PostgreSQL store: each method is one statement, or one transaction that sees a single moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...code_use import CodeUse
from ...kernel.action import WorkflowKey
from ...kernel.data_key import WrappedKey
from ...kernel.errors import StateConsistencyError
from ...kernel.search import SearchCode, SearchField, SearchSpec
from ...kernel.search_query import SearchPlace, SearchQuery
from ...ports import (
    Attempt,
    Code,
    Counts,
    EnumAttempt,
    EnumInFlight,
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
from ..code_use_sql import OF_POSTGRES, code_uses_of
from ..retention_sql import numbered
from ..search_sql import POSTGRES_SEARCH, SPECS, UNFILLED, newest_specs, pages_sql, tally_sql
from ..sql_rows import LOG, OWN, STORED, entry_of, outbox_row, own_entries, place_of, pointer_of, stored_of
from .in_flight import INTENTS, OUTCOMES, STANDING, counted, intent_name, outcome_name
from .link import Connection, Link

# Outer joins: a row that points at nothing is read too, without an intent. So it is reported and not passed over.
_OUTBOX_OF: Final = """select o.n, o.ordinal, coalesce(w.workflow_type, '?'), coalesce(w.instance_id, o.instance::text),
  coalesce(l.version, 0), coalesce(l.action_id, ''::bytea), coalesce(l.correlation, ''::bytea),
  case when l.instance = o.instance then l.intents else ''::bytea end, o.state, o.priority, o.due_us, o.attempt, o.started,
  o.crashes, o.timer, o.result, o.error, coalesce(l.payload_schema, 1),
  o.started and o.fence = (select s.fence from shards s where s.shard = o.n >> 48), coalesce(l.code_id, 0)
  from {} o left join log l on l.n = o.n left join workflow_state w on w.instance = o.instance"""
_OUTBOX: Final = _OUTBOX_OF.format("outbox")
# Shard by shard, until there are enough: a lateral join takes its left side in order, and stops at the limit. A shard of another
# process is not looked at.
_INTENTS: Final = _OUTBOX_OF.format("""(select o.* from unnest($4::bigint[]) s(shard) cross join lateral (
  select * from outbox where state = 'waiting' and timer = '' and (n, ordinal) > ($1, $2)
  and n >= s.shard << 48 and n < (s.shard + 1) << 48 order by n, ordinal limit $3) o limit $3)""")
# One statement sees one moment: an instance and its timers belong together. A row per timer, or one without any.
_LOADED: Final = """select w.workflow_type, w.instance_id, w.instance, w.version, w.epoch, w.status, w.terminal, w.state,
  w.state_schema, w.state_hash, w.code_id, w.position, w.last_us, w.failures, w.held, w.lease_id, w.lease_until_us,
  w.cut, o.timer, o.n, o.ordinal, o.due_us
  from unnest($1::text[], $2::text[]) k(t, i) join workflow_state w on w.workflow_type = k.t and w.instance_id = k.i
  left join outbox o on o.instance = w.instance and o.timer <> '' and o.state = 'waiting'"""
_BACK: Final = """with recursive back(n, prev, version) as (
  select n, prev, version from log where n = $1
  union all
  select l.n, l.prev, l.version from back b join log l on l.n = b.prev where b.version > $2)"""
_SHORT: Final = 256  # up to so many rows of an instance, sorting is cheaper than walking back


def _behind(after: Pointer | None) -> tuple[int, int]:
    """``(place, ordinal)`` that comes before the first row to be read."""
    return (-1, -1) if after is None else (place_of(after.shard, after.n), after.ordinal)


def _sql(*parts: str) -> str:
    return " ".join(parts)


class PostgresReads:
    """All methods of ``Reader``, and the reads of ``Store`` and ``Projections``. Each is tried again once on a new connection."""

    shards: int

    def __init__(self, link: Link) -> None:
        self._link = link

    def owned(self) -> list[int] | None:
        """The shards that this process has, in order. None: it neither owns the store nor shares it, and is told of all."""
        return None

    async def settle(self) -> None:
        """Called before each read; the owner waits here until a commit without an answer has ended."""

    async def _fetch(self, query: str, *values: object) -> list[Any]:
        await self.settle()
        return await self._link.use(lambda connection: connection.fetch(query, *values), again=True)

    async def _row(self, query: str, *values: object) -> Any:
        rows = await self._fetch(query, *values)
        return rows[0] if rows else None

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        rows = await self._fetch(_LOADED, [key.workflow_type for key in keys], [key.instance_id for key in keys])
        found: dict[WorkflowKey, Stored] = {}
        timers: dict[WorkflowKey, dict[str, tuple[Pointer, int]]] = {}
        for row in rows:
            *columns, timer, n, ordinal, due_us = row
            key = WorkflowKey(columns[0], columns[1])
            if key not in found:
                found[key] = stored_of(tuple(columns), timers.setdefault(key, {}))
            if timer is not None:
                timers[key][timer] = pointer_of(n, ordinal), due_us
        return found

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        row = await self._row(
            _sql(LOG, "where w.workflow_type = $1 and w.instance_id = $2 and l.action_id = $3"), *key, action_id
        )
        return None if row is None else entry_of(row)

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        rows = await self._fetch(
            _sql(
                STORED,
                "where (workflow_type, instance_id) > ($1, $2) and ($3::text is null or workflow_type = $3)",
                "and ($4::text is null or status = $4) order by workflow_type, instance_id limit $5",
            ),
            *(after or ("", "")),
            workflow_type,
            status,
            limit,
        )
        return [stored_of(row, {}) for row in rows]

    async def codes(self) -> Mapping[int, Code]:
        rows = await self._fetch("select id, workflow_type, contract_version, digest, state_schema from codes")
        return {row[0]: Code(*row[1:]) for row in map(tuple, rows)}

    async def envs(self) -> Mapping[int, Env]:
        rows = await self._fetch("select id, onex, pydantic, python, tzdata, git_revision from envs")
        return {row[0]: Env(*row[1:]) for row in map(tuple, rows)}

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        rows = await self._fetch(
            _sql(LOG, "where l.n > $1 and l.n < $2 order by l.n limit $3"),
            place_of(*after), place_of(after.shard + 1, 0), limit,
        )  # fmt: skip
        return [entry_of(row) for row in rows]

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        found = await self._row(
            "select instance, version, position, cut from workflow_state where workflow_type = $1 and instance_id = $2",
            *key,
        )
        if found is None:
            return []
        instance, version, position, cut = found
        after = max(after, cut)
        first, last = after + 1, min(version, after + limit)
        if first > last:
            return []
        if version <= _SHORT:
            rows = await self._fetch(
                _sql(OWN, "where l.instance = $1 and l.version > $2 and l.version <= $3 order by l.version"),
                instance, after, last,
            )  # fmt: skip
        else:
            anchor = await self._row(
                "select n from log where instance = $1 and version % 64 = 0 and version >= $2 order by version limit 1",
                instance, last,
            )  # fmt: skip
            rows = await self._fetch(
                _sql(_BACK, OWN, "join back b on b.n = l.n where l.instance = $3 and l.version > $4 and l.version <= $5",
                     "order by l.version"),
                anchor[0] if anchor else position, first, instance, after, last,
            )  # fmt: skip
        entries = own_entries(key, rows)
        if [entry.version for entry in entries] != list(range(first, last + 1)):
            raise StateConsistencyError(f"versions {first} to {last} of {key} do not follow one another")
        return entries

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        row = await self._row(
            "select s.version, s.state, s.state_schema, s.code_id, s.state_hash from snapshots s"
            " join workflow_state w on w.instance = s.instance"
            " where w.workflow_type = $1 and w.instance_id = $2 and s.version <= $3 order by s.version desc limit 1",
            *key, at_most,
        )  # fmt: skip
        return None if row is None else SnapshotRow(key, *row)

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        place, ordinal = _behind(after)
        rows = await self._fetch(
            _sql(
                _OUTBOX,
                "where o.state = any($1::text[]) and (o.n, o.ordinal) > ($2, $3)",
                "and ($4::text is null or (w.workflow_type = $4 and w.instance_id = $5)) order by o.n, o.ordinal limit $6",
            ),
            [state.value for state in states], place, ordinal, *(key or (None, None)), limit,
        )  # fmt: skip
        return [outbox_row(row) for row in rows]

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        place, ordinal = _behind(after)
        shards = self.owned()
        if timers_before_us is None:
            which = list(range(self.shards)) if shards is None else shards
            rows = await self._fetch(_sql(_INTENTS, "order by o.n, o.ordinal"), place, ordinal, limit, which)
        else:
            rows = await self._fetch(
                _sql(_OUTBOX, "where o.state = 'waiting' and (o.n, o.ordinal) > ($1, $2) and o.timer <> '' and o.due_us < $4",
                     "and ($5::bigint[] is null or (o.n >> 48) = any($5)) order by o.n, o.ordinal limit $3"),
                place, ordinal, limit, timers_before_us, shards,
            )  # fmt: skip
        return [outbox_row(row) for row in rows]

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        rows = await self._fetch(
            "select key, action_id, code, message, body, times, first_us, last_us, trace from rejections"
            " where ($1::text is null or key = $1) and ($2::bytea is null or action_id = $2)"
            " order by last_us desc, id desc limit $3 offset $4",
            key, action_id, limit, after,
        )  # fmt: skip
        return [RejectionRow(*row) for row in rows]

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        rows = await self._fetch(
            "select n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace from (select a.* from attempts a"
            " join workflow_state w on w.instance = a.instance where w.workflow_type = $1 and w.instance_id = $2"
            " order by a.id desc limit $3) newest order by n, ordinal, id",
            *key, limit,
        )  # fmt: skip
        return [
            Attempt(pointer_of(n, ordinal), attempt, began_us, ended_us, EnumAttempt(outcome), code, message, trace)
            for n, ordinal, attempt, began_us, ended_us, outcome, code, message, trace in rows
        ]

    async def blob(self, digest: bytes) -> bytes | None:
        row = await self._row("select data from blobs where digest = $1", digest)
        return None if row is None else row[0]

    async def counts(self) -> Counts:
        async def ask(connection: Connection) -> Counts:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                states = await connection.fetch(
                    "select workflow_type, status, count(*) from workflow_state group by 1, 2"
                    ' order by workflow_type, status collate "C"'
                )
                waits = await connection.fetch("select state, count(*) from outbox group by 1")
                actions = await connection.fetchval("select sum(n)::bigint from shards")
                rejections = await connection.fetchval("select count(*) from rejections")
            by_status = {(row[0], row[1]): row[2] for row in states}
            outbox = {state.value: 0 for state in EnumOutboxState} | {row[0]: row[1] for row in waits}
            return Counts(sum(by_status.values()), actions, outbox, rejections, by_status)

        await self.settle()
        return await self._link.use(ask, again=True)

    async def data_keys(self, owners: Sequence[str]) -> Mapping[str, WrappedKey]:
        rows = await self._fetch(
            "select owner, master, wrapped, plain_until, erased_us from data_keys where owner = any($1::text[])",
            list(owners),
        )
        return {row[0]: WrappedKey(*row) for row in rows}

    async def code_uses(self) -> Sequence[CodeUse]:
        return code_uses_of(await self._fetch(OF_POSTGRES))

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        found = [
            InFlight(EnumInFlight.STATE, workflow_type, schema, status, rows, WorkflowKey(workflow_type, instance_id))
            for workflow_type, schema, status, rows, instance_id in await self._fetch(STANDING, limit)
        ]
        found += counted(EnumInFlight.INTENT, await self._fetch(INTENTS, limit), intent_name)
        found += counted(EnumInFlight.OUTCOME, await self._fetch(OUTCOMES, limit), outcome_name)
        return found

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        rows = await self._fetch(
            "select ticket, body, at_us, answer, shard from inbox where answer is null and ticket > $1"
            " and ($3::bigint[] is null or shard = any($3)) order by ticket limit $2",
            after, limit, self.owned(),
        )  # fmt: skip
        return [InboxRow(*row) for row in rows]

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        rows = await self._fetch(
            "select ticket, answer from inbox where ticket = any($1::bigint[]) and answer is not null", list(tickets)
        )
        return {row[0]: row[1] for row in rows}

    async def watermark(self, name: str, shard: int) -> int:
        row = await self._row("select n from projection_watermarks where name = $1 and shard = $2", name, shard)
        return 0 if row is None else row[0]

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        rows = await self._fetch(
            "select workflow_type, instance_id, version, tag, last_action, fields from workflow_projection"
            " where name = $1 and (workflow_type, instance_id) > ($2, $3) and ($4::text is null or tag = $4)"
            " order by workflow_type, instance_id limit $5",
            name, *(after or ("", "")), tag, limit,
        )  # fmt: skip
        return [ProjectionRow(WorkflowKey(row[0], row[1]), row[2], row[3], row[4], row[5]) for row in rows]

    async def search_specs(self) -> Mapping[str, SearchSpec]:
        found = newest_specs(await self._fetch(SPECS))
        return {name: spec for name, spec in found.items() if spec.fields}

    async def unfilled(self, spec: SearchSpec, after: str, limit: int) -> Sequence[Stored]:
        rows = await self._fetch(numbered(UNFILLED), spec.workflow_type, after, spec.id, limit)
        return [stored_of(row, {}) for row in rows]

    async def find(
        self, query: SearchQuery, after: SearchPlace | None, limit: int
    ) -> Sequence[tuple[Stored, SearchCode]]:
        found: list[tuple[Stored, SearchCode]] = []
        for text, bound in pages_sql(query, POSTGRES_SEARCH, after, limit):
            rows = map(tuple, await self._fetch(numbered(text), *bound))
            found += [(stored_of(row[:-1], {}), row[-1]) for row in rows]
            if len(found) >= limit:
                break
        return found[:limit]

    async def tally(self, query: SearchQuery, by: SearchField | None) -> Sequence[tuple[SearchCode, int]]:
        text, bound = tally_sql(query, POSTGRES_SEARCH, by)
        return [(row[0], row[1]) for row in await self._fetch(numbered(text), *bound)]
