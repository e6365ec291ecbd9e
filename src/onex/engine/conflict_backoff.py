"""Conflict backoff: what becomes of the actions of a change that the store left out, because it met another's.

An action whose id the log holds is answered from the log. The others are folded again on what the store has now. Before
that their mailbox is paused for a while, so that the order holds: what comes meanwhile queues behind.
The policy says how long (promise 10), seeded by the action: two writers that met once do not meet again at the same moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from ..kernel.errors import OnexError, StateUpdateConflictError
from ..kernel.retry import RetryPolicy
from ..ports import Clock
from .batch import Lookup
from .mailbox import FIRST_RETRY, Entry, Mailboxes
from .metrics import Latency
from .pending import Answer, Pending


class Resolution(NamedTuple):
    """Of one change that met a conflict. ``refused`` goes into the next commit, so that its record is durable before its
    answer; ``left`` is folded again."""

    answered: list[tuple[Pending, Answer]]
    refused: list[tuple[Pending, OnexError]]
    left: list[Pending]


class ConflictBackoff:
    """``first_answer`` finds what the log holds of an id; ``wake`` is called when a mailbox is open again; ``waits`` gets each."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Clock,
        mailboxes: Mailboxes,
        first_answer: Lookup,
        wake: Callable[[], None],
        waits: Latency,
    ) -> None:
        self._policy, self._clock, self._mailboxes = policy, clock, mailboxes
        self._first_answer, self._wake, self._waits = first_answer, wake, waits
        self._waiting: dict[Entry, asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    async def resolve(self, pendings: Sequence[Pending], duplicates: Set[bytes]) -> Resolution:
        """``duplicates`` are the ids that the log holds. None: version or lease was another. Raises what the store raises."""
        other_version = not duplicates
        first_answers = {one: await self._first_answer(one) for one in pendings if one.id in duplicates}
        resolution = Resolution([], [], [])
        for pending in pendings:
            # where the change was left out for one duplicate in it, that is no conflict of its other actions
            if other_version or pending in first_answers:
                self._mailboxes.count_conflict(pending)
            first = first_answers.get(pending)
            if isinstance(first, OnexError):
                resolution.refused.append((pending, first))
            elif first is not None:
                resolution.answered.append((pending, first))
            elif self._is_spent(pending):
                error = StateUpdateConflictError(
                    f"{pending.key} was changed by others each time it was tried; send it again"
                )
                resolution.answered.append((pending, error))
            else:
                resolution.left.append(pending)
        return resolution

    def _is_spent(self, pending: Pending) -> bool:
        """Whether it has had its tries. Outcomes, timers and messages are the engine's own and have no limit."""
        return pending.settles is None and self._policy.delay_s(self._conflicts(pending), pending.id) is None

    def put_back(self, entry: Entry, pendings: Sequence[Pending]) -> None:
        """To the front of the mailbox, in order, to be taken up after a wait."""
        self._mailboxes.put_back(entry, pendings)
        if pendings:
            latest = max(pendings, key=self._conflicts)
            delay_s = self._policy.delay_s(self._conflicts(latest), latest.id)
            self._mailboxes.pause(entry)
            delay_s = self._policy.max_s if delay_s is None else delay_s
            self._waits.add(delay_s)
            wait = self._wait(entry, delay_s)
            self._waiting[entry] = asyncio.create_task(wait, name="onex-backoff")

    def _conflicts(self, pending: Pending) -> int:
        return self._mailboxes.retries.get(pending, FIRST_RETRY).conflicts

    def drop(self, entries: Set[Entry]) -> None:
        """These are not waited for any more: their mailboxes are let go of."""
        for entry in [one for one in self._waiting if one in entries]:
            self._waiting.pop(entry).cancel()

    def close(self) -> None:
        for task in self._waiting.values():
            task.cancel()
        self._waiting.clear()

    async def _wait(self, entry: Entry, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        del self._waiting[entry]
        self._mailboxes.resume(entry)
        self._wake()
