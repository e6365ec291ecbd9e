"""PostgresRun: a PostgreSQL store read as a recorded run, by replay, what-if and export. Nothing is written or run from it.

It has one connection of its own, which takes reads only; each process that folds opens its own. Histories of short instances
are read several at once (``read_ahead``): here a query costs a round trip too. An engine may commit meanwhile: rows that are there
do not change, and each reader takes an instance up to the version that its row had.

A standby that follows by streaming is as good a source as its primary, and leaves that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from ...kernel.action import WorkflowKey
from ...ports import LogEntry, Stored
from ...records import Damage
from ..read_ahead import LONG, ReadAhead
from ..sql_rows import OWN, own_entries
from .address import Address
from .integrity import checksum_damage, damage_in
from .link import Connection, Link
from .read import PostgresReads
from .schema import check

_OWN_OF_SEVERAL: Final = OWN.replace(" from ", ", l.instance from ", 1) + (
    " where l.instance = any($1::bigint[]) order by l.instance, l.version"
)


async def _patient(connection: Connection) -> None:
    """A check of a whole log takes as long as it takes."""
    await connection.execute("set statement_timeout = 0")


class PostgresRun(PostgresReads):
    """Made by ``open``. ``actions`` is how many there were then. It belongs to one event loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.actions = 0
        self._ahead = ReadAhead(self.histories)
        super().__init__(Link(address, read_only=True, on_open=_patient))

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Raises ServerUnreachable, StoreMissing, NotAStore, StoreTooNew, StoreTooOld and other DatabaseConnectionErrors."""
        run = cls(address)
        try:
            await run._link.open()
            run.shards = await run._link.use(lambda connection: check(connection, address))
            run.actions = (await run.counts()).actions
        except BaseException:
            await run.close()
            raise
        return run

    async def close(self) -> None:
        await self._link.close()

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        page = await super().instances(workflow_type, status, after, limit)
        self._ahead.begin(page)
        return page

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        whole = await self._ahead.whole(key) if after == 0 and limit >= LONG else None
        return await super().history(key, after, limit) if whole is None else whole

    async def histories(self, instances: Sequence[Stored]) -> Mapping[WorkflowKey, Sequence[LogEntry]]:
        """The whole history of each, up to the version it had, in one read. One whose rows are not all there is left out."""
        rows: dict[int, list[Any]] = {}
        for row in await self._fetch(_OWN_OF_SEVERAL, [stored.instance for stored in instances]):
            rows.setdefault(row[-1], []).append(row[:-1])
        found: dict[WorkflowKey, Sequence[LogEntry]] = {}
        for stored in instances:
            entries = own_entries(stored.key, rows.get(stored.instance, ())[: stored.version])
            if [entry.version for entry in entries] == list(range(1, stored.version + 1)):
                found[stored.key] = entries
        return found

    async def redacted(self, key: WorkflowKey) -> Mapping[int, tuple[str, ...]]:
        """Nothing: an engine wrote it. Redacted files are imported into SQLite only."""
        return {}

    async def redacted_since(self, key: WorkflowKey) -> int:
        return 0

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        """Rows whose checksum was made again, rows that have none, and what was found."""
        await self.settle()
        return await self._link.use(lambda connection: checksum_damage(connection, on_rows))

    async def damaged(self, part: int) -> Sequence[Damage]:
        """Contradictions inside the store: see ``integrity``. The same for each of several readers."""
        await self.settle()
        return await self._link.use(damage_in, again=True)
