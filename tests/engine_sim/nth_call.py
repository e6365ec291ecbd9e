"""The n-th call: a run in which exactly one call of a port fails; every call has its run.

Chance finds what goes wrong often. This finds what goes wrong at one call in a thousand, because it tries each.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from random import Random
from typing import Final

from onex.kernel.errors import CommitUnknown, EffectFailed, TemporaryDatabaseError
from onex.simulation.host import current_host
from tests.engine_sim.seeded_faults import SeededFaults

SEED: Final = 3
"""A seed whose run without a failing call uses every port, ``close`` by two orderly restarts."""
CLIENTS: Final = 4
ACTIONS: Final = 36
"""Per client. With what follows from them, a run without a failing call checks more than 200."""

SCENARIO: Final = {
    "action sent again": 0.05,
    "answer sent again": 0.05,
    "answer read again": 0.05,
    "action for one version": 0.05,
    "id used for another body": 0.03,
    "bad input": 0.04,
    "poison": 0.08,
    "burst": 0.05,
    "submitted through the inbox": 0.08,
    "control through the inbox": 0.05,
    "rollback": 0.03,
    "read from the projection": 0.10,
    "command under a lease": 0.20,
    "lease taken": 0.20,
    "effect busy": 0.10,
    "effect answers poison": 0.05,
    "effect answers then": 0.10,
    "restart": 0.08,
    "new code": 0.03,
    "redrive": 0.10,
    "release": 0.05,
}
"""What happens besides: clients and operators as in other runs, and no port fails but the one."""


FAILED: Final = "the n-th call, as the simulation had it"
OUTSIDE: Final = frozenset({"effect", "compute"})


class EnumFailure(StrEnum):
    """How the one call fails. ``LOST`` is for commits only: neither applied nor answered, and the caller cannot know."""

    REFUSED = "refused"
    UNANSWERED = "done, and not answered"
    LOST = "not done, and not answered"
    CRASH_BEFORE = "its process dies before"
    CRASH_AFTER = "its process dies after"


class Nth(SeededFaults):
    """Fails call ``nth`` (the first is 1) in this way; 0 only counts. ``calls[n - 1]`` is the port of call n."""

    def __init__(self, chance: Random, counted: Counter[str], nth: int, failure: EnumFailure) -> None:
        super().__init__(chance, counted, SCENARIO)
        self.nth, self.failure = nth, failure
        self.calls: list[str] = []
        self.struck = False
        self._peace = False

    def stop(self) -> None:
        super().stop()
        self._peace = True

    async def before(self, port: str) -> int:
        if self._peace:
            return 0
        self.calls.append(port)
        call = len(self.calls)
        if call != self.nth:
            return 0
        self.struck = True
        match self.failure:
            case EnumFailure.CRASH_BEFORE:
                await current_host().die()
            case EnumFailure.REFUSED:
                raise EffectFailed(FAILED, retryable=True) if port in OUTSIDE else TemporaryDatabaseError(FAILED)
            case EnumFailure.LOST if port == "commit":
                raise CommitUnknown(FAILED)
        return call

    async def after(self, port: str, call: int) -> None:
        if not call:
            return
        match self.failure:
            case EnumFailure.CRASH_AFTER:
                await current_host().die()
            case EnumFailure.UNANSWERED if port == "commit":
                raise CommitUnknown(FAILED)
            case EnumFailure.UNANSWERED:
                raise OSError(FAILED) if port in OUTSIDE else TemporaryDatabaseError(FAILED)
