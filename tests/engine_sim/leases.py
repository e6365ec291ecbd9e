"""Leases: who leads an instance, granted behind the engine's back, and which commands that must have kept out.

The engine grants none yet; it judges those that stand in the store (promise 10, 11). So another process writes them here,
and every commit is held against what stood there at its instant, by the clock the commit itself was judged with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from onex.kernel.action import WorkflowKey
from onex.ports import KeyChange, LogRow
from onex.simulation.disk import Disk
from tests.engine_sim.sample_workflow import UNLEASED

LONGEST_S: Final = 8.0
"""For so long an instance is led at the most; who is kept out meanwhile sends again."""


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
        if not self.disk.lease(key, lease.id.bytes, lease.until_us):
            return False
        self.current[key] = lease
        return True

    def end(self, key: WorkflowKey) -> None:
        if key in self.current and self.disk.lease(key, None, 0):
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
