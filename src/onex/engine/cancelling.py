"""Cancelling: what becomes of the open intents that a step cancelled, or that were left when their instance ended (promise 44).

1. The fold collects names and ids. What the same batch emitted gets no outbox row at all.
2. ``Batch.build`` asks for the open intents of the instance and sorts them: one that waits is *withheld*, so that the relay does
   not start it while the commit runs, and its row is settled in this commit. One that runs is noted as cancelled in this commit.
3. After the commit a withheld one is forgotten, and one that runs is told. If the commit was not made, it may run again.

A step that enters a terminal status cancels what waits of earlier steps, unless the contract calls it detached. Nothing in the log
says so: the row shows the status, and no outcome comes after it. What runs then goes on, untold. An open intent is always of an
earlier step, since those of the step itself have no row before the commit.

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


NONE_CANCELLED = Cancelled()


def is_end(change: KeyChange) -> bool:
    """Whether one of its rows enters a terminal status, and the instance was there before. No row comes after that one."""
    return change.terminal and change.based_on > 0 and bool(change.rows)


def sorted_open(folded: Folded, change: KeyChange, open_intents: Iterable[Delivery]) -> Cancelled:
    """Which of ``open_intents`` the steps of ``folded`` cancelled. One that its outcome settles in this very change has ended."""
    settled = frozenset(change.settled)
    left = [one for one in open_intents if one.pointer not in settled]
    if not left:
        return NONE_CANCELLED
    wanted, ends = frozenset(folded.cancels), is_end(change)
    named = {one.pointer for one in left if wanted and (one.emitted.name in wanted or str(one.id) in wanted)}
    return Cancelled(
        tuple(
            one.pointer
            for one in left
            if not one.taken and (one.pointer in named or (ends and not one.emitted.spec.detached))
        ),
        tuple(one.pointer for one in left if one.taken and one.pointer in named),
    )


def with_cancelled(change: KeyChange, cancelled: Cancelled) -> KeyChange:
    """The change that settles and notes them."""
    notes = tuple(Note(pointer, EnumOutboxState.CANCELLED) for pointer in cancelled.running)
    return change._replace(settled=change.settled + cancelled.withheld, notes=change.notes + notes)
