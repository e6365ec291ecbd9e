"""Dedup: an action that was applied before gets its first answer again (promise 6).

The log is the record of what was applied: it is asked by the action's id. So this holds over every crash and every change of owner,
for as long as the log keeps the row.
"""

from __future__ import annotations

from ..ports import Store
from .batch import committed_of
from .metrics import Counters
from .pending import Answer, Pending


class FirstAnswers:
    """Those of one store. ``counters.duplicates`` counts those that were found."""

    def __init__(self, store: Store, counters: Counters) -> None:
        self._store, self._counters = store, counters

    async def __call__(self, pending: Pending) -> Answer | None:
        """The first answer of this id; DuplicateActionError if its body was another; None if the log does not have it."""
        entry = await self._store.applied(pending.key, pending.id)
        if entry is None:
            return None
        if not pending.is_of(entry.row):
            return pending.reused()
        self._counters.duplicates += 1
        return committed_of(entry, duplicate=True)
