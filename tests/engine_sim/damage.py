"""Damage: after a run one bit of the log is flipped, as a disk may do it, and replay must say in which instance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from onex.engine.registry import ReducerRegistry, Workflow
from onex.ports import Position
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.disk import Disk, MemoryDisk, SqliteDisk
from onex.simulation.sim_store import SimStore

COLUMNS: Final = (
    "action_id", "kind", "payload", "issued_us", "correlation", "issuer", "body_hash", "intents", "status", "state_hash",
)  # fmt: skip


async def undetected_damage(
    disk: Disk, truth: SimStore, registry: ReducerRegistry, older: Sequence[Workflow], chance: Random
) -> str | None:
    """Flips a bit. None: there was none to flip; '': replay found it; else a sentence that says what it did not find."""
    rows = (await truth.counts()).actions
    column = chance.choice(COLUMNS)
    n = chance.randrange(1, rows + 1) if rows else 0
    if not n or not flip_bit(disk, n, column, chance):
        return None
    (entry,) = await truth.log(Position(0, n - 1), 1)
    stored = (await truth.load([entry.key]))[entry.key]
    replay = Replay(truth, registry, older)
    verdicts = [segment.verdict async for segment in replay.instance(stored)]
    if EnumReplayVerdict.MISMATCH in verdicts:
        return ""
    return f"a bit of {column} was flipped in {entry.key} version {entry.version}, and replay says {verdicts}"


def flip_bit(disk: Disk, n: int, column: str, chance: Random) -> bool:
    """Flips one bit of this column in the log's row ``n``. False: the column holds nothing."""
    if isinstance(disk, MemoryDisk):
        entry = disk.tables.log[n - 1]
        of_row = column in entry.row._fields
        value = flipped(getattr(entry.row if of_row else entry, column), chance)
        if value is not None:
            change = {column: value}
            disk.tables.log[n - 1] = (
                entry._replace(row=entry.row._replace(**change)) if of_row else entry._replace(**change)  # type: ignore[arg-type]  # of the type it had
            )
        return value is not None
    assert isinstance(disk, SqliteDisk), "there are two kinds of disk"
    other = disk.other_process()
    (before,) = other.execute(f"select {column} from log where n = ?", (n,)).fetchone()
    value = flipped(before, chance)
    if value is not None:
        other.execute(f"update log set {column} = ? where n = ?", (value, n))
    return value is not None


def flipped(value: object, chance: Random) -> object | None:
    """``value`` with one bit changed, still of its type. None: there is no bit to change."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(20)
    raw = bytearray(value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b"")
    if not raw:
        return None
    raw[chance.randrange(len(raw))] ^= 1
    return raw.decode() if isinstance(value, str) else bytes(raw)
