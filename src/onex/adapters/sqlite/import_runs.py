"""A SQLite store made from exported runs: each row at its old position, no outbox, no timers, and never an engine on it.

It is filled under another name and renamed at the end, so it appears whole or not at all. One row of ``meta`` marks it as
history: opening it for writing is refused (StoreIsHistory). So no intent that was open at the export is ever done again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ...kernel.errors import StateConsistencyError
from ...records import Code, Env, LogEntry, SnapshotRow, Stored
from ..commit_rows import SqlValue
from ..row_checksum import kept_checksum, log_checksum, state_checksum
from .errors import translated, translates_errors
from .location import real_path
from .new_file import publish, temporary
from .schema import IMPORTED, connect, create, remove
from .statements import INSERT_LOG, INSERT_STATE, SET_LEASE, SNAPSHOT

REDACTED: Final = (
    "@redacted"  # the projection that lists what was redacted; names of users' projections never begin with @
)
_MARK: Final = """insert into workflow_projection(name, workflow_type, instance_id, version, tag, last_action, fields)
  values(?, ?, ?, ?, ?, '', ?)"""


class SqliteImport:
    """A store that is being filled. Use it with ``with``; without a call of ``finish`` nothing is left behind."""

    def __init__(self, path: Path) -> None:
        """Raises StoreTaken when a file is at ``path``; DatabaseConnectionError or a subclass."""
        path = real_path(path)
        self.path = path
        self._made = temporary(path, "runs are imported into a new store only")
        create(self._made)
        try:
            self._connection = connect(self._made, "rw", synchronous="off")
            self._cursor = self._connection.cursor()
            self._cursor.execute("begin immediate")
        except BaseException:
            self._remove()
            raise
        self._instance = self._rows = self._last_n = 0
        self._offset = self._prev = 0
        self._shards = 1
        self._codes: Mapping[int, int] = {}
        self._envs: Mapping[int, int] = {}
        self._stored: Stored | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._remove()

    @translates_errors
    def begin(self, codes: Mapping[int, Code], envs: Mapping[int, Env], shards: int = 1) -> None:
        """Begin the next file, with the codes and environments that its numbers stand for, and how many shards it is of.

        The first file keeps its numbers, and its positions if it is of one shard; rows of several shards take turns, each in its
        order. Positions of a later file are all moved by the same distance, behind those that are there.
        """
        self._offset, self._shards = self._last_n, shards
        self._codes, self._envs = self._interned("codes", codes), self._interned("envs", envs)

    def _interned(self, table: str, values: Mapping[int, tuple[str | bytes | int, ...]]) -> dict[int, int]:
        execute = self._cursor.execute
        columns = [row[1] for row in execute(f"pragma table_info({table})")][1:]  # without the id
        holes = ", ".join("?" * len(columns))
        found: dict[int, int] = {}
        for number, value in values.items():
            where = f"select id from {table} where ({', '.join(columns)}) = ({holes})"  # noqa: S608  # names of our own tables
            known = execute(where, tuple(value)).fetchone()
            if known is None:
                free = execute(f"select 1 from {table} where id = ?", (number,)).fetchone() is None  # noqa: S608  # as above
                execute(f"insert into {table} values(?, {holes})", (number if free else None, *value))  # as above
                known = execute(where, tuple(value)).fetchone()
            found[number] = known[0]
        return found

    def instance(self, stored: Stored, redacted: Mapping[int, tuple[str, ...]]) -> None:
        """Write the next instance of the file; its rows and snapshots follow. Raises StateConsistencyError."""
        self._instance += 1
        self._stored, self._prev = stored, 0
        code_id = self._code(stored.code_id)
        place = self._place(*stored.position)
        checksum = state_checksum(
            (self._instance, *stored.key, stored.version, stored.epoch, stored.status, stored.terminal, stored.state_schema,
             stored.state_hash, code_id, place, stored.last_us, stored.state)
        )  # fmt: skip
        self._run(
            INSERT_STATE.one,
            [(stored.version, stored.epoch, stored.status, int(stored.terminal), stored.state_schema, stored.state_hash,
              code_id, place, stored.last_us, stored.failures, stored.held, stored.last_us, stored.state, checksum,
              self._instance, *stored.key, 0)],
        )  # fmt: skip
        if stored.lease_id is not None or stored.lease_until_us:
            self._run(SET_LEASE, [(stored.lease_id, stored.lease_until_us, self._instance)])
        if stored.cut:
            self._run("update workflow_state set cut = ? where instance = ?", [(stored.cut, self._instance)])
        if redacted:
            fields = json.dumps({str(version): list(paths) for version, paths in redacted.items()}).encode()
            self._run(_MARK, [(REDACTED, *stored.key, stored.version, str(stored.key), fields)])

    def rows(self, page: Sequence[LogEntry]) -> None:
        """Write rows of the instance, in their order. Raises StateConsistencyError for what no store can hold."""
        values: list[tuple[SqlValue, ...]] = []
        for entry in page:
            row, n = entry.row, self._place(*entry.position)
            columns = (
                n, self._instance, entry.version, self._prev, row.action_id, row.kind, row.payload, row.payload_schema,
                row.issued_us, row.correlation, row.cause or b"", row.issuer, row.body_hash, row.intents, row.status,
                self._code(entry.code_id), self._env(entry.env_id), entry.state_hash,
            )  # fmt: skip
            values.append((*columns, log_checksum(columns)))
            self._prev, self._last_n = n, max(self._last_n, n)
        self._run(INSERT_LOG.one, values)
        self._rows += len(values)

    def keep(self, kept: SnapshotRow) -> None:
        """Write a snapshot of the instance. Raises StateConsistencyError."""
        assert self._stored is not None, "an instance comes before its states"
        self._run(
            SNAPSHOT,
            [(self._instance, kept.version, kept.state_schema, self._code(kept.code_id), kept.state_hash,
              self._stored.last_us, kept.state, kept_checksum(kept.state))],
        )  # fmt: skip

    def reads_damaged_text(self) -> bool:
        return False  # it only writes

    def _run(self, statement: str, values: Sequence[tuple[SqlValue, ...]]) -> None:
        try:
            self._cursor.executemany(statement, values)
        except (sqlite3.IntegrityError, OverflowError) as error:
            raise self._unfit(
                f"does not fit what was imported before it ({error}): an instance, an action id or a position in the "
                "log is there twice. Import each file into a store of its own"
            ) from error
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _unfit(self, what: str) -> StateConsistencyError:
        return StateConsistencyError(f"{self._stored.key if self._stored else 'it'} {what}")

    def _place(self, shard: int, n: int) -> int:
        if not 0 <= shard < self._shards or n < 1:
            raise self._unfit(
                f"stands at {shard}:{n}, in another shard than it stands in at last, or before the first row"
            )
        return self._offset + (n - 1) * self._shards + shard + 1

    def _code(self, number: int) -> int:
        return self._named(self._codes, number, "code")

    def _env(self, number: int) -> int:
        return self._named(self._envs, number, "env")

    def _named(self, names: Mapping[int, int], number: int, what: str) -> int:
        if number not in names:
            raise self._unfit(f"names {what} {number}, which the head of the file does not list")
        return names[number]

    @translates_errors
    def finish(self, origin: str) -> None:
        """Make the store durable under its name. ``origin`` says where the runs came from, and is kept. Raises StoreTaken."""
        execute = self._cursor.execute
        execute("insert into meta values(?, ?)", (IMPORTED, origin))
        execute("update shards set n = ? where shard = 0", (self._rows,))
        execute("insert into projection_watermarks values(?, 0, ?)", (REDACTED, self._last_n))
        execute("commit")
        execute("pragma wal_checkpoint(truncate)").fetchall()
        self._connection.close()
        publish(self._made, self.path)

    def _remove(self) -> None:
        remove(self._made)
