"""Orchestration: a plan with a map over many items, each a child with one call. Tasks per second, and bytes of the parent's state.

The effect returns at once, so what is measured is the engine: for each item a message to the child, its call, and its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
from pydantic import BaseModel

from ..engine.encode import STATE_BYTES_ADVISED
from ..kernel.errors import StateConsistencyError
from ..kernel.intent import ModelIntent
from ..wiring.engine import open as open_engine
from .measurement import Goal, Measurement, Result
from .options import Options

ITEMS = 10_000
KEY = "bench_orchestration:1"
PATIENCE_S = 3_600.0


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


async def _measure(options: Options, folder: Path) -> Measurement:
    items = options.count(ITEMS, 100)
    url = {"sqlite": f"sqlite:///{folder / 'store.db'}", "memory": "memory:"}.get(options.store, options.store_url)

    async def make(intent: ModelIntent[BaseModel]) -> Mapping[str, object]:
        return intent.serialize_payload()

    app = Path(__file__).with_name("orchestration")
    async with await open_engine(url, app, executors={"make": make}) as engine:
        started = time.perf_counter()
        await engine.submit(KEY, "start", {"items": items})
        stored = await engine.wait(KEY, timeout_s=PATIENCE_S)
        took_s = time.perf_counter() - started
    gathered = orjson.loads(stored.state)["each_item"]
    if stored.status != "completed" or gathered["succeeded"] != items:
        raise StateConsistencyError(f"{KEY} is {stored.status} with {gathered['succeeded']} of {items} items")
    return Measurement(
        "tasks/s",
        items / took_s,
        targets=[
            Goal("tasks/s", items / took_s, 500, 1_000),
            Goal("bytes of the parent's state", len(stored.state), STATE_BYTES_ADVISED, 4_096, at_most=True),
        ],
        detail={
            "store": options.store,
            "items": items,
            "seconds": round(took_s, 2),
            "state_bytes": len(stored.state),
            "parent_versions": stored.version,
        },
    )
