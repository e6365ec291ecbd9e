"""Doubt: what was in commits whose answer was lost. It may stand in the store without anybody having been told.

An action that was applied is found by its id. A refusal leaves nothing to be found by, and judged again, on the state that
its own neighbours have left, it could turn into its opposite: an action refused and answered so in the inbox would be applied
after all, and behind what was sent after it. So a refusal stands when what it was written with stands.
"""

from __future__ import annotations

from typing import NamedTuple

from ..kernel.errors import OnexError
from ..ports import Applied, KeyChange, Position, Store
from .batch import Batch
from .mailbox import Mailboxes, Pending


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

    def add(self, batch: Batch) -> None:
        """Nobody knows whether this batch was written."""
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
