"""Cancelling: what becomes of the open intents that a step cancelled (promise 44).

1. The fold collects names and ids. What the same batch emitted gets no outbox row at all.
2. ``Batch.build`` asks for the open intents of the instance and sorts them: one that waits is *withheld*, so that the relay does
   not start it while the commit runs, and its row is settled in this commit. One that runs is noted as cancelled in this commit.
3. After the commit a withheld one is forgotten, and one that runs is told. If the commit was not made, it may run again.

What may go wrong, and why the end is still right:

- An intent that runs ends, or fails and is to be tried again, while the commit runs. Its outcome settles the row as ever. It is
  not tried again: when it is told, it has the outcome ``cancelled`` at once.
- The answer to the commit is lost. Then none of them begins a try until a later commit was answered and the store was asked
  (``cancel_doubts``): by then the lost one stands there or never will.
- The process ends between the commit and the telling, or before the effect has stopped. The row says that it was cancelled, and
  no owner starts it again. As it may have been done, its outcome is then ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..ports import EnumOutboxState, KeyChange, Note, Pointer
from .delivery import Delivery
from .fold import Folded


class Cancelled(NamedTuple):
    """Of one change: pointers whose rows are settled with it, and those that run and are to be told."""

    withheld: tuple[Pointer, ...] = ()
    running: tuple[Pointer, ...] = ()


def sorted_open(folded: Folded, change: KeyChange, open_intents: Iterable[Delivery]) -> Cancelled:
    """Which of ``open_intents`` the steps of ``folded`` cancelled. One that its outcome settles in this very change has ended."""
    wanted, settled = frozenset(folded.cancels), frozenset(change.settled)
    found = [
        one
        for one in open_intents
        if one.pointer not in settled and (one.emitted.name in wanted or str(one.id) in wanted)
    ]
    return Cancelled(
        tuple(one.pointer for one in found if not one.taken), tuple(one.pointer for one in found if one.taken)
    )


def with_cancelled(change: KeyChange, cancelled: Cancelled) -> KeyChange:
    """The change that settles and notes them."""
    notes = tuple(Note(pointer, EnumOutboxState.CANCELLED) for pointer in cancelled.running)
    return change._replace(settled=change.settled + cancelled.withheld, notes=change.notes + notes)
