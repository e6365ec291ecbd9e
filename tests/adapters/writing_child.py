"""A process that commits without end and says so after each commit; its parent kills it."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from onex.adapters.clock import UuidV7
from onex.adapters.sqlite.store import SqliteStore
from onex.kernel.action import WorkflowKey
from onex.ports import Applied, KeyChange, NewIntent, Pointer
from onex.testing.conformance.owner import Owner, row

KEYS = [WorkflowKey("orders", f"k{number}") for number in range(8)]


async def main(path: Path, seed: int) -> None:
    store = await SqliteStore.open(path)
    owner = await Owner.of(store)
    ids, chance = UuidV7(), random.Random(seed)
    for key, stored in (await store.load(KEYS)).items():
        owner.seen[key] = stored.instance, stored.version
    waits: list[Pointer] = [one.pointer for one in await store.waiting(None, 10_000, None)]
    while True:
        changes: list[KeyChange] = []
        for key in chance.sample(KEYS, chance.randint(1, 4)):
            rows = [
                row("x", NewIntent(0, 2), issued_us=chance.randrange(10**6))._replace(action_id=ids.new())
                for _ in range(chance.randint(1, 3))
            ]
            settled = tuple(waits.pop() for _ in range(min(len(waits), chance.randint(0, 3))))
            changes.append(owner.change(key, *rows, settled=settled))
        for change, outcome in zip(changes, await owner.commit(*changes), strict=True):
            assert isinstance(outcome, Applied), outcome
            ends = outcome.first.n + len(change.rows)
            waits += [Pointer(0, n, 0) for n in range(outcome.first.n, ends)]
            for index, one in enumerate(change.rows):
                told = f"{outcome.first.n + index} {one.action_id.hex()} {change.based_on + 1 + index} {change.key}\n"
                os.write(1, told.encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
