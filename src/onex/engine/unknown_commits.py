"""Unknown commits: what was in a commit whose answer was lost. It may be in the store, and nobody was answered.

The actions of such a batch go back to their mailboxes and are folded again. An action that was applied is found then by its
id, and gets its first answer. A refusal leaves no log row to be found by. Checked again, on the state that later actions of its
instance left, it could be accepted now: an action whose sender has read "refused" would be applied after all, and behind
what was sent after it. So a refusal stays valid if the change that it was written with is in the store:

- Refused within a change that has rows: the first of these rows is looked up by its action id. If it has the version
  that this change would have given it, the whole change was written, for a change is written as a whole.
- Refused with no row beside it (``row`` is None): an action of the inbox is looked up by its ticket. Its row is gone, if the
  answer was written. Of any other action nobody outside can know the first refusal: it is checked again.

Held outcomes and timers are not looked up: whether the commit was written or not, their outbox row shows it.

``written_refusals`` asks before the next batch is taken, so no action is checked twice. If the store fails while it asks, the
list stays and is asked for again. ``perhaps_applied`` is called after a later commit was answered: by then the lost one is in
the store or never will be, and those who follow changes are told to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import Applied, KeyChange, Position, Store
from .batch import Batch, CommitListener
from .mailbox import Mailboxes
from .pending import Pending


class WrittenRefusal(NamedTuple):
    """``row`` is an action that stands at ``version`` if this was written; None where only the inbox can tell."""

    pending: Pending
    error: OnexError
    row: bytes | None = None
    version: int = 0


class UnknownCommits:
    def __init__(self, store: Store, mailboxes: Mailboxes) -> None:
        self.store, self.mailboxes = store, mailboxes
        self._changes: list[KeyChange] = []
        self._refusals: list[WrittenRefusal] = []

    def add(self, batch: Batch, listener: CommitListener) -> None:
        """Nobody knows whether this batch was written."""
        listener.doubt([pointer for one in batch.cancelled.values() for pointer in one.running])
        for folded, change, refused in batch.written:
            self._changes.append(change)
            held = {note.pointer for note in folded.notes}
            row = change.rows[0].action_id if change.rows else None
            for pending, answer in refused:
                # an outcome that is held, or a timer, is judged again: its row tells what there is to know
                if isinstance(answer, OnexError) and not pending.timer and pending.settles not in held:
                    self._refusals.append(WrittenRefusal(pending, answer, row, change.based_on + 1))
        self._refusals += [
            WrittenRefusal(pending, answer)
            for pending, answer in batch.loose
            if isinstance(answer, OnexError) and not pending.timer
        ]

    def drop(self, is_gone: Callable[[WorkflowKey], bool]) -> None:
        """Of these instances nothing is looked up any more: they are another's, and nobody here waits for an answer."""
        self._changes = [change for change in self._changes if not is_gone(change.key)]
        self._refusals = [one for one in self._refusals if not is_gone(one.pending.key)]

    async def written_refusals(self) -> list[tuple[Pending, OnexError]]:
        """The refusals that were written: they are answers now, and wait no more. Raises what the store raises; ask again."""
        found = [one for one in self._refusals if await self._is_written(one)]
        self._refusals.clear()
        for one in found:
            self.mailboxes.withdraw(one.pending)
        return [(one.pending, one.error) for one in found]

    async def _is_written(self, one: WrittenRefusal) -> bool:
        pending = one.pending
        if one.row is not None:
            entry = await self.store.applied(pending.key, one.row)
            return entry is not None and entry.version == one.version
        if not pending.ticket:
            return False
        rows = await self.store.inbox(pending.ticket - 1, 1)
        return not any(row.ticket == pending.ticket for row in rows)

    def perhaps_applied(self) -> list[tuple[KeyChange, Applied]]:
        """After a later commit was answered: what may have been applied unnoticed, and is in the store by now or never will be."""
        changes, self._changes = self._changes, []
        return [(change, Applied(change.instance or 0, Position(0, 0))) for change in changes]
