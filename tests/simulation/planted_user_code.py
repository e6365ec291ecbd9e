"""Bugs where the code of a user is called: what it raises, gives back or ends goes further than its own row."""

from __future__ import annotations

from collections.abc import Iterator

import onex.engine.batch
from onex.engine.fold import Folded
from onex.ports import NewBlob
from tests.simulation.planting import planted, swapped


@planted
def held_outcome_without_its_bytes() -> Iterator[None]:
    """Ours until life 132 told us: what an outcome names is written only where the outcome is taken."""

    def wrong(folded: Folded) -> list[NewBlob]:
        return []

    with swapped(onex.engine.batch, "_held_blobs", wrong):
        yield
