"""Stores that pages are opened on: made by real engines, with real effects."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

import onex
from examples.research.stand_in import server
from onex.adapters.clock import SystemClock
from onex.kernel.errors import OnexError
from tests.cli.test_hostile_text import CONTRACT, PAYLOADS, REDUCER, yaml
from tests.laws.tree import ROOT

PAUSE_US: Final = (5 * 60 + 12) * 60 * 1_000_000
ORDERS: Final = ROOT / "examples" / "orders"
RESEARCH: Final = ROOT / "examples" / "research"
TURNING: Final = "\u202e\u200b"
MARK: Final = "window.pwned=1"
"""What hostile text tries to run."""
VECTORS: Final = (
    f"<script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f"<svg onload={MARK}>",
    f"<svg><script>{MARK}</script></svg>",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"<a href=javascript:{MARK}>a</a>",
    f"javascript:{MARK}",
    f"{{{{constructor.constructor('{MARK}')()}}}}",
    f"${{{MARK}}}",
    f"{{@html '<img src=x onerror={MARK}>'}}",
    f"<style>@import'http://127.0.0.9/x'</style><img src=http://127.0.0.9/y onerror={MARK}>",
    f"<details open ontoggle={MARK}>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={MARK}>",
    f"<meta http-equiv=refresh content='0;url=javascript:{MARK}'>",
    f"<object data='data:text/html,<script>{MARK}</script>'></object>",
    f"<input autofocus onfocus={MARK}>",
    f"<base href=http://127.0.0.9/><script src=x></script><!--{MARK}",
    f"<template><script>{MARK}</script></template>",
)
BEFORE: Final = (
    "",
    '">',
    "'>",
    "</title>",
    "</text></svg>",
    "</script>",
    "--><!-- -->",
    '"}]',
    "]]>",
    "\n\n",
    "&lt;",
    "\u202e",
)
"""What may end the place where a text stands."""
HOSTILE: Final = [before + vector for vector in VECTORS for before in BEFORE]
"""216 texts."""
SAID: Final = 2
"""So many of them are in one payload."""


def research(place: Path) -> str:
    """A store with two reports: one was approved at the second try, hours later, and published, one waits for a person."""
    store, behind_us = f"sqlite:///{place}/s.db", [PAUSE_US]

    async def go() -> None:
        async with await onex.open(store, RESEARCH) as engine:
            for n in ("1", "2"):
                await engine.submit(f"research:{n}", "start", {"question": "tea"})
                await engine.idle()
            with suppress(OnexError):
                await engine.submit("research:1", "review.approve", {})
            behind_us[0] = 0  # the person has slept on it
            await engine.submit("research:1", "review.approve", {"by": "ada"})
            await engine.idle()

    with server(0) as model, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_MODEL_AT", f"127.0.0.1:{model.server_port}")
        patch.setattr(SystemClock, "now_us", lambda self: time.time_ns() // 1000 - behind_us[0])
        patch.setenv("ONEX_RESEARCH_DIR", str(place / "reports"))
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        try:
            asyncio.run(go())
        finally:
            model.shutdown()
            thread.join()
    return store


def orders(place: Path) -> str:
    """Six orders and one that was cancelled; beside their app one that forgets quantities: for three that matters."""
    quantities = (1, 2, 1, 1, 3, 2)
    for name in ("orders", "changed/orders"):
        shutil.copytree(ORDERS, place / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    reducer = place / "changed" / "orders" / "reducer.py"
    reducer.write_text(reducer.read_text().replace("item.quantity * item.cents", "item.cents"))
    store = f"sqlite:///{place}/s.db"

    async def go() -> None:
        async with await onex.open(store, place / "orders") as engine:
            for n, quantity in enumerate(quantities, 1):
                items: JsonValue = [{"sku": "tea", "quantity": quantity, "cents": 450}]
                await engine.submit(f"orders:{n}", "place", {"items": items})
                await engine.idle()
            await engine.submit("orders:7", "cancel", {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        asyncio.run(go())
    return store


LAKE: Final = """
from typing import Literal

from onex import Action, DataAvailableEvent, Payload, State, Step, workflow


class Upload(State):
    status: Literal["waiting", "stored"] = "waiting"


class Table(State):
    status: Literal["empty", "loaded"] = "empty"


class Place(Payload):
    path: str


uploads = workflow("uploads", Upload, terminal=[])
uploads.publishes("DataAvailableEvent", DataAvailableEvent)
tables = workflow("tables", Table, terminal=[])


@uploads.on("waiting -> stored")
def store(now: Upload, action: Action[Place]) -> Step[Upload]:
    return Step(now, DataAvailableEvent(data_location=action.payload.path))


@tables.event_handler("DataAvailableEvent", "empty -> loaded", key="data_location")
def data_came(now: Table, action: Action[DataAvailableEvent]) -> Step[Table]:
    return Step(now)
"""


def lake(place: Path) -> tuple[str, Path]:
    """A store and its app: an upload published an event, and a table was loaded by it."""
    store, app = f"sqlite:///{place}/s.db", place / "lake.py"
    app.write_text(LAKE.lstrip())

    async def go() -> None:
        async with await onex.open(store, app, bus="memory:") as engine:
            await engine.submit("uploads:1", "store", {"path": "north"})
            await engine.wait("tables:north", until="loaded")

    asyncio.run(go())
    return store, app


def hostile(place: Path) -> tuple[str, Path]:
    """A store and its app, where each text of an instance id, a payload, a state, an error and a contract is hostile."""
    app = place / "odd"
    app.mkdir()
    (app / "contract.yaml").write_text(yaml({**CONTRACT, "description": HOSTILE[1]}))
    (app / "payloads.py").write_text(PAYLOADS)
    (app / "reducer.py").write_text(REDUCER)
    store = f"sqlite:///{place}/s.db"

    async def go() -> None:
        async with await onex.open(store, app) as engine:
            for key, texts in odd_instances().items():
                for n in range(0, len(texts), SAID):
                    await engine.submit(key, "say", {"text": " ".join(texts[n : n + SAID])})
            last = next(iter(odd_instances()))
            for _ in range(3):  # three failures in a row hold an instance
                with suppress(OnexError):
                    await engine.submit(last, "say", {"text": "fail"})
            with suppress(OnexError):
                await engine.submit(last, HOSTILE[0], {})

    asyncio.run(go())
    return store, app


def odd_instances() -> dict[str, list[str]]:
    """Key -> what is said to it: nine instances, each with two dozen of the texts."""
    return {
        f"odd:{n}{HOSTILE[n * 24][:150]}{TURNING if n == 1 else ''}": HOSTILE[n * 24 : n * 24 + 24] for n in range(9)
    }


@contextmanager
def served(store: str, app: Path, cwd: Path = ROOT) -> Iterator[str]:
    """The address of a real `onex serve`, in a process of its own that is started in ``cwd``."""
    words = [str(Path(sys.executable).with_name("onex")), "serve", store, "--app", str(app), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    told = process.stdout.readline()
    assert told, "it says where it listens"
    return str(json.loads(told)["address"])
