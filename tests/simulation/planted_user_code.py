"""Bugs where the code of a user is called: what it raises, gives back or ends goes further than its own row."""

from __future__ import annotations

from collections.abc import Iterator

import onex.engine.batch
import onex.kernel.user_code
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


@planted
def told_exception_that_raises() -> Iterator[None]:
    """``str`` of an exception is code of the user too."""

    def wrong(error: BaseException, most: int = 2000) -> str:
        return f"{type(error).__name__}: {error}"[:most]

    with swapped(onex.kernel.user_code, "describe", wrong):
        yield


@planted
def shared_exception_keeps_every_traceback() -> Iterator[None]:
    """One object that many raise holds every frame, and every local, of all of them."""
    with swapped(onex.kernel.user_code, "_cut_earlier_raises", lambda trace: None):
        yield
