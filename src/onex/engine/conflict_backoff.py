"""Backoff: an instance whose commit met another's waits its turn out, with its mailbox shut, so that its order holds.

How long says the policy (promise 10), seeded by the action: two writers that met once do not meet again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..kernel.retry import RetryPolicy
from ..ports import Clock
from .mailbox import FIRST_RETRY, Entry, Mailboxes, Pending


class ConflictBackoff:
    """``stir`` is called when a mailbox is open again."""

    def __init__(self, policy: RetryPolicy, clock: Clock, mailboxes: Mailboxes, stir: Callable[[], None]) -> None:
        self._policy, self._clock, self._mailboxes, self._stir = policy, clock, mailboxes, stir
        self._waiting: dict[Entry, asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def is_spent(self, pending: Pending) -> bool:
        """Whether it has had its tries. Outcomes, timers and messages are ours, and go on until they are judged."""
        return pending.settles is None and self._policy.delay_s(self._conflicts(pending), pending.id) is None

    def put_back(self, entry: Entry, pendings: Sequence[Pending]) -> None:
        """To the front of the mailbox, in order, to be taken up after a wait."""
        self._mailboxes.put_back(entry, pendings)
        if pendings:
            latest = max(pendings, key=self._conflicts)
            delay_s = self._policy.delay_s(self._conflicts(latest), latest.id)
            self._mailboxes.pause(entry)
            wait = self._wait(entry, self._policy.max_s if delay_s is None else delay_s)
            self._waiting[entry] = asyncio.create_task(wait, name="onex-backoff")

    def _conflicts(self, pending: Pending) -> int:
        return self._mailboxes.retries.get(pending, FIRST_RETRY).conflicts

    def close(self) -> None:
        for task in self._waiting.values():
            task.cancel()
        self._waiting.clear()

    async def _wait(self, entry: Entry, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        del self._waiting[entry]
        self._mailboxes.resume(entry)
        self._stir()
