"""Admission: what may come in, before it waits in a mailbox. Whoever is refused here is told at once when to try again.

Two reasons, and neither is about what the action says:

- The queue of the engine is full, or its store takes no commits (``room_for``). Its last places are not for an instance that
  holds half of all that waits: so an instance that is flooded is refused, and its neighbours still find room.
- The instance has had more actions than its type allows a second (``ResourceLimits.actions_per_s``).

Outcomes, timers and messages of other instances are never refused here, and take nothing from a rate: each is the end of an
outbox row, and refusing it would lose it or keep it for ever. What limits those is ``pending_intents``. An operator and an
orchestrator that asks for the lease are not counted either: they are who stops an instance that runs away.

Rates are counted in memory, from the Clock port. An instance that was let go of, and one that another owner took over, begins
with none used: too much by a burst once, and nothing is written for a counter. A refusal is counted, not stored (promise 16), and
told once a minute with the name of its instance. An action that turns out to have been applied before gives back what it took.
"""

from __future__ import annotations

from ..kernel.errors import OnexError, Overloaded
from ..kernel.lease import LeaseRequest
from .arguments import OPERATOR
from .labelled_counts import LabelledCounts
from .limits import Limits
from .log_tail import ChangeSignal
from .mailbox import Entry
from .metrics import Counters, Events
from .pending import Pending
from .shard_handover import ShardHandover

STALLED_AFTER = 5
FULL_AGAIN_S = 0.05
FOR_OTHERS = 1024
"""So many places of a full queue are kept from an instance that holds half of it."""


def takes_from_rate(pending: Pending) -> bool:
    """Whether it is an action of a client's, and not what the engine or an operator does."""
    if pending.settles is not None or pending.sent or pending.issuer.startswith(OPERATOR):
        return False
    return pending.payload.__class__ is not LeaseRequest


class Admission(ShardHandover):
    """The part of the writer that says no at the door."""

    limits: Limits
    counters: Counters
    events: Events
    labelled: LabelledCounts | None = None
    _waiting: int
    _failures: int
    _answered: ChangeSignal

    def room_for(self, actions: int, share: int = 0) -> None:
        """Raises Overloaded, unless so many more may wait. ``share``: room for the inbox only, so that callers cannot take it."""
        stalled = self._failures >= STALLED_AFTER
        if stalled or self._waiting + actions > self.limits.waiting + share:
            self.counters.overloaded += 1
            why = "the store takes no commits" if stalled else f"at most {self.limits.waiting} may"
            raise Overloaded(
                f"{self._waiting} actions wait to become durable, and {actions} more came: {why}. "
                "Nothing of this call was accepted; try again",
                retry_after_s=FULL_AGAIN_S,
            )

    async def room(self) -> None:
        """Returns when one more of the inbox may wait, or when the engine is closed. Raises nothing."""
        most = self.limits.waiting + self.limits.batch
        while self.closed is None and (self._failures >= STALLED_AFTER or self._waiting >= most):
            await self._answered.wait(self._answered.count)

    def _over_share(self, entry: Entry, pending: Pending) -> Overloaded | None:
        """Why this instance has had enough for now, or None; then it is counted."""
        if pending.settles is not None or pending.sent:
            return None
        held = len(entry.inflight)
        if self._waiting >= max(self.limits.waiting - FOR_OTHERS, FOR_OTHERS) and held * 2 > self._waiting:
            return Overloaded(
                f"{held} of the {self._waiting} actions that wait are for {entry.key}; the last {FOR_OTHERS} places are for "
                "other instances. Send them more slowly, or split the instance",
                retry_after_s=FULL_AGAIN_S,
            )
        if entry.use is None or not takes_from_rate(pending):
            return None
        wait_s = entry.use.wait_s(pending.accepted_s)
        if not wait_s:
            return None
        if refused := entry.use.refused_to_tell(pending.accepted_s):
            self.events("over_rate", key=str(entry.key), limit=entry.use.limits.actions_per_s, refused=refused)
        return Overloaded(
            f"{entry.key} takes {entry.use.limits.actions_per_s:g} actions a second (resource_limits); this one came too early. "
            f"Send it again in {wait_s:.3f} s",
            retry_after_s=wait_s,
            quota="actions_per_s",
        )

    def _turn_away(self, pending: Pending, error: OnexError) -> Pending:
        """Answered at once, so that it takes no room. A row of the inbox needs a durable answer: that goes with the next commit."""
        if "quota" in error.context:
            self.counters.over_rate += 1
        else:
            self.counters.overloaded += 1
        self._waiting += 1
        if pending.ticket:
            self._extras.refused.append((pending, error))
            self._wake_writer()
        else:
            self._resolve([(pending, error)])
        return pending
