"""Damage: after a run one bit of the log is turned, as a disk may do it, and replay must say of which instance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from onex.engine.registry import ReducerRegistry, Workflow
from onex.ports import Position
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.disk import Disk
from onex.simulation.sim_store import SimStore

COLUMNS: Final = (
    "action_id", "kind", "payload", "issued_us", "correlation", "issuer", "body_hash", "intents", "status", "state_hash",
)  # fmt: skip


async def seen_damage(
    disk: Disk, truth: SimStore, registry: ReducerRegistry, older: Sequence[Workflow], chance: Random
) -> str | None:
    """Turns a bit. None: there was none to turn; '': replay saw it; else a sentence that says what it did not see."""
    rows = (await truth.counts()).actions
    column = chance.choice(COLUMNS)
    n = chance.randrange(1, rows + 1) if rows else 0
    if not n or not disk.turn(n, column, chance):
        return None
    (entry,) = await truth.log(Position(0, n - 1), 1)
    stored = (await truth.load([entry.key]))[entry.key]
    replay = Replay(truth, registry, older)
    verdicts = [segment.verdict async for segment in replay.instance(stored)]
    if EnumReplayVerdict.MISMATCH in verdicts:
        return ""
    return f"a bit of {column} was turned in {entry.key} version {entry.version}, and replay says {verdicts}"
