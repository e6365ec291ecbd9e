"""Action checks: whether an action may step an instance as it stands, in the order of promise 5.

``Folded`` inherits these checks: while it folds, the instance that they look at changes from action to action.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from ..kernel.errors import (
    ActionExpiredError,
    ConcurrentModificationError,
    InstanceFinished,
    InstanceHeld,
    InternalTrigger,
    NotFound,
    OnexError,
    Refused,
)
from ..kernel.lease import TAKE, Lease, LeaseRequest, WorkflowLease, command_refusal, lease_after
from ..kernel.machine import state_timer
from ..kernel.search import SearchPlan
from ..kernel.step import State
from .mailbox import Entry
from .pending import Pending
from .schema_upgrade import TimerWait


class TimerGone(Refused):
    """The timer was replaced, cancelled, or its instance has ended: it is dropped and counted."""

    code = "timer_gone"


class TimerMoved(ConcurrentModificationError):
    """A held timer came at another version than its log was read up to. Its owner reads on and delivers it again."""

    code = "timer_moved"
    retryable = True


class Rules(NamedTuple):
    """What a fold needs beside the entry. ``check_all`` is for tests and simulation (promise 33). ``search``: how the search fields
    are read."""

    code_id: int
    env_id: int
    now_us: int
    check_all: bool = False
    search: SearchPlan | None = None


class ActionChecks:
    """The instance as it stands before an action, and what it is checked for."""

    __slots__ = (
        "_new_timers", "_rules", "entry", "epoch", "held", "lease_id", "lease_until_us", "state", "terminal", "timers",
        "unreadable", "valid_until_us", "version",
    )  # fmt: skip

    entry: Entry
    version: int
    epoch: int
    state: State | None
    terminal: bool
    held: str
    lease_id: bytes | None
    lease_until_us: int
    timers: dict[str, TimerWait]
    unreadable: OnexError | None
    valid_until_us: int
    _rules: Rules
    _new_timers: dict[str, tuple[int, int, int]]

    def _check(self, pending: Pending) -> OnexError | None:
        """Its refusal, or None, in the order of promise 5; ``dispatch`` and the store find duplicates. Outcomes and timers need
        no lease or expiry."""
        entry = self.entry
        if pending.internal:
            return internal_trigger(pending)
        if self.unreadable is not None:
            return self.unreadable
        if pending.timer and pending.expected_version is not None:  # a held timer: the log was read up to there
            if pending.expected_version != self.version:
                return TimerMoved(f"{entry.key} is at version {self.version}; look again")
        elif pending.timer and not self._timer_waits(pending):
            return TimerGone(f"timer {pending.timer!r} of {entry.key} no longer waits")
        if self.terminal or self.held:
            return self._stopped()
        if pending.settles is not None and not pending.sent:
            return None
        if pending.expires_us and self._rules.now_us > pending.expires_us:
            return expired(pending)
        if pending.expires_us:
            self.valid_until_us = min(self.valid_until_us, pending.expires_us)
        if pending.expected_version is not None and pending.expected_version != self.version:
            return ConcurrentModificationError(
                f"{entry.key} is at version {self.version}, not {pending.expected_version}; read it and decide again",
                version=self.version,
            )
        return self._check_lease(pending)

    def _stopped(self) -> InstanceFinished | InstanceHeld | None:
        """Why the instance accepts nothing now, or None."""
        key = self.entry.key
        if self.terminal:
            status = self.state.status if self.state is not None else "?"
            return InstanceFinished(f"{key} is {status!r} and accepts nothing more", status=status)
        if self.held:
            return InstanceHeld(f"{key} is held: {self.held}. Fix the reducer, or: onex release {key}")
        return None

    def _check_lease(self, pending: Pending) -> OnexError | None:
        entry = self.entry
        if self.lease_id is None and pending.lease_id is None and pending.epoch is None:
            return None
        lease = Lease(self.lease_id, self.lease_until_us)
        given, epoch, now_us = pending.lease_id, pending.epoch, self._rules.now_us
        unleased = pending.kind in entry.workflow.unleased
        refused = command_refusal(lease, self.epoch, entry.key, pending.kind, given, epoch, now_us, unleased=unleased)
        if refused is None and given is not None:
            self.valid_until_us = min(self.valid_until_us, self.lease_until_us)
        return refused

    def _lead(self, pending: Pending, *, tried_before: bool) -> WorkflowLease:
        """Take, renew or release the lease. Who takes it must find an instance that accepts actions; it ends in any."""
        entry, now_us = self.entry, self._rules.now_us
        if pending.kind == TAKE:
            if self.unreadable is not None:
                raise self.unreadable
            if not self.version:
                raise NotFound(
                    f"{entry.key} has not begun, so nobody can lead it; submit its first action, then take the lease"
                )
            if (stopped := self._stopped()) is not None:
                raise stopped
        if pending.expires_us and now_us > pending.expires_us:
            raise expired(pending)
        assert isinstance(pending.payload, LeaseRequest) and pending.lease_id is not None, "a request names its lease"
        before = Lease(self.lease_id, self.lease_until_us)
        lease = lease_after(
            before,
            entry.key,
            pending.kind,
            pending.lease_id,
            pending.payload.duration_s,
            now_us,
            tried_before=tried_before,
        )
        for end_us in (pending.expires_us, self.lease_until_us if pending.kind != TAKE and lease != before else 0):
            if end_us:
                self.valid_until_us = min(self.valid_until_us, end_us)
        self.lease_id, self.lease_until_us = lease
        return WorkflowLease(entry.key, UUID(bytes=pending.lease_id), self.epoch, lease.until_us)

    def _timer_waits(self, pending: Pending) -> bool:
        """A status's own timer counts in that status only: one may be left of a release that did not know its name."""
        name = pending.timer
        waits = self.timers.get(name)
        if waits is None or waits[0] != pending.settles or name in self._new_timers:
            return False
        return not name.startswith("@") or (self.state is not None and name == state_timer(self.state.status))


def expired(pending: Pending) -> ActionExpiredError:
    return ActionExpiredError(f"{pending.kind!r} for {pending.key} expired before its turn came")


def internal_trigger(pending: Pending) -> InternalTrigger:
    return InternalTrigger(
        f"{pending.kind!r} is internal to {pending.key.workflow_type}: {pending.internal} brings it. If clients may send it too, "
        "list it under public: in the contract, or write public=True at its edge. "
        "An operator sends it with onex submit --as-operator",
        trigger=pending.kind,
    )
