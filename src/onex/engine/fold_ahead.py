"""Fold ahead: the actions of the next batch are taken and folded while the batch before it commits.

Without it one core would wait for the store, and the store for that core. At most one batch is ahead: it is folded on the states
that the batch before it left in memory, it is committed after that one, and nobody is answered before.

What is folded while a commit runs:

- An instance that is not in that commit: always.
- An instance that is in it: only where the fold before knows all that the next one needs. A new instance has no number yet, and
  a timer that was just set has no pointer yet: both are drawn by the commit. Where a lease has ended, or actions are to be
  folded again, memory is not what the store will hold. Such an instance waits for the end of the commit (``Folded.is_complete``).

``fill`` takes a few actions at a time, so that callers, effects and the end of the commit are served between two of them. An
instance has one fold per batch: what comes for it after that waits for the batch behind.

What may go wrong, and why the end is still right:

- The commit leaves a change out, or all of them, or its answer is lost: what was folded on these states goes back to the front
  of its mailbox (``drop``), before the actions of the commit itself do. So the order stays, and all is folded again on what
  the store has. What was folded on other instances stays.
- The store fails while an instance is loaded: what was taken goes back. While a commit runs the error is dropped, since the
  next batch asks again. A real Ctrl-C in user code is kept and raised when the commit has its answer.
- The engine's own fault in a fold is looked for by loading the instance anew. During a commit it may be in that commit, and the
  store is behind: then its actions go back too, and it is folded when the commit is over.
- Open intents are to be counted for a quota: the instance waits for the end of the commit, as above.
- A lease, or an action that may wait only so long, ends between the fold and the commit: it is judged again (``hand_over``).
- Actions that were running when a process ended are judged one by one (``crash_counts``): then nothing is folded ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from typing import NamedTuple

from ..ports import Applied, Clock, Conflict, Interpreter
from .batch import Batch
from .fold import Folded
from .isolate import FaultIsolation, Taken
from .mailbox import Entry, Mailboxes
from .pending import Pending

AT_ONCE = 64
"""Actions that are folded in one turn of the event loop."""
WHOLE = 128
"""So many are committed together. Of more that wait half is left, to be folded while the first half commits."""


class FoldedBatch(NamedTuple):
    """``at_us``: all of it was judged at that time or before. ``releasing`` are the instances whose hold ends with this batch."""

    taken: Taken
    folds: list[Folded]
    releasing: list[Entry]
    at_us: int = 0


class FoldAhead:
    """The batch in the making. ``most`` actions at most."""

    def __init__(
        self,
        isolation: FaultIsolation,
        mailboxes: Mailboxes,
        clock: Clock,
        most: int,
        interpreter: Interpreter | None = None,
    ) -> None:
        self._isolation, self._mailboxes, self._clock, self._most = isolation, mailboxes, clock, most
        self._interpreter = interpreter
        self._batch = FoldedBatch([], [], [])
        self._actions = 0
        self._judged_us = 0
        self._entries: set[Entry] = set()
        self._blocked: set[Entry] = set()
        self._stopped = False
        self._interrupt: BaseException | None = None

    def __bool__(self) -> bool:
        return bool(self._entries) or self._interrupt is not None

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries

    async def fill(self, waiting: int) -> None:
        """Take and fold for a commit that can begin at once. ``waiting`` actions wait. Raises what the store raises."""
        if self._interrupt is not None:
            raise self._interrupt
        self._blocked, self._stopped = set(), False
        room = min(self._most, max(WHOLE, waiting // 2))
        while self._actions < room and await self._fold(min(AT_ONCE, room - self._actions)):
            pass

    def hand_over(self) -> FoldedBatch:
        """What was folded, to be committed now. What has run out meanwhile stays: it waits to be judged again."""
        at_us = max(self._clock.now_us(), self._judged_us)  # a clock may have been set back
        self.drop({folded.entry for folded in self._batch.folds if folded.valid_until_us < at_us})
        batch, self._batch = self._batch._replace(at_us=at_us), FoldedBatch([], [], [])
        self._actions, self._judged_us, self._entries = 0, 0, set()
        return batch

    async def fill_behind(
        self, batch: Batch, committing: asyncio.Future[Sequence[Applied | Conflict]], wake: asyncio.Event
    ) -> Sequence[Applied | Conflict]:
        """Take and fold for the commit behind ``batch``, a few actions at a time, until that one has its answer: the result.

        ``wake`` is set when an action comes, and at the end of the commit. Raises what the store raises, and CancelledError.
        """
        committing.add_done_callback(lambda _: wake.set())
        try:
            await self._fill_until(batch, committing, wake)
        except BaseException:
            committing.cancel()
            raise
        return committing.result()

    async def _fill_until(
        self, batch: Batch, committing: asyncio.Future[Sequence[Applied | Conflict]], wake: asyncio.Event
    ) -> None:
        self._blocked = {folded.entry for folded in batch.folds if not folded.is_complete}
        self._blocked.update([folded.entry for folded in batch.left_out])
        self._stopped = self._isolation.looks_for_crashes
        await asyncio.sleep(0)  # the store begins
        while not committing.done():
            wake.clear()
            if self._interpreter is not None:
                self._interpreter.give_way()
            await (asyncio.sleep(0) if await self._fold_some() else wake.wait())

    async def _fold_some(self) -> bool:
        """False if nothing could be folded."""
        if self._stopped or self._actions >= self._most:
            return False
        try:
            room = self._most - self._actions
            # an instance is folded once per batch: where it is the only one, all that has come for it goes along
            return await self._fold(room if self._mailboxes.is_one_ready else min(AT_ONCE, room), behind=True)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._stopped = True
            if not isinstance(error, Exception):
                self._interrupt = error
            return False

    def drop(self, entries: Set[Entry]) -> None:
        """What was folded for these was built on states that the store does not have: it waits again, at the front."""
        if self._entries.isdisjoint(entries):
            return
        taken, folds, releasing, _ = self._batch
        for entry, pendings in reversed(taken):  # each goes to the front, so the last comes first
            if entry in entries:
                self._put_back(entry, pendings, entry in releasing)
        kept = [one for one in taken if one[0] not in entries]
        self._batch = FoldedBatch(
            kept,
            [folded for folded in folds if folded.entry not in entries],
            [entry for entry in releasing if entry not in entries],
        )
        self._entries = {entry for entry, _ in kept}
        self._actions = sum([len(pendings) for _, pendings in kept])

    def drop_all(self) -> None:
        self.drop(self._entries)

    async def _fold(self, room: int, *, behind: bool = False) -> bool:
        taken, refusals = self._isolation.take(room, self._entries | self._blocked)
        if not taken:
            return False
        releasing = [entry for entry, _ in taken if entry.release]
        now_us = self._clock.now_us()
        try:
            released, folds = await self._isolation.fold(
                taken, refusals, now_us, postponed=self._blocked if behind else None
            )
        except BaseException:
            for entry, pendings in reversed(taken):
                self._put_back(entry, pendings, entry in releasing)
            raise
        self._judged_us = max(self._judged_us, now_us)
        self._batch.taken.extend(taken)
        self._batch.folds.extend(folds)
        self._batch.releasing.extend(released)
        self._entries.update([entry for entry, _ in taken])
        self._actions += sum([len(pendings) for _, pendings in taken])
        return True

    def _put_back(self, entry: Entry, pendings: list[Pending], release: bool) -> None:
        entry.release = entry.release or release
        self._mailboxes.put_back(entry, pendings)
