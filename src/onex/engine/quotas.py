"""Quotas of a step: what one instance may hold, judged when a step would take more (``kernel/quota.py``).

The state is judged by the bytes of the step. The intents that are open are counted in memory, and that count is never too low:

- A fold adds what its steps emit and takes off what they settle. What ends otherwise (an effect without outcomes, a cancelled or
  dead intent) is not taken off.
- So before a step is refused, the rows are counted in the store (``count_open``), once per fold. Nothing of the instance is being
  committed then: one with this quota is not folded behind its own commit (``Folded.is_complete``).
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
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..ports import EnumOutboxState, Pointer, Reader

CountOpen = Callable[[WorkflowKey], Awaitable[int]]

OPEN = (EnumOutboxState.WAITING, EnumOutboxState.HELD)
PAGE = 1000
TIMER = EnumIntentType.TIMER


class CountOpenIntents(Exception):
    """No error: the step may go beyond ``pending_intents``, and the rows are to be counted first. It never leaves the fold."""


class QuotaUse:
    """What one instance has of its quotas, as its mailbox knows. ``full_at_s`` is its rate's (``kernel.quota.admit``)."""

    __slots__ = ("_counted", "_open", "full_at_s", "limits")

    def __init__(self, limits: ResourceLimits) -> None:
        self.limits = limits
        self.full_at_s = 0.0
        self._open: int | None = None
        self._counted = False

    def loaded(self, version: int, open_intents: int | None = None) -> None:
        """The instance was read from the store, at ``version``; and its open intents, if they were counted."""
        self._open = open_intents if version else 0
        self._counted = self._open is not None

    def folded(self, added: int) -> None:
        """A fold has come to its end, and is to be committed."""
        self._open = None if self._open is None else self._open + added
        self._counted = False

    def added(self, emitted: Sequence[Emitted], *, settles: bool) -> int:
        """How many more intents are open after a step; 0 where nobody counts. Timers are few: each has its name once."""
        if self.limits.pending_intents is None:
            return 0
        return sum([one.spec.kind != TIMER and one.spec is not CANCELLING for one in emitted]) - settles

    def check_state(self, key: WorkflowKey, kind: str, before: int, after: int) -> None:
        """Bytes of the state. Raises QuotaExceeded."""
        most = self.limits.state_bytes
        if most is not None and after > most and after > before:
            raise QuotaExceeded(
                f"the state of {key} would have {after} bytes after {kind!r}; its quota is {most}. Keep large data in a Blob, or "
                "raise state_bytes under resource_limits",
                quota="state_bytes",
                limit=most,
            )

    def check_open(self, key: WorkflowKey, kind: str, before: int, added: int) -> None:
        """``before``: added by earlier steps of the same fold. Raises QuotaExceeded, CountOpenIntents."""
        most = self.limits.pending_intents
        if most is None or added <= 0:
            return
        if self._open is None or (self._open + before + added > most and not self._counted):
            raise CountOpenIntents
        if self._open + before + added > most:
            raise QuotaExceeded(
                f"{key} has {self._open + before} open intents, and {kind!r} would leave {self._open + before + added}; its quota "
                f"is {most}. Wait until some have ended, or raise pending_intents under resource_limits",
                quota="pending_intents",
                limit=most,
            )


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
