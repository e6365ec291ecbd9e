"""Power cuts on SQLite: ``python -m tests.chaos.power --cuts 500``. What was acknowledged is there, and nothing is damaged.

One owner commits to a store while its writes and syncs are recorded (``recorded_disk``). Afterwards the power is cut at moments
of it, drawn from a seed: the files that the disk would have are opened by the adapter, and then

- each commit that had been acknowledged by that moment is there, whole, and at most the one under way beside it;
- positions and versions have no gap, and the store finds no damage in itself, pages and checksums included;
- the next owner commits on.

``--synchronous normal`` shows that the measure can fail: then acknowledged commits are lost.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onex.adapters.sqlite.core import SqliteCore
from onex.adapters.sqlite.integrity import checksum_damage, damage_in
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.ports import Applied, Commit, KeyChange, NewIntent, Position
from onex.testing.conformance.owner import CODE, ENV, A, row
from tests.chaos.recorded_disk import NoShim, RecordedDisk, recording

COMMITS = 120
KEYS = 7
INTENTS = b'[{"name":"ring"}]'
CHECKPOINT_PAGES = 40  # the adapter waits for 2,048: so often a cut falls into a checkpoint, too


class Acknowledged(NamedTuple):
    """After ``event`` events of the disk a commit was acknowledged, and the log reached ``n``."""

    event: int
    n: int


class Cuts(NamedTuple):
    """``found[kind]``: what was wrong, with the number of the cut's event."""

    cuts: int
    commits: int
    events: int
    syncs: int
    lost_under_way: int
    found: dict[str, list[str]]


class Desk:
    """An owner of a store, and the instances as it last wrote them."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.core = SqliteCore(path, wait_ms=50)
        self.core._connection.execute(f"pragma synchronous = {synchronous}").fetchall()
        self.core._connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
        self.fences = self.core.own("desk")
        self.code_id, self.env_id = self.core.intern(CODE, ENV)
        self.known: dict[WorkflowKey, tuple[int, int]] = {}
        self.n = 0

    def commit(self, chance: random.Random) -> int:
        """One commit of a few instances. Returns the position that the log reached."""
        keys = chance.sample(range(KEYS), chance.randrange(1, KEYS))
        changes = [self._change(WorkflowKey(A.workflow_type, str(key)), chance) for key in keys]
        for change, answer in zip(changes, self.core.commit(Commit(self.fences, tuple(changes))), strict=True):
            assert isinstance(answer, Applied), answer
            self.known[change.key] = answer.instance, change.based_on + len(change.rows)
            self.n = max(self.n, answer.first.n + len(change.rows) - 1)
        return self.n

    def _change(self, key: WorkflowKey, chance: random.Random) -> KeyChange:
        instance, version = self.known.get(key, (None, 0))
        rows = tuple(
            row(f"{key.instance_id}/{version + n}", NewIntent(0, 2))._replace(intents=INTENTS, body_hash=bytes(16))
            for n in range(1, chance.randrange(2, 6))
        )
        state = bytes([chance.randrange(97, 123)]) * chance.randrange(10, 30_000)
        return KeyChange(key, instance, version, rows, state, 1, b"h" * 32, "open", False, self.code_id, self.env_id)


def run_cuts(seed: int, cuts: int, synchronous: str = "full") -> Cuts:
    """Raises NoShim."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="onex-power-") as temporary:
        folder = Path(temporary) / "store"
        folder.mkdir()
        Desk(folder / "store.db", synchronous).core.close()
        with recording(folder) as disk:
            told = _written(folder / "store.db", chance, disk, synchronous)
        found: dict[str, list[str]] = {}
        lost_under_way = 0
        for cut in range(cuts):
            end = chance.randrange(told[0].event, len(disk.events) + 1)
            acknowledged = max((one.n for one in told if one.event <= end), default=0)
            kind, what, n = _after_cut(Path(temporary) / f"cut-{cut}", disk, end, chance, acknowledged)
            lost_under_way += n == acknowledged
            if kind:
                found.setdefault(kind, []).append(f"cut after event {end}: {what}")
    syncs = sum(one.synced for one in disk.events)
    return Cuts(cuts, len(told), len(disk.events), syncs, lost_under_way, found)


def _written(path: Path, chance: random.Random, disk: RecordedDisk, synchronous: str) -> list[Acknowledged]:
    desk = Desk(path, synchronous)
    told = [Acknowledged(len(disk.events), 0)]
    for _ in range(COMMITS):
        n = desk.commit(chance)
        told.append(Acknowledged(len(disk.events), n))
    desk.core.close()
    return told


def _after_cut(
    folder: Path, disk: RecordedDisk, end: int, chance: random.Random, acknowledged: int
) -> tuple[str, str, int]:
    """``(kind, what is wrong, how far the log goes)`` of a store as a cut leaves it; the kind is '' for nothing."""
    folder.mkdir()
    for path, data in disk.left_at(end, chance).items():
        if not path.endswith(("-shm", "-owner")):  # memory of processes that are gone
            (folder / Path(path).name).write_bytes(data)
    try:
        with _opened(folder / "store.db") as desk:
            entries = desk.core.log(Position(0, 0), 10**6)
            n = len(entries)
            if n < acknowledged:
                return "lost", f"the log reaches {n}, and {acknowledged} was acknowledged", n
            if [entry.position.n for entry in entries] != list(range(1, n + 1)):
                return "gaps", "the positions have a gap", n
            versions: Counter[WorkflowKey] = Counter()
            for entry in entries:
                versions[entry.key] += 1
                if entry.version != versions[entry.key]:
                    return "gaps", f"{entry.key} has version {entry.version} after {versions[entry.key] - 1}", n
            stored = desk.core.load(list(versions))
            if {key: one.version for key, one in stored.items()} != dict(versions):
                return "torn", "a state and the log of its instance differ", n
            damage = [
                *damage_in(desk.core._connection, pages=True),
                *checksum_damage(desk.core._connection, _ignore)[2],
            ]
            if damage:
                return "damaged", str(damage[0]), n
            desk.known = {key: (one.instance, one.version) for key, one in stored.items()}
            if desk.commit(chance) <= n:
                return "stuck", "the next commit did not move the log", n
            return "", "", n
    except OnexError as error:
        return "unreadable", error.message, 0


def _ignore(rows: int) -> None:
    """Nobody watches."""


@contextmanager
def _opened(path: Path) -> Iterator[Desk]:
    desk = Desk(path, "full")
    try:
        yield desk
    finally:
        desk.core.close()


def told(cuts: Cuts) -> list[str]:
    return [
        f"{cuts.cuts:>8,}  power cuts, in {cuts.events:,} writes and {cuts.syncs:,} syncs of {cuts.commits - 1:,} commits",
        f"{cuts.cuts - cuts.lost_under_way:>8,}  of them kept the commit under way as well",
        f"{len(cuts.found.get('lost', ())):>8,}  lost an acknowledged commit",
        f"{sum(len(one) for kind, one in cuts.found.items() if kind != 'lost'):>8,}  left a store that is damaged or stuck",
        *(f"FOUND {kind}: {one}" for kind, lines in cuts.found.items() for one in lines[:3]),
    ]


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.chaos.power", description=__doc__)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--cuts", type=int, default=500)
    words.add_argument("--synchronous", choices=["full", "normal", "off"], default="full")
    given = words.parse_args()
    try:
        cuts = run_cuts(given.seed, given.cuts, given.synchronous)
    except NoShim as error:
        print(f"SKIPPED: {error}")
        return 0
    print("\n".join(told(cuts)))
    return 1 if cuts.found else 0


if __name__ == "__main__":
    sys.exit(main())
