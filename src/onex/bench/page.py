"""What serving a page costs the engine: durable rate with one viewer and without, in turns; and a seek in a long history.

Theory of operation. The engine runs in this process, under the load of ``durable``. ``onex serve`` is a process of its own on its
store, as always. A viewer is a third one: it follows the figures of the store and one instance, and looks at that instance once a
second. Slices with and without the viewer follow each other, so what else the machine does hits both. The service itself is there
in both: a page that nobody looks at is part of the ratio's ground.

The seek is measured apart, without an engine: moments of one instance at random versions, each asked over HTTP. Its store has many
other instances, and a browser opens Home and that instance there, where one is at hand (``browser``).
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import JsonValue

from ..kernel.errors import EngineClosed
from ..wiring.engine import open
from .browser import BrowserFigures, measured_in_browser
from .cli import ONEX
from .load import CLIENTS, LoadResult, drive, opened
from .measurement import Goal, Measurement, Result, quantile, ratio_of_pairs
from .options import Options

EVENTS: Final = 100_000
INSTANCES: Final = 100_000
SEEKS: Final = 200
AT_ONCE: Final = 500
APP: Final = """from __future__ import annotations

from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Count(State):
    status: Literal["on"] = "on"
    sum: int = 0
    note: str = ""


class Add(Payload):
    n: int


count = workflow("count", Count)


@count.on("on -> on")
def add(state: Count, action: Action[Add]) -> Step[Count]:
    return Step(state.evolve(sum=state.sum + action.payload.n, note="x" * 200))
"""
VIEWER: Final = """
import sys, threading, time, urllib.request
address, key = sys.argv[1:]
def follow(path):
    with urllib.request.urlopen(address + path) as stream:
        while stream.readline(): pass
for path in ("/api/summary/live", f"/api/instance/live?key={key}"):
    threading.Thread(target=follow, args=(path,), daemon=True).start()
print("watching", flush=True)
while True:
    urllib.request.urlopen(f"{address}/api/instance?key={key}").read()
    time.sleep(1)
"""


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        rates = asyncio.run(_watched(chosen, folder))
        seeks_ms, events, browser = _looks(chosen, folder)
        return _measurement(*rates, seeks_ms, events, browser).result(folder)


def _measurement(
    alone: list[LoadResult],
    watched: list[LoadResult],
    seeks_ms: list[float],
    events: int,
    browser: BrowserFigures | str,
) -> Measurement:
    without, viewed = [one.rate for one in alone], [one.rate for one in watched]
    ratio = ratio_of_pairs(viewed, without)
    p50, p99 = quantile(seeks_ms, 0.5), quantile(seeks_ms, 0.99)
    return Measurement(
        "actions/s with one viewer",
        median(viewed),
        ceiling=median(without),
        ratio=ratio,
        p50_ms=p50,
        p99_ms=p99,
        targets=[
            Goal("ratio to the rate without a viewer", ratio, 0.95, 0.98),
            Goal("ms of a seek, p50", p50, 100, 30, at_most=True),
            *_goals(browser),
        ],
        detail={
            "cpu_us_per_action": round(median(one.cpu_us for one in alone), 1),
            "cpu_us_per_action_viewed": round(median(one.cpu_us for one in watched), 1),
            "seeks": len(seeks_ms),
            "events": events,
            "browser": browser if isinstance(browser, str) else browser._asdict(),
        },
    )


def _goals(browser: BrowserFigures | str) -> list[Goal]:
    if isinstance(browser, str):
        return []
    return [
        Goal("ms until Home is shown", browser.home_ms, 1000, 500, at_most=True),
        Goal("ms until the instance is shown", browser.instance_ms, 1000, 500, at_most=True),
        Goal("late frames of a drag", browser.late_frames, 0, 0, at_most=True),
        Goal("MB of the browser's heap", browser.heap_mb, 200, 50, at_most=True),
    ]


async def _watched(options: Options, folder: Path) -> tuple[list[LoadResult], list[LoadResult]]:
    clients = options.clients or CLIENTS
    alone: list[LoadResult] = []
    watched: list[LoadResult] = []
    async with opened("sqlite", folder) as engine:
        await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        store = _only_store(folder)
        first = (await engine.reader.instances(None, None, None, 1))[0].key
        with _serving(f"sqlite:///{store}") as address:
            for _ in range(options.pairs):
                alone.append(await drive(engine, clients, options.keys, options.window, options.seconds))
                with _child([sys.executable, "-c", VIEWER, address, str(first)]):
                    watched.append(await drive(engine, clients, options.keys, options.window, options.seconds))
    return alone, watched


def _only_store(folder: Path) -> Path:
    (store,) = folder.glob("*.db")
    return store


def _looks(options: Options, folder: Path) -> tuple[list[float], int, BrowserFigures | str]:
    """Milliseconds of each seek, how many events the instance has, and what the browser showed when."""
    app, store, events = folder / "count.py", f"sqlite:///{folder}/long.db", options.count(EVENTS, 300)
    instances = 300 if options.quick else INSTANCES
    app.write_text(APP)

    async def fill() -> None:
        async with await open(store, str(app)) as engine:
            for first in range(0, events, AT_ONCE):
                rows = range(first, min(first + AT_ONCE, events))
                await asyncio.gather(*(engine.submit("count:long", "add", {"n": n}) for n in rows))
            for first in range(0, instances, AT_ONCE):
                rows = range(first, min(first + AT_ONCE, instances))
                await asyncio.gather(*(engine.submit(f"count:{n}", "add", {"n": n}) for n in rows))

    asyncio.run(fill())
    chosen = random.Random(1)  # noqa: S311  # the same versions each time
    took: list[float] = []
    with _serving(store, "--app", str(app)) as address:
        for _ in range(SEEKS if not options.quick else 5):
            url = f"{address}/api/instance?key=count:long&version={chosen.randint(1, events)}"
            begun_s = time.perf_counter()
            with urllib.request.urlopen(url) as answer:  # noqa: S310  # our own service
                assert json.load(answer)["state_is_known"], "every moment of it is known"
            took.append(1000 * (time.perf_counter() - begun_s))
        return took, events, measured_in_browser(address, instances, events)


@contextmanager
def _serving(store: str, *words: str) -> Iterator[str]:
    """The address of ``onex serve`` on the store."""
    listen = ("--listen", "127.0.0.1:0", "--json")
    with _child([sys.executable, "-c", ONEX, "serve", store, *words, *listen]) as line:
        told: Mapping[str, JsonValue] = json.loads(line) if line.startswith("{") else {}
        if "address" not in told:
            error = told.get("error")
            why = error.get("message") if isinstance(error, dict) else line.strip() or "it ended without a word"
            raise EngineClosed(f"onex serve did not start: {why}")
        yield str(told["address"])


@contextmanager
def _child(words: list[str]) -> Iterator[str]:
    """A process, with its first line, until the block ends."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None, "asked for"
    with process.stdout:
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.wait()
