"""Bugs in cancelling intents (promise 44), by a step and by the end of an instance, planted for the simulation to find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import onex.engine.batch
from onex.engine.cancelling import Cancelled, is_end, sorted_open, with_cancelled
from onex.engine.delivery import Delivery
from onex.engine.delivery_queue import DeliveryQueue
from onex.engine.fold import Folded
from onex.kernel.intent import Emitted
from onex.ports import KeyChange, NewIntent
from tests.simulation.planting import planted, swapped


@planted
def cancelled_intent_started_while_that_is_committed() -> Iterator[None]:
    """What waits is settled by the commit, and nothing keeps the relay from starting it meanwhile."""
    with swapped(DeliveryQueue, "withhold", lambda self, pointers: None):
        yield


@planted
def cancelled_only_in_memory() -> Iterator[None]:
    """What runs is told, but its row does not say so: after a crash the next owner runs it again."""

    def wrong(change: KeyChange, cancelled: Cancelled) -> KeyChange:
        return with_cancelled(change, cancelled._replace(running=()))

    with swapped(onex.engine.batch, "with_cancelled", wrong):
        yield


@planted
def cancelled_intent_keeps_its_row() -> Iterator[None]:
    """What waits is forgotten in memory, and stays in the store."""

    def wrong(change: KeyChange, cancelled: Cancelled) -> KeyChange:
        return with_cancelled(change, cancelled._replace(withheld=()))

    with swapped(onex.engine.batch, "with_cancelled", wrong):
        yield


@planted
def end_of_an_instance_cancels_nothing() -> Iterator[None]:
    """What waits in the store is left to run."""

    def wrong(change: KeyChange) -> bool:
        return False

    with swapped(onex.engine.batch, "is_end", wrong):
        yield


@planted
def end_of_an_instance_cancels_what_is_detached() -> Iterator[None]:
    def wrong(folded: Folded, change: KeyChange, open_intents: Iterable[Delivery]) -> Cancelled:
        open_intents = list(open_intents)
        cancelled = sorted_open(folded, change, open_intents)
        if not is_end(change):
            return cancelled
        waits = tuple(one.pointer for one in open_intents if not one.taken and one.pointer not in change.settled)
        return cancelled._replace(withheld=waits)

    with swapped(onex.engine.batch, "sorted_open", wrong):
        yield


@planted
def end_of_an_instance_settles_what_runs() -> Iterator[None]:
    """It runs, and its row is gone: nobody would take its outcome, or run it again after a crash."""

    def wrong(folded: Folded, change: KeyChange, open_intents: Iterable[Delivery]) -> Cancelled:
        if is_end(change):
            open_intents = [replace(one, taken=False) for one in open_intents]
        return sorted_open(folded, change, open_intents)

    with swapped(onex.engine.batch, "sorted_open", wrong):
        yield


@planted
def end_of_an_instance_tells_what_runs() -> Iterator[None]:
    def wrong(folded: Folded, change: KeyChange, open_intents: Iterable[Delivery]) -> Cancelled:
        open_intents = list(open_intents)
        cancelled = sorted_open(folded, change, open_intents)
        if not is_end(change):
            return cancelled
        runs = tuple(one.pointer for one in open_intents if one.taken and one.pointer not in change.settled)
        return cancelled._replace(running=runs)

    with swapped(onex.engine.batch, "sorted_open", wrong):
        yield


@planted
def end_of_an_instance_leaves_what_its_batch_emitted() -> Iterator[None]:
    with swapped(Folded, "_drop_waiting", lambda self: None):
        yield


@planted
def end_of_an_instance_takes_back_its_last_step() -> Iterator[None]:
    """A farewell is taken for something that waits."""
    right = Folded._queue_intents

    def wrong(self: Folded, row: int, emitted: tuple[Emitted, ...], terminal: bool) -> tuple[NewIntent, ...]:
        queued = right(self, row, emitted, terminal)
        return () if terminal else queued

    with swapped(Folded, "_queue_intents", wrong):
        yield


@planted
def end_of_an_instance_sees_memory_only() -> Iterator[None]:
    """What memory had no room for stays in the store, and is run later."""
    with swapped(DeliveryQueue, "holds_all_of", lambda self, key: True):
        yield
