"""A demo that stays: when all is proved, an engine goes on for who looks at the page, until Ctrl-C.

``stayed`` runs a trial that goes on from another one. New orders come, so that there is something to see; after ORDERS of them it
is quiet, and the store does not grow without end. The first Ctrl-C lets what is due end; a second one ends at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from itertools import islice
from typing import Final

from .living import EVERY_S, more_orders
from .trial import Trial, TrialResult

ORDERS: Final = 100


class Told:
    """Tells of kills. The work of a stay has no end that progress could count to."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def seen(self, effects: int) -> None:
        """Nothing: the page shows it."""

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None:
        self._say(f"killed the engine, as the page asked, at {effects:,} effects seen; restarting")


async def stayed(trial: Trial) -> TrialResult:
    """Raises EngineEnded, InputRefused."""
    loop = asyncio.get_running_loop()

    def enough() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        feeding.cancel()
        trial.end()

    feeding = asyncio.create_task(_feed(trial))
    loop.add_signal_handler(signal.SIGINT, enough)
    try:
        return await trial.run()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        feeding.cancel()


async def _feed(trial: Trial) -> None:
    if not trial.workload.made_of:
        return
    for order in islice(more_orders(len(trial.workload.inputs)), ORDERS):
        await asyncio.sleep(EVERY_S)
        trial.take((order,))
