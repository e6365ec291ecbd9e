"""Folds recorded histories and says what came of it. A file of its own, so that any interpreter can be handed it.

    python refold.py '[["sqlite:////tmp/store.db", "examples/orders", []], ["orders-1.jsonl", "apps/orders-1", ["bank"]]]'

Each is a store's URL or a history, the app's folder, and targets that others serve. One JSON object on standard output.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from onex.app import load_app
from onex.engine.encode import decode, encode, encode_intents
from onex.engine.refold import Recorded
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action
from onex.replay.history_reader import HistoryReader
from onex.replay.replay import Replay
from onex.wiring import open_reader

Task = tuple[str, str, list[str]]
Report = dict[str, list[str] | str | int]


async def refold(source: str, app: str, served: Sequence[str]) -> Report:
    """``verdicts`` in key order, and ``bytes``: a digest over every state and intent that the fold writes on its way."""
    workflows = tuple(Workflow(one.reducer, one.code) for one in load_app(app, served).workflows.values())
    registry = ReducerRegistry(workflows)
    reader: Recorded
    if source.startswith("sqlite:"):
        reader = store = await open_reader(source)
        try:
            return await _refold(reader, registry)
        finally:
            await store.close()
    with HistoryReader.open(Path(source)) as file:
        return await _refold(file, registry)


async def _refold(reader: Recorded, registry: ReducerRegistry) -> Report:
    replay = Replay(reader, registry)
    verdicts = [f"{one.key} {one.first}-{one.last} {one.verdict}" async for one in replay.all()]
    hasher, count = blake2b(), 0
    for stored in await reader.instances(None, None, None, 10_000):
        workflow = registry[stored.key.workflow_type]
        state = workflow.reducer.initial()
        for entry in await reader.history(stored.key, 0, 10_000):
            row = entry.row
            payload = decode(workflow.payload_model(row.kind), row.payload)
            action = Action(
                entry.key,
                row.kind,
                payload,
                row.action_id,
                row.issued_us,
                row.correlation,
                row.issuer,
                row.cause_id,
                (row.cause or b"")[16:],
            )
            done = workflow.reducer.delta(state, action)
            state = done.state
            for written in (encode(payload), encode(state), encode_intents(done.intents)):
                hasher.update(b"%d:" % len(written) + written)
                count += len(written)
    return {"verdicts": verdicts, "bytes": hasher.hexdigest(), "length": count, "actions": replay.result.actions}


def main(tasks: Sequence[Task]) -> None:
    reports = [asyncio.run(refold(*task)) for task in tasks]
    here = f"{platform.python_implementation()} {platform.python_version()}"
    # Python hashes text with the seed of this process: that the reports are equal says nothing if these are equal too
    print(json.dumps({"here": here, "hash": hash("seed"), "reports": reports}))


if __name__ == "__main__":
    main([(source, app, served) for source, app, served in json.loads(sys.argv[1])])
