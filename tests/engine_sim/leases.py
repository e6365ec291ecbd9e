"""Leases: who leads an instance, written past the engine, and which commands they must have kept out.

They are written past the engine, which obeys those that stand in the store (promises 10 and 11), so that they end at any moment.
What it grants itself: ``tests/engine/test_leases.py``.
Every commit is compared with the lease that stood at its instant, by the clock that the commit itself was decided with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from onex.kernel.action import WorkflowKey
from onex.ports import KeyChange, LogRow
from onex.simulation.disk import Disk, EnumDiskFault, MemoryDisk, SqliteDisk
from tests.engine_sim.sample_workflow import UNLEASED

LONGEST_S: Final = 8.0
"""The longest lease. Who is kept out by one sends again until it ends."""


class Lease(NamedTuple):
    id: UUID
    until_us: int


class Leases:
    def __init__(self, disk: Disk, violated: Callable[[str], None]) -> None:
        self.disk, self.violated = disk, violated
        self.current: dict[WorkflowKey, Lease] = {}
        self._sent: dict[bytes, tuple[UUID | None, int | None]] = {}
        self._taken: dict[tuple[WorkflowKey, int], bytes] = {}
        self._epochs: Counter[WorkflowKey] = Counter()

    def grant(self, key: WorkflowKey, lease: Lease) -> bool:
        """False where nobody can be given it: the instance has not begun, or the disk takes nothing."""
        if not write_lease(self.disk, key, lease.id.bytes, lease.until_us):
            return False
        self.current[key] = lease
        return True

    def end(self, key: WorkflowKey) -> None:
        if key in self.current and write_lease(self.disk, key, None, 0):
            del self.current[key]

    def end_all(self) -> None:
        for key in list(self.current):
            self.end(key)

    def sending(self, action_id: UUID, lease_id: UUID | None, epoch: int | None) -> None:
        """This is what a command comes with, as often as it is sent."""
        self._sent[action_id.bytes] = (lease_id, epoch)

    def check(self, change: KeyChange, at_us: int) -> None:
        """Each row of a change that was applied, by what the store knew of leases at that instant."""
        lease = self.current.get(change.key)
        seen = None if lease is None else lease.id.bytes
        if change.rows and change.lease_seen != seen:
            self.violated(f"{change.key} was folded under another lease than the one that stands")
        for row in change.rows:
            if not row.issuer.startswith("intent:"):  # outcomes and timers come by the right of their outbox row
                self._check_row(change.key, row, lease, at_us)
        led = self._epochs[change.key]
        if change.epoch != led:
            self.violated(f"{change.key} is at epoch {change.epoch} after {led} commands of those who led it")

    def _check_row(self, key: WorkflowKey, row: LogRow, lease: Lease | None, at_us: int) -> None:
        lease_id, epoch = self._sent.get(row.action_id, (None, None))
        held = lease is not None and lease.until_us >= at_us
        what = f"{key} took {row.kind} {row.action_id.hex()}"
        if lease_id is not None:
            self._epochs[key] += 1
            if lease is None or lease_id != lease.id:
                self.violated(f"{what} under a lease that nobody has")
            elif not held:
                self.violated(f"{what} under a lease that had run out")
        elif held and row.kind not in UNLEASED:
            self.violated(f"{what} past the one who leads it")
        if lease_id is not None and epoch is not None:
            first = self._taken.setdefault((key, epoch), row.action_id)
            if first != row.action_id:
                self.violated(f"{what} on epoch {epoch}, which {first.hex()} had ended")


def write_lease(disk: Disk, key: WorkflowKey, lease_id: bytes | None, until_us: int) -> bool:
    """Writes who leads an instance, as another process would. False: no such instance, or nobody can write now."""
    if isinstance(disk, MemoryDisk):
        stored = disk.tables.stored.get(key)
        if stored is not None:
            disk.tables.stored[key] = stored._replace(lease_id=lease_id, lease_until_us=until_us)
        return stored is not None
    assert isinstance(disk, SqliteDisk), "there are two kinds of disk"
    if disk.fault is not EnumDiskFault.NONE:
        return False
    written = disk.other_process().execute(
        "update workflow_state set lease_id = ?, lease_until_us = ? where workflow_type = ? and instance_id = ?",
        (lease_id, until_us, *key),
    )
    return written.rowcount == 1
