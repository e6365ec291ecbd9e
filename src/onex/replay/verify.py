"""Verify: what a store says against itself, found without any code of the app. It reads only.

Three looks, in this order:

1. The store's own checks (``damaged``): types, references both ways, chains of rows, counts, positions without a gap, pages.
2. Checksums of rows, and digests of blobs. They cover each row of the log, each state and each kept state.
3. A replay with no code at hand. Nothing is folded; the order of rows is compared, and each state hash is made again
   where the state behind it is stored: at kept states, at each change of code, and at the end.

What is not covered: values that say nothing of what was decided. These are times of bookkeeping (``updated_us``, ``at_us``), the
counters of tries in the outbox, held results, failures and the hold of an instance, its lease, rejections, attempts, the inbox,
rows of projections (they are made of the log), the environments, and a code's version.

A checksum finds damage and no forger, who would write the checksum too. A forger who changes the log must make every later hash
again; ``onex replay`` with the app's code finds whoever did not.

An engine may write meanwhile. Rows that are there do not change, and each check sees one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..engine.refold import Recorded
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..records import Damage
from .replay import Replay
from .verdict import EnumReplayVerdict

RESTORE = (
    "restore a backup (onex restore), on PostgreSQL by pg_restore, or let this instance be and ask onex replay from which version "
    "on it differs"
)
RESTORE_STORE = "stop its engines, keep a copy of it, and restore a backup: onex restore, or pg_restore on PostgreSQL"
KEPT = 1000


class Verifiable(Recorded, Protocol):
    """What is asked of a recorded run."""

    async def damaged(self, part: int) -> Sequence[Damage]: ...

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]: ...

    async def redacted_since(self, key: WorkflowKey) -> int: ...


@dataclass(slots=True)
class VerifyResult:
    """``checked``: rows and blobs whose checksum or digest was made again; ``without``: rows that have none, since an older ONEX
    wrote them. ``found`` holds at most a thousand; ``findings`` counts them all."""

    instances: int = 0
    actions: int = 0
    checked: int = 0
    without: int = 0
    findings: int = 0
    found: list[Damage] = field(default_factory=list)

    def add(self, one: Damage) -> None:
        self.findings += 1
        if len(self.found) < KEPT:
            self.found.append(one)


def fix_of(one: Damage) -> str:
    """What to do next."""
    return RESTORE_STORE if one.key is None else RESTORE


async def verify(run: Verifiable, on_rows: Callable[[int], None] = lambda count: None) -> VerifyResult:
    """Everything that speaks against the run. ``on_rows`` is called with the number of rows since its last call, each row twice."""
    result = VerifyResult()
    for one in await run.damaged(0):
        result.add(one)
    result.checked, result.without, damaged = await run.checksums(on_rows)
    for one in damaged:
        result.add(one)
    replay = Replay(run, ReducerRegistry(()), redacted_since=run.redacted_since)
    before = 0
    async for segment in replay.all():
        on_rows(replay.result.actions - before)
        before = replay.result.actions
        if segment.verdict is EnumReplayVerdict.MISMATCH:
            result.add(Damage(segment.key, segment.reason))
    for what in replay.result.damage:
        result.add(Damage(None, what))
    result.instances, result.actions = replay.result.instances, replay.result.actions
    return result
