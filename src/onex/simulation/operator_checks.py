"""What an operator is answered and finds in the store.

A release that was answered is written. A dead intent that is re-driven starts at attempt 1. A refusal stands under the
sender's key and counts how often it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from ..adapters.store_limits import storable
from ..kernel.action import WorkflowKey
from ..ports import Commit, EnumOutboxState, KeyChange, Pointer, Rejection, RejectionRow
from .sim_store import SimStore


class OperatorChecks:
    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self._written: Counter[WorkflowKey] = Counter()
        self._dead: set[Pointer] = set()
        self.crashes: dict[Pointer, int] = {}
        """Of each waiting row, how many processes it has taken with it."""
        self.on_refused: Callable[[Rejection], None] = lambda one: None
        self._refused: Counter[tuple[str, bytes, str]] = Counter()

    def committed(self, commit: Commit, applied: Sequence[KeyChange]) -> None:
        """A commit, and those of its changes that were applied."""
        self._written.update(change.key for change in applied)
        notes = (*commit.notes, *(note for change in applied for note in change.notes))
        # after a lost answer all of them are written again: of one row the last one counts
        for note in {note.pointer: note for note in notes}.values():
            if note.state is EnumOutboxState.DEAD:
                self._dead.add(note.pointer)
                self.crashes.pop(note.pointer, None)
            elif note.pointer in self._dead:
                self._dead.discard(note.pointer)
                if note.attempt > 1:
                    self.violated(f"{note.pointer} was dead, and is driven again from attempt {note.attempt}")
            elif note.state is EnumOutboxState.WAITING:
                before = self.crashes.get(note.pointer, 0)
                if note.crashes < before:
                    self.violated(f"{note.pointer} was running at {before} crashes, and then at {note.crashes}")
                self.crashes[note.pointer] = note.crashes
        refused = (*commit.rejections, *(one for change in applied for one in change.rejections))
        for one in refused:
            self.on_refused(one)
        self._refused.update((one.key, one.action_id, one.code) for one in map(storable, refused))

    async def release(self, truth: SimStore, key: WorkflowKey, release: Callable[[], Awaitable[None]]) -> None:
        """Of an instance that is held it is a commit, which is durable before anybody is told. Raises what ``release`` raises."""
        before = self._written[key]
        stored = (await truth.load([key])).get(key)
        await release()
        if stored is not None and stored.held and self._written[key] == before:
            self.violated(f"release of {key} was answered, and nothing was written")

    def check(self, rows: Sequence[RejectionRow]) -> None:
        """Every rejection there is, at the end."""
        for row in rows:
            times = self._refused[row.key, row.action_id, row.code]
            if row.times != times:
                self.violated(f"{row.key} refused {row.action_id.hex()} {times} times, and its row says {row.times}")
            if not row.key or row.key.startswith(":"):
                self.violated(f"a refusal with {row.code} stands under {row.key!r}, which nobody sent")
