"""Quotas of a step: what one instance may hold, judged when a step would take more (``kernel/quota.py``).

The state is judged by the bytes of the step. The intents that are open are counted in memory, and that count is never too low:

- A fold adds what its steps emit and takes off what they settle. What ends otherwise (an effect without outcomes, a cancelled or
  dead intent) is not taken off.
- So before a step is refused, the rows are counted in the store (``count_open``), once per fold, while nothing is being committed.
  A fold that is made ahead, beside a commit, is given up for it, and made again when that is over.
- An instance that was just loaded has no count yet. It is counted when one of its steps first emits something.

A step that makes things no worse passes, so that an instance over a quota that was lowered can still get below it. So does one
that ends the instance. What settles an outbox row (an outcome, a timer) is held in it and delivered again after ``onex release``
or under new code: a quota loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ..kernel.action import WorkflowKey
from ..kernel.errors import QuotaExceeded
from ..kernel.intent import CANCELLING, Emitted, EnumIntentType
from ..kernel.quota import NO_LIMITS, ResourceLimits, admit, rate
from ..ports import EnumOutboxState, Pointer, Reader

CountOpen = Callable[[WorkflowKey], Awaitable[int]]

OPEN = (EnumOutboxState.WAITING, EnumOutboxState.HELD)
PAGE = 1000
SPREAD_S = 2.0
TOLD_S = 60.0
TIMER = EnumIntentType.TIMER


class CountOpenIntents(Exception):
    """No error: the step may go beyond ``pending_intents``, and the rows are to be counted first. It never leaves the fold."""


class QuotaUse:
    """What one instance has of its quotas, as its mailbox knows. ``_full_at_s`` is its rate's (``kernel.quota.admit``)."""

    __slots__ = ("_counted", "_full_at_s", "_open", "_rate", "_refused", "_told_s", "_turned_away", "limits")

    def __init__(self, limits: ResourceLimits) -> None:
        self.limits = limits
        self._rate = None if limits.actions_per_s is None else rate(limits.actions_per_s)
        self._full_at_s, self._turned_away = 0.0, 0
        self._refused, self._told_s = 0, -TOLD_S
        self._open: int | None = None
        self._counted = False

    def wait_s(self, now_s: float) -> float:
        """0.0: one more action is taken now. Else so many seconds until it is worth to come again.

        Of many that were refused each is told another moment, a token apart, within ``SPREAD_S``. Told the same, they would all
        come back at once, one would pass, and being refused is work too.
        """
        if self._rate is None:
            return 0.0
        self._full_at_s, wait_s = admit(self._full_at_s, now_s, self._rate)
        if not wait_s:
            if self._turned_away:
                self._turned_away -= 1
            return 0.0
        moment = self._turned_away % max(1, round(SPREAD_S / self._rate.token_s))
        self._turned_away += 1
        return wait_s + moment * self._rate.token_s

    def give_back(self) -> None:
        """An action that was let in was applied before: it takes nothing from the rate."""
        if self._rate is not None:
            self._full_at_s -= self._rate.token_s

    def refused_to_tell(self, now_s: float) -> int:
        """One more was refused for its rate. How many are to be told of now: some once a minute, 0 in between."""
        self._refused += 1
        if now_s - self._told_s < TOLD_S:
            return 0
        refused, self._refused, self._told_s = self._refused, 0, now_s
        return refused

    def loaded(self, version: int, open_intents: int | None = None) -> None:
        """The instance was read from the store, at ``version``; and its open intents, if they were counted."""
        self._open = open_intents if version else 0
        self._counted = self._open is not None

    def folded(self, added: int) -> None:
        """A fold has come to its end, and is to be committed."""
        self._open = None if self._open is None else self._open + added
        self._counted = False

    def check_step(
        self, key: WorkflowKey, kind: str, state: tuple[int, int], emitted: Sequence[Emitted], earlier: int,
        *, settles: bool, ends: bool,
    ) -> int:  # fmt: skip
        """How many more intents are open after a step; 0 where nobody counts. Timers are few: each has its name once.

        ``state``: its bytes before and after. ``earlier``: added by the steps before in the same fold. Raises QuotaExceeded,
        CountOpenIntents.
        """
        limits = self.limits
        before, after = state
        if limits.state_bytes is not None and after > limits.state_bytes and after > before:
            raise QuotaExceeded(
                f"the state of {key} would have {after} bytes after {kind!r}; its quota is {limits.state_bytes}. Keep large data "
                "in a Blob, or raise state_bytes under resource_limits",
                quota="state_bytes",
                limit=limits.state_bytes,
            )
        most = limits.pending_intents
        if most is None:
            return 0
        added = -1 if settles else 0
        for one in emitted:
            if one.spec.kind != TIMER and one.spec is not CANCELLING:
                added += 1
        if added > 0 and not ends and (self._open is None or self._open + earlier + added > most):
            if self._open is None or not self._counted:
                raise CountOpenIntents
            raise QuotaExceeded(
                f"{key} has {self._open + earlier} open intents, and {kind!r} would leave {self._open + earlier + added}; its "
                f"quota is {most}. Wait until some have ended, or raise pending_intents under resource_limits",
                quota="pending_intents",
                limit=most,
            )
        return added


def quota_use(limits: ResourceLimits) -> QuotaUse | None:
    """None for a type without quotas."""
    return None if limits is NO_LIMITS else QuotaUse(limits)


async def count_open(reader: Reader, key: WorkflowKey) -> int:
    """Intents of the instance that wait, run or are held, timers aside. Raises what the store raises."""
    count = 0
    after: Pointer | None = None
    while True:
        rows = await reader.outbox(OPEN, key, after, PAGE)
        count += sum([not row.timer for row in rows])
        if len(rows) < PAGE:
            return count
        after = rows[-1].pointer
