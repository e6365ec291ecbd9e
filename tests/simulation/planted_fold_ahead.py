"""Bugs in folding ahead: what was built on a commit that failed is kept, or loses its place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Set

from onex.engine.fold import Folded
from onex.engine.fold_ahead import FoldAhead, FoldedBatch
from onex.engine.mailbox import Entry
from onex.kernel.errors import CommitUnknown, TemporaryDatabaseError
from tests.simulation.planting import planted, swapped

Drop = Callable[[FoldAhead, Set[Entry]], None]


def _kept_when(failed: Callable[[BaseException | None], bool]) -> Iterator[None]:
    right: Drop = FoldAhead.drop

    def wrong(self: FoldAhead, entries: Set[Entry]) -> None:
        ran_out = all(one.valid_until_us < 2**63 for one in self._batch.folds if one.entry in entries)
        if ran_out or not failed(sys.exc_info()[1]):
            right(self, entries)

    with swapped(FoldAhead, "drop", wrong):
        yield


@planted
def folded_on_a_change_that_met_a_conflict_and_kept() -> Iterator[None]:
    yield from _kept_when(lambda error: error is None)


@planted
def folded_on_a_commit_that_was_refused_and_kept() -> Iterator[None]:
    yield from _kept_when(lambda error: isinstance(error, TemporaryDatabaseError))


@planted
def folded_on_a_commit_whose_answer_was_lost_and_kept() -> Iterator[None]:
    yield from _kept_when(lambda error: isinstance(error, CommitUnknown))


@planted
def folded_ahead_and_put_back_behind_later_ones() -> Iterator[None]:
    right: Drop = FoldAhead.drop

    def wrong(self: FoldAhead, entries: Set[Entry]) -> None:
        later = {entry: list(entry.queue) for entry in entries}
        for entry in entries:
            entry.queue.clear()
        right(self, entries)
        for entry in entries:
            entry.queue[:0] = later[entry]

    with swapped(FoldAhead, "drop", wrong):
        yield


@planted
def timer_without_a_pointer_folded_on() -> Iterator[None]:
    with swapped(Folded, "is_complete", property(lambda self: self.instance is not None)):
        yield


@planted
def lease_looked_at_when_it_is_folded_only() -> Iterator[None]:
    right: Drop = FoldAhead.drop

    def wrong(self: FoldAhead) -> FoldedBatch:
        with swapped(FoldAhead, "drop", lambda self, entries: None):
            return hand_over(self)

    hand_over = FoldAhead.hand_over
    with swapped(FoldAhead, "hand_over", wrong):
        yield
    assert FoldAhead.drop is right
