"""Bugs in cancelling intents (promise 44), planted for the simulation to find. Their runs cancel intents."""

from __future__ import annotations

from collections.abc import Iterator

import onex.engine.batch
from onex.engine.cancelling import Cancelled, with_cancelled
from onex.engine.delivery_queue import DeliveryQueue
from onex.ports import KeyChange
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
